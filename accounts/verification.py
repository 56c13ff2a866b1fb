"""Sign-up, and the verification of addresses by mailed links."""

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts import link_tokens
from accounts.models import User
from notifications.mail import outbox


class AddressTakenError(Exception):
    """An account with this address exists. The text is for the client."""


class EmailNotVerified(APIException):
    status_code = status.HTTP_403_FORBIDDEN
    default_code = "email_not_verified"
    default_detail = "Verify your e-mail address first, by the link in the mail to it."


def sign_up(email: str, password: str, name: str = "") -> User:
    """A new user; a link that verifies the address is mailed. Raises AddressTakenError."""
    user = User(email=email, name=name)
    user.set_password(password)  # slow, so before the transaction
    try:
        with transaction.atomic():
            user.save()
            outbox.queue_mail(outbox.Kind.VERIFY_EMAIL, user.email)
            return user
    except IntegrityError as error:  # decided by the index: two sign-ups at once make one user
        raise AddressTakenError("A user with this e-mail address exists.") from error


def require_verified(user: User) -> None:
    """Raises EmailNotVerified if the verification `is_missing`.

    Only after the password was checked: the error tells that the account exists.
    """
    if is_missing(user):
        raise EmailNotVerified


def is_missing(user: User) -> bool:
    """Whether REQUIRE_VERIFIED_EMAIL is set, and the address is not verified."""
    return settings.REQUIRE_VERIFIED_EMAIL and user.email_verified_at is None


def is_link_mailed(user: User) -> bool:
    """Whether the user has been mailed the link lately and has not followed it."""
    return user.email_verified_at is None and outbox.was_mailed_lately(outbox.Kind.VERIFY_EMAIL, user.email)


def verify_address(token: str) -> User | None:
    """The user whose address is verified now. None if the token is not valid.

    A token may be used several times: some mail systems open links before people do.
    """
    user = link_tokens.read_verification_token(token)
    if user is None:
        return None
    with transaction.atomic():
        mark_verified(user)
    return user


def mark_verified(user: User) -> None:
    """The first of several calls sends the welcome."""
    now = timezone.now()
    unverified = User.objects.filter(pk=user.pk, email=user.email, email_verified_at=None)
    if unverified.update(email_verified_at=now, updated_at=now):
        outbox.queue_mail(outbox.Kind.WELCOME, user.email)
