from celery import shared_task

from notifications.mail import delivery
from notifications.models import Event, Mail
from objectvision.lib import doorbell


@shared_task(name="notifications.send_mails")
def send_mails() -> None:
    """Send one mail that is due. The next one is another message's work: other tasks get their turn."""
    if delivery.send_next_mail():
        doorbell.ring_doorbell("notifications.send_mails")


@shared_task(name="notifications.sweep")
def sweep_mails() -> None:
    """Release the mails of workers that are gone, and ring while any mail is due."""
    Mail.objects.release_lapsed()
    if Mail.objects.due().exists():
        doorbell.ring_doorbell("notifications.send_mails")


@shared_task(name="notifications.forget")
def delete_old_rows() -> None:
    Mail.objects.outdated().delete()
    Event.objects.delete_outdated()
