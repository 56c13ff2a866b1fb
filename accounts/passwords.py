"""Changes passwords: by the old one, or by the token of a mailed link."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail

from accounts import link_tokens
from accounts.models import FailedLogin, Session, SessionQuerySet, User, UserSettings
from accounts.verification import mark_verified
from notifications.mail import outbox


def password_weaknesses(password: str, user: User) -> list[ErrorDetail]:
    """The reasons to refuse it as this user's password; empty if there is none."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        return [ErrorDetail(str(weakness.messages[0]), weakness.code) for weakness in error.error_list]
    return []


def change(user: User, password: str | None, by: Session | None) -> bool:
    """Set the password and end all sessions but `by`, the session that asks. None: no password is right.

    `user` has the new hash then, by which it can be told whether the password was replaced again.
    False, and nothing changes, if the row was read before the password was last replaced.
    Raises AuthenticationFailed if that session has ended or the account is closed.
    """
    hashed = make_password(password)  # slow, so before the lock
    ending = Session.objects.exclude(pk=by.pk) if by else Session.objects.all()
    with user.locked(by) as row:
        if row.password != user.password or not replace_password(row, hashed, ending):
            return False
    user.password = hashed
    return True


def reset(token: str, password: str) -> bool:
    """Set the password of the token's user and end all sessions.

    Also ends API keys and settings made by a log-in that began before the address was verified: it may have
    been another person's. False, and nothing changes, if the token is not valid any longer.
    """
    hashed = make_password(password)
    with transaction.atomic():
        # Read under the lock: of two requests with the same token, the second one finds it used.
        user = link_tokens.read_reset_token(token, User.objects.select_for_update(no_key=True))
        if user is None:
            return False
        replace_password(user, hashed, ending=Session.objects.all())
        mark_verified(user)
        user.refresh_from_db(fields=["email_verified_at"])
        user.api_keys.filter(authorised_at__lt=user.email_verified_at).revoke()
        UserSettings.objects.filter(user=user, authorised_at__lt=user.email_verified_at).delete()
        FailedLogin.objects.of(user.email).delete()
        return True


def end_all_access(token: str) -> bool:
    """End everything that opens the account of the token's user, and mail a link to set a new password.

    Sessions, API keys, settings, password and name: another person may have signed up with the address.
    False, and nothing changes, if the token is not valid any longer.
    """
    with transaction.atomic():
        user = link_tokens.read_end_access_token(token, User.objects.select_for_update(no_key=True))
        if user is None:
            return False
        now = timezone.now()
        User.objects.filter(pk=user.pk).update(password=make_password(None), name="", updated_at=now)
        user.sessions.revoke()
        user.api_keys.revoke()
        UserSettings.objects.filter(user=user).delete()
        outbox.queue_mail(outbox.Kind.PASSWORD_RESET, user.email)
        return True


def replace_password(user: User, hashed: str, ending: SessionQuerySet) -> bool:
    # The user's row first: a log-in by the old password has written its session before this, or waits for
    # the row and then finds another password (`tokens.open_session`).
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    if not unchanged.update(password=hashed, updated_at=timezone.now()):
        return False
    ending.filter(user=user).revoke()
    outbox.queue_mail(outbox.Kind.PASSWORD_CHANGED, user.email)
    return True
