import logging

from celery import shared_task

from detections import cleanup, processing

log = logging.getLogger(__name__)


@shared_task(name="detections.process_images")
def process_images() -> None:
    """Work through what waits, for a while. The message carries no work, only the news that there is some."""
    if processing.run(ring):
        ring()


@shared_task(name="detections.sweep")
def sweep() -> None:
    """End every state that could stick, and ring while anything waits."""
    if cleanup.sweep():
        ring()


def ring() -> None:
    process_images.delay()
