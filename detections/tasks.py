from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from accounts import closing
from detections import bulk, erasure
from detections.exports import runs
from detections.jobs import processing
from detections.jobs.sweep import sweep_detections
from detections.models import BulkAction
from detections.publication.models import ShareLink
from objectvision.lib import doorbell


@shared_task(name="detections.process_images")
def process_images() -> None:
    """Process waiting images for a while.

    The message carries no work: the rows are the queue.
    """
    if processing.process_waiting():
        doorbell.ring_doorbell("detections.process_images")


@shared_task(name="detections.make_export")
def make_export() -> None:
    """Make one waiting export.

    The next one is another message's, so that other tasks get their turn.
    """
    if runs.make_next_export(let_images_pass):
        doorbell.ring_doorbell("detections.make_export")


def let_images_pass() -> None:
    """Under `serve` one thread does everything: no image waits for a large export."""
    if not settings.REDIS_URL:
        processing.process_waiting()


@shared_task(name=bulk.TASK)
def change_many() -> None:
    """Go on with users' bulk actions for a while."""
    if bulk.work_off():
        doorbell.ring_doorbell(bulk.TASK)


@shared_task(name="detections.sweep")
def sweep() -> None:
    """End every state that could stick, and ring while rows wait."""
    if sweep_detections():
        doorbell.ring_doorbell("detections.process_images")
    if runs.sweep_exports():
        doorbell.ring_doorbell("detections.make_export")
    if BulkAction.objects.claimable().exists():
        doorbell.ring_doorbell(bulk.TASK)
    erasure.delete_left_files()
    erasure.erase_closed_accounts()


@shared_task(name=closing.ERASURE_TASK)
def erase_closed_accounts() -> None:
    erasure.erase_closed_accounts()


@shared_task(name="detections.delete_expired")
def delete_expired() -> None:
    erasure.delete_expired_detections()
    ShareLink.objects.delete_ended()
    runs.delete_expired_exports()


@worker_shutting_down.connect
def stop_processing(**_: Any) -> None:
    processing.stopping.set()
