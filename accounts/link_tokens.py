"""Tokens in mailed links: proof that a client has read the mail. They are not stored.

Tokens of inactive users are refused.
"""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts.models import User

SEPARATOR = "."


class EndAccessTokenGenerator(PasswordResetTokenGenerator):
    key_salt = "accounts.link_tokens.end_access"


end_access_token_generator = EndAccessTokenGenerator()


def make_reset_token(user: User) -> str:
    """Valid for `PASSWORD_RESET_TIMEOUT`, and only until the password or the address changes: for one use."""
    return f"{user.pk}{SEPARATOR}{default_token_generator.make_token(user)}"


def read_reset_token(token: str, users: QuerySet[User] | None = None) -> User | None:
    """The user whose password the token may set. `users` may lock the row."""
    return user_of_token(token, default_token_generator, users)


def make_end_access_token(user: User) -> str:
    """For the page that a verification leads to. Valid as long as a reset token."""
    return f"{user.pk}{SEPARATOR}{end_access_token_generator.make_token(user)}"


def read_end_access_token(token: str, users: QuerySet[User] | None = None) -> User | None:
    """The user whose sessions, keys and password the token may end. `users` may lock the row."""
    return user_of_token(token, end_access_token_generator, users)


def make_verification_token(user: User) -> str:
    """Valid for `VERIFICATION_DAYS`, as long as the user has this address."""
    return verification_signer(user).sign(str(user.pk))


def read_verification_token(token: str) -> User | None:
    """The user whose address the token verifies."""
    user = user_by_id(token.partition(SEPARATOR)[0])
    try:
        if user:
            verification_signer(user).unsign(token, max_age=timedelta(days=settings.VERIFICATION_DAYS))
    except signing.BadSignature:
        return None
    return user


def verification_signer(user: User) -> signing.TimestampSigner:
    """The address is part of the signature, not of the link."""
    return signing.TimestampSigner(sep=SEPARATOR, salt=f"accounts.verify_email {user.email}")


def user_of_token(
    token: str, generator: PasswordResetTokenGenerator, users: QuerySet[User] | None
) -> User | None:
    pk, _, secret = token.partition(SEPARATOR)
    user = user_by_id(pk, users)
    return user if user and generator.check_token(user, secret) else None


def user_by_id(pk: str, users: QuerySet[User] | None = None) -> User | None:
    candidates = User.objects.all() if users is None else users
    try:
        return candidates.filter(pk=pk, is_active=True).first()
    except (ValidationError, ValueError):  # not a UUID
        return None
