"""The secrets in mailed links: who has one has read the mail. They are kept nowhere.

A user is a row of `settings.AUTH_USER_MODEL`, active ones alone.
"""

from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.tokens import default_token_generator
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

SEPARATOR = "."


def for_reset(user: Any) -> str:
    """Good for `PASSWORD_RESET_TIMEOUT`, until the password or the address changes: so for one use."""
    return f"{user.pk}{SEPARATOR}{default_token_generator.make_token(user)}"


def read_reset(proof: str, users: QuerySet[Any] | None = None) -> AbstractBaseUser | None:
    """Whose password it may set. `users` may lock them."""
    pk, _, token = proof.partition(SEPARATOR)
    user = found(pk, users)
    return user if user and default_token_generator.check_token(user, token) else None


def for_verification(user: AbstractBaseUser) -> str:
    """Good for `VERIFICATION_DAYS`, as long as the user has this address."""
    return verification_signer(user).sign(str(user.pk))


def read_verification(proof: str) -> AbstractBaseUser | None:
    """Whose address it verifies."""
    user = found(proof.partition(SEPARATOR)[0])
    try:
        if user:
            verification_signer(user).unsign(proof, max_age=timedelta(days=settings.VERIFICATION_DAYS))
    except signing.BadSignature:
        return None
    return cast(AbstractBaseUser | None, user)


def verification_signer(user: AbstractBaseUser) -> signing.TimestampSigner:
    """The address is signed with the id, and not shown in the link."""
    address = getattr(user, user.get_email_field_name())
    return signing.TimestampSigner(sep=SEPARATOR, salt=f"notifications.verify_email {address}")


def found(pk: str, users: QuerySet[Any] | None = None) -> Any:
    everybody = get_user_model().objects.all() if users is None else users
    try:
        return everybody.filter(pk=pk, is_active=True).first()
    except (ValidationError, ValueError):  # no id
        return None
