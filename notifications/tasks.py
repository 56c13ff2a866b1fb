from celery import shared_task

from notifications import delivery
from notifications.models import Mail


@shared_task(name="notifications.send_mails")
def send_mails() -> None:
    """Send one of the mails that are due. The next one is another message's: other tasks get their turn."""
    if delivery.run():
        send_mails.delay()


@shared_task(name="notifications.sweep")
def sweep() -> None:
    """Take mails back from workers that are gone, and ring while any is due."""
    Mail.objects.release_lapsed()
    if Mail.objects.due().exists():
        send_mails.delay()


@shared_task(name="notifications.forget")
def forget() -> None:
    Mail.objects.forgotten().delete()
