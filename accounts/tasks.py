from datetime import timedelta

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from accounts.models import ApiKey, FailedLogin, Session, Ticket

KEPT = timedelta(days=30)


@shared_task(name="accounts.forget")
def delete_old_credentials() -> None:
    """Delete sessions and API keys that ended long ago; old log-in attempts, tickets and admin's cookies."""
    now = timezone.now()
    Session.objects.filter(expires_at__lt=now - KEPT).delete()
    ApiKey.objects.filter(revoked_at__lt=now - KEPT).delete()
    FailedLogin.objects.filter(at__lt=now - FailedLogin.WINDOW).delete()
    Ticket.objects.filter(expires_at__lt=now).delete()
    SessionStore.clear_expired()
