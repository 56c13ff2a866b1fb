"""What `/metrics` reads as it is asked: rows, heartbeats, the disk."""

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import Count, Q
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from detections.models import Detector, Export
from notifications.models import Mail, WebhookDelivery, WebhookEndpoint
from objectvision import __version__
from objectvision.health import QUEUES, Part, PartAwayError
from objectvision.lib import heartbeats, metrics

OVERDUE = timedelta(minutes=10)
STATES = ("waiting", "claimed")


def read_all() -> Iterator[Metric]:
    """All metrics, in the time that a health page takes. What cannot be read is left out."""
    waiting = {"database": ROWS.begin(), "redis": HEARTBEATS.begin()}
    yield from metrics.collect()
    yield labelled("build_info", "The version that runs.", "version", {__version__: 1})
    with suppress(OSError):
        disk = shutil.disk_usage(settings.DATA_DIR)
        yield single("disk_free_bytes", "Free in the file system of DATA_DIR.", disk.free)
        yield single("disk_size_bytes", "Size of the file system of DATA_DIR.", disk.total)
    for name, wait in waiting.items():
        found, is_up = read_part(wait)
        yield from found
        if name == "database" or settings.REDIS_URL:
            yield single(f"{name}_up", f"Whether the {name} answers.", is_up)


def read_part(wait: Callable[[], list[Metric]]) -> tuple[list[Metric], bool]:
    try:
        return wait(), True
    except PartAwayError:
        return [], False


def single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"objectvision_{name}", text, value)


def labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"objectvision_{name}", text, labels=[label])
    for value, number in values.items():
        metric.add_metric([value], number)
    return metric


def read_rows() -> list[Metric]:
    """One query for each metric or for those of one table."""
    try:
        return [*queues(), *outbox(), *webhooks()]
    except DatabaseError as error:
        raise PartAwayError("The database does not answer.") from error


def queues() -> Iterator[Metric]:
    images, oldest = Counter[tuple[str, str]](), defaultdict[str, float](float)
    for queue in Detector.objects.queues():
        name = queue.detector.full_name
        for state in STATES:
            images[name, state] += queue.images or 0 if queue.state == state else 0
        oldest[name] = max(oldest[name], age_of(queue.oldest))
    waiting = GaugeMetricFamily("objectvision_images", "Images in the queue.", labels=["detector", "state"])
    for labels, count in images.items():
        waiting.add_metric(labels, count)
    yield waiting
    text = "Since the upload of the image that has waited for longest; 0 if none waits."
    yield labelled("oldest_image_seconds", text, "detector", oldest)


def age_of(pk: str | None) -> float:
    """Seconds since this id of version 7 was made; 0 without one."""
    return max(0.0, time.time() - (UUID(pk).int >> 80) / 1000) if pk else 0.0


def outbox() -> Iterator[Metric]:
    mails = Mail.objects.filter(state=Mail.State.WAITING).count()
    yield single("mails_waiting", "Mails that wait to be sent.", mails)
    exports = Export.objects.filter(status=Export.Status.PENDING).count()
    yield single("exports_waiting", "Exports that wait for a worker.", exports)


def webhooks() -> Iterator[Metric]:
    late = Count("pk", filter=Q(next_at__lt=timezone.now() - OVERDUE))
    deliveries = WebhookDelivery.objects.pending().aggregate(waiting=Count("pk"), overdue=late)
    yield single("webhook_deliveries_waiting", "Deliveries that wait, or wait again.", deliveries["waiting"])
    text = "Deliveries that have been due for over 10 minutes."
    yield single("webhook_deliveries_overdue", text, deliveries["overdue"])
    failing = Q(is_active=True, failing_since__isnull=False)
    endpoints = WebhookEndpoint.objects.kept().aggregate(
        active=Count("pk", filter=Q(is_active=True, failing_since=None)),
        failing=Count("pk", filter=failing),
        disabled=Count("pk", filter=Q(is_active=False)),
    )
    yield labelled("webhook_endpoints", "Webhooks of users.", "state", endpoints)


def read_heartbeats() -> list[Metric]:
    try:
        alive = heartbeats.alive()
    except redis.RedisError as error:
        raise PartAwayError("The workers' heartbeats cannot be read.") from error
    serving = Counter(queue for worker in alive.workers for queue in worker["queues"])
    workers = {queue: serving[queue] for queue in sorted(QUEUES)}
    return [
        labelled("workers", "Workers that are alive.", "queue", workers),
        single("beat_alive", "Whether beat has sent its sweep lately.", alive.beat),
    ]


ROWS = Part(read_rows, "The database does not answer.")
HEARTBEATS = Part(read_heartbeats, "Redis does not answer.")
