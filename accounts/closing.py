"""The end of an account."""

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.verification import greeting
from notifications import mail


def close(user: User) -> None:
    """From now on the account is nobody's: no log-in, token or key opens it, and its address is free again.

    What it owns is erased afterwards, by whoever knows of it (`detections.cleanup.erase_closed`).
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        mail.send(mail.Kind.ACCOUNT_DELETED, user.email, greeting(user))
        user.sessions.all().delete()
        user.api_keys.all().delete()
        user.closed_at = timezone.now()
        user.is_active = user.is_staff = user.is_superuser = False
        user.email, user.name = f"{user.pk}@closed.invalid", ""
        user.set_unusable_password()
        user.save()
