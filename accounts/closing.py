"""Closes accounts. A worker erases their rows and files afterwards."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils import timezone

from accounts.models import Session, User
from notifications.mail import outbox
from notifications.webhooks import endpoints
from objectvision.lib import doorbell

# The task of the app whose rows and files belong to users. Its sweep does the same if no message arrives.
ERASURE_TASK = "detections.erase_closed_accounts"


def close_own(user: User, by: Session) -> bool:
    """Close the account of a user whose password was checked; `by` is the session that asks.

    False, and nothing changes, if the password was replaced since, or the account is closed.
    Raises AuthenticationFailed if the session has ended.
    """
    with user.locked(by) as row:
        return row.password == user.password and close(row)


def close(user: User) -> bool:
    """Close the account at once: no log-in, token or key opens it, and its address is free again.

    False, and nothing changes, if it was closed before: of several calls at once, one sends the mail.
    """
    with transaction.atomic():
        account = User.objects.select_for_update().filter(pk=user.pk, closed_at=None).first()
        if account is None:
            return False
        outbox.queue_mail(outbox.Kind.ACCOUNT_DELETED, account.email)
        account.sessions.all().delete()
        account.api_keys.all().delete()
        endpoints.remove_all_of(account)
        account.closed_at = timezone.now()
        account.is_active = account.is_staff = account.is_superuser = False
        account.email, account.name = f"{account.pk}@closed.invalid", ""
        account.set_unusable_password()
        account.save()
        remove_address_from_admin_log(account)
        doorbell.ring_after_commit(ERASURE_TASK)
    return True


def remove_address_from_admin_log(account: User) -> None:
    """The log of the admin names users by the address that they had when staff changed them."""
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User))
    entries.filter(object_id=str(account.pk)).update(object_repr=account.email)
