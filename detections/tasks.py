from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from detections import cleanup, exports, processing


@shared_task(name="detections.process_images")
def process_images() -> None:
    """Work through what waits, for a while. The message carries no work, only the news that there is some."""
    if processing.run(ring):
        ring()


@shared_task(name="detections.make_export")
def make_export() -> None:
    """Make one of the exports that wait. The next one is another message's: other tasks get their turn."""
    if exports.run(let_images_pass):
        ring_for_exports()


def let_images_pass() -> None:
    """Where one thread does everything (`serve`), nobody's photo waits for an export of many."""
    if not settings.REDIS_URL:
        processing.run(ring)


@shared_task(name="detections.sweep")
def sweep() -> None:
    """End every state that could stick, and ring while anything waits."""
    if cleanup.sweep():
        ring()
    if exports.sweep():
        ring_for_exports()
    cleanup.erase_closed()


@shared_task(name="detections.delete_expired")
def delete_expired() -> None:
    cleanup.delete_expired()
    exports.delete_expired()


@worker_shutting_down.connect
def stop_processing(**_: Any) -> None:
    processing.stopping.set()


def ring() -> None:
    process_images.delay()


def ring_for_exports() -> None:
    make_export.delay()
