"""API keys: `ov_<public part>_<secret>`, shown once, stored as a hash."""

import re
import secrets
import string
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256

from django.core.cache import cache
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import ApiKey, Session, User

MAX_KEYS = 20
START = "ov_"
PUBLIC_LENGTH = 12
SECRET_BYTES = 32
LENGTH = len(START) + PUBLIC_LENGTH + 1 + 43
REMEMBERED_SECONDS = 60 * 60
KEY_PATTERN = re.compile(rf"({START}[a-z0-9]{{{PUBLIC_LENGTH}}})_[\w-]{{43}}", re.ASCII)


class TooManyKeysError(Exception):
    """The user has the largest number of keys. The text is for the client."""


def issue(
    user: User,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None,
    by: Session | None = None,
) -> tuple[ApiKey, str]:
    """A new key's row and the key itself, which is not stored. `by` is the session that asks.

    Raises TooManyKeysError; AuthenticationFailed if the session has ended.
    """
    prefix = START + "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(PUBLIC_LENGTH)
    )
    raw = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    # One request of a user at a time, so that concurrent ones do not pass the limit.
    with user.locked(by):
        if user.api_keys.kept().count() >= MAX_KEYS:
            raise TooManyKeysError(f"You have {MAX_KEYS} API keys already; revoke one of them first.")
        ApiKey.objects.delete_surplus(user)
        key = ApiKey.objects.create(
            user=user,
            name=name,
            prefix=prefix,
            hash=hash_key(raw),
            scopes=sorted(scopes),
            expires_at=expires_at,
            authorised_at=by.authorised_at if by else timezone.now(),
        )
    return key, raw


def looks_like_key(raw: str) -> bool:
    return len(raw) == LENGTH and KEY_PATTERN.fullmatch(raw) is not None


def find_key(raw: str) -> ApiKey | None:
    """The live key that this is, with its user and their settings, in one query."""
    match = KEY_PATTERN.fullmatch(raw)
    alive = ApiKey.objects.alive().select_related("user__settings")
    key = alive.filter(prefix=match[1]).first() if match else None
    return key if key and constant_time_compare(key.hash, hash_key(raw)) else None


def hash_key(raw: str) -> str:
    return sha256(raw.encode()).hexdigest()


# Keys that were alive within the last hour are looked up without being counted as unknown ones.


def is_remembered(raw: str) -> bool:
    return cache.get(cache_key_of(raw)) is not None


def remember_key(raw: str) -> None:
    cache.set(cache_key_of(raw), 1, REMEMBERED_SECONDS)


def forget_key(raw: str) -> None:
    cache.delete(cache_key_of(raw))


def cache_key_of(raw: str) -> str:
    return f"api-key:{hash_key(raw)}"
