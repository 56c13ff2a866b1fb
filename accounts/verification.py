"""Whether an address is the user's: who has read the mail that went there has shown that it is."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import User
from notifications import mail, proofs


class EmailNotVerified(APIException):
    status_code = status.HTTP_403_FORBIDDEN
    default_code = "email_not_verified"
    default_detail = "Verify your e-mail address first, by the link in the mail to it."


def check(user: User) -> None:
    """Raises EmailNotVerified where only verified users may log in. Ask it of those who have proved who they
    are: it tells that there is an account."""
    if settings.REQUIRE_VERIFIED_EMAIL and user.email_verified_at is None:
        raise EmailNotVerified


def greeting(user: User) -> str:
    """What mails call them. Who signs up with another's address does not get their own words sent there."""
    return user.name if user.email_verified_at else ""


def verify(proof: str) -> bool:
    """Whether this proves an address. It may be shown twice: some mail systems open links before people."""
    user = proofs.read_verification(proof)
    if not isinstance(user, User):
        return False
    with transaction.atomic():
        mark_verified(user)
    return True


def mark_verified(user: User) -> bool:
    """Of several at once, one is the first, and welcomes. Whether this was it."""
    now = timezone.now()
    unverified = User.objects.filter(pk=user.pk, email=user.email, email_verified_at=None)
    if not unverified.update(email_verified_at=now, updated_at=now):
        return False
    mail.send(mail.Kind.WELCOME, user.email, user.name)  # verified by now
    return True
