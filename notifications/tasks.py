from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown, worker_shutting_down
from django.utils import timezone

from notifications import outbox
from notifications.mail import delivery
from notifications.models import Event, Mail, WebhookDelivery, WebhookEndpoint
from notifications.webhooks import endpoints
from notifications.webhooks.senders import senders
from objectvision.lib import doorbell

# A request that is under way takes no longer.
STOP_SECONDS = 16


@shared_task(name="notifications.send_mails")
def send_mails() -> None:
    """Send one mail that is due. The next one is another message's work: other tasks get their turn."""
    if delivery.send_next_mail():
        doorbell.ring_doorbell("notifications.send_mails")


@shared_task(name=outbox.SEND_TASK)
def send_webhooks() -> None:
    """Threads of this process send what is due; this task does not wait for them."""
    senders.wake()


@shared_task(name="notifications.sweep")
def sweep_notifications() -> None:
    """End every state of mails and webhooks that could stick, and ring while any is due."""
    Mail.objects.release_lapsed()
    if Mail.objects.due().exists():
        doorbell.ring_doorbell("notifications.send_mails")
    WebhookDelivery.objects.release_lapsed()
    endpoints.end_pending_of_inactive()
    endpoints.delete_removed()
    if WebhookEndpoint.objects.ready(timezone.now()):
        doorbell.ring_doorbell(outbox.SEND_TASK)


@shared_task(name="notifications.forget")
def delete_old_rows() -> None:
    Mail.objects.outdated().delete()
    Event.objects.delete_outdated()
    WebhookDelivery.objects.delete_outdated()
    endpoints.disable_flooded()
    endpoints.seal_anew()


@worker_shutting_down.connect
def stop_claiming_webhooks(**_: Any) -> None:
    senders.stopping.set()


@worker_shutdown.connect
@worker_process_shutdown.connect  # of the children of a worker without -P threads
def stop_sending_webhooks(**_: Any) -> None:
    senders.stop(STOP_SECONDS)
