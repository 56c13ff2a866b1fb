"""New passwords, for those who know the old one and those who read the mail of the account."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail

from accounts.models import FailedLogin, Session, SessionQuerySet, User
from accounts.verification import greeting, mark_verified
from notifications import mail, proofs


def faults(password: str, user: User) -> list[ErrorDetail]:
    """What makes it too weak a password for this user."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        return [ErrorDetail(str(fault.messages[0]), fault.code) for fault in error.error_list]
    return []


def change(user: User, password: str, keep: Any) -> bool:
    """Ends the user's sessions but for this one.

    False, and nothing done, if the password that they have shown to know is theirs no longer.
    """
    hashed = make_password(password)  # takes its time, before any lock
    with transaction.atomic():
        return replace(user, hashed, ending=Session.objects.exclude(pk=keep.pk))


def reset(proof: str, password: str) -> bool:
    """Ends all sessions of the user whose proof this is, and the keys of one whose address was not verified.

    False, and nothing done, if it is used up.
    """
    hashed = make_password(password)
    with transaction.atomic():
        # Read again under the lock: of two who show the same proof at once, the second one finds it used.
        user = proofs.read_reset(proof, User.objects.select_for_update(no_key=True))
        if not isinstance(user, User):
            return False
        replace(user, hashed, ending=Session.objects.all())
        if mark_verified(user):
            # Whoever signed up with the address need not have been whose it is.
            user.api_keys.revoke()
        FailedLogin.objects.of(user.email).delete()
        return True


def replace(user: User, hashed: str, ending: SessionQuerySet) -> bool:
    # The user's row first: a log-in by the old password that is under way has its session before this, or
    # waits for the row and then finds another password (`tokens.open_session`).
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    if not unchanged.update(password=hashed, updated_at=timezone.now()):
        return False
    ending.filter(user=user).revoke()
    mail.send(mail.Kind.PASSWORD_CHANGED, user.email, greeting(user))
    return True
