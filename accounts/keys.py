"""API keys: `ov_<public part>_<secret>`, shown once, kept as a hash."""

import re
import secrets
import string
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256

from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts.models import ApiKey, User

MOST_KEPT = 20
START = "ov_"
PUBLIC_LENGTH = 12
SECRET_BYTES = 32
FORM = re.compile(rf"({START}[a-z0-9]{{{PUBLIC_LENGTH}}})_[\w-]{{43}}", re.ASCII)


class TooManyKeysError(Exception):
    """The user has as many keys as they may have. The text says so to them."""


def issue(user: User, name: str, scopes: Collection[str], expires_at: datetime | None) -> tuple[ApiKey, str]:
    """A new key's row, and the key itself, which nobody can learn again. Raises TooManyKeysError."""
    prefix = START + "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(PUBLIC_LENGTH)
    )
    raw = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    with transaction.atomic():
        # One request of a user at a time, so that nobody passes the limit by haste.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if user.api_keys.kept().count() >= MOST_KEPT:
            raise TooManyKeysError(f"You have {MOST_KEPT} API keys already; revoke one of them first.")
        key = ApiKey.objects.create(
            user=user,
            name=name,
            prefix=prefix,
            hash=hashed(raw),
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
    return key, raw


def find(raw: str) -> ApiKey | None:
    """The live key that this is, with its user and their settings, in one query."""
    match = FORM.fullmatch(raw)
    alive = ApiKey.objects.alive().select_related("user__settings")
    key = alive.filter(prefix=match[1]).first() if match else None
    return key if key and constant_time_compare(key.hash, hashed(raw)) else None


def hashed(raw: str) -> str:
    return sha256(raw.encode()).hexdigest()
