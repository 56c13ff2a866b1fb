"""The end of an account."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.verification import greeting
from notifications import mail


def close(user: User) -> bool:
    """From now on the account is nobody's: no log-in, token or key opens it, and its address is free again.
    False, and nothing done, if it was closed before: of several at once one tells its owner.

    What it owns is erased afterwards, by whoever knows of it (`detections.cleanup.erase_closed`).
    """
    with transaction.atomic():
        account = User.objects.select_for_update().filter(pk=user.pk, closed_at=None).first()
        if account is None:
            return False
        mail.send(mail.Kind.ACCOUNT_DELETED, account.email, greeting(account))
        account.sessions.all().delete()
        account.api_keys.all().delete()
        account.closed_at = timezone.now()
        account.is_active = account.is_staff = account.is_superuser = False
        account.email, account.name = f"{account.pk}@closed.invalid", ""
        account.set_unusable_password()
        account.save()
        # The admin's log says what staff changed, by what it was called then: by an address.
        of_users = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User))
        of_users.filter(object_id=str(account.pk)).update(object_repr=account.email)
    return True
