from datetime import timedelta

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from accounts.models import FailedLogin, Session

SESSIONS_KEPT = timedelta(days=30)


@shared_task(name="accounts.forget")
def forget() -> None:
    """Drop what nobody asks for any longer: sessions long over, old wrong tries, the admin's old cookies."""
    now = timezone.now()
    Session.objects.filter(expires_at__lt=now - SESSIONS_KEPT).delete()
    FailedLogin.objects.filter(at__lt=now - FailedLogin.WINDOW).delete()
    SessionStore.clear_expired()
