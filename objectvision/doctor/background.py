"""What works beside the web: workers, beat, and the webhooks that they send."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from detections.models import some
from notifications.models import WebhookDelivery, WebhookEndpoint
from objectvision.doctor.findings import Finding, error, ok, warning
from objectvision.lib import heartbeats

START = {
    "inference": "celery -A objectvision worker -Q inference -c 1 -n inference@%h",
    "default": "celery -A objectvision worker -Q default -c 1 -n default@%h",
    "webhooks": "celery -A objectvision worker -Q webhooks -P threads -c 8 -n webhooks@%h",
}
START_BEAT = "celery -A objectvision beat"
# Beat writes the time of its last sweep every 3 minutes.
SERVE_GONE_AFTER = timedelta(minutes=5)
LATE = timedelta(minutes=10)
MOST_COUNTED = 1000


def check_worker_of(queue: str) -> Callable[[], Finding]:
    def check_worker() -> Finding:
        if not settings.REDIS_URL:
            return ok("not used: manage.py serve does its work")
        workers = heartbeats.alive().workers
        names = sorted({worker["name"] for worker in workers if queue in worker["queues"]})
        return ok(some(names)) if names else error("no worker of this queue is alive")

    return check_worker


def check_beat() -> Finding:
    if not settings.REDIS_URL:
        return check_serve()
    if heartbeats.alive().beat:
        return ok("alive")
    return error("it has sent no sweep for 30 s: lost work is not found")


def check_serve() -> Finding:
    """Its heartbeats are in another process; only rows tell of it.

    `date_changed` is written when beat starts, and whenever it writes `last_run_at`.
    """
    last = PeriodicTask.objects.filter(name="sweep").values_list("date_changed", flat=True).first()
    if last and timezone.now() - last < SERVE_GONE_AFTER:
        return ok(f"manage.py serve was at work at {last:%H:%M:%S} UTC")
    since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "yet"
    return warning(f"manage.py serve has not worked {since}", "Start it: manage.py serve.")


def check_webhooks() -> Finding:
    kept = WebhookEndpoint.objects.kept()
    active = kept.filter(is_active=True)
    overdue = WebhookDelivery.objects.pending().filter(endpoint__in=active, next_at__lt=timezone.now() - LATE)
    counts = {
        "failing": active.exclude(failing_since=None).count(),
        "disabled": kept.filter(is_active=False).exclude(disabled_reason="").count(),
    }
    late = overdue[: MOST_COUNTED + 1].count()
    found = [f"{count} of {kept.count()} are {what}" for what, count in counts.items() if count]
    if late:
        shown = f"over {MOST_COUNTED}" if late > MOST_COUNTED else str(late)
        found.append(f"{shown} deliveries are over 10 minutes late")
    return warning("; ".join(found)) if found else ok(f"{active.count()} active, none failing")
