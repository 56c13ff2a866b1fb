"""What users are told of the service: what keeps their images waiting, and how fast these move."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from accounts.models import User
from detections import caching
from detections.caching import Question
from detections.models import Detection, DetectionImage, Detector
from objectvision.lib import heartbeats
from objectvision.lib.redis import shared_cache

KEPT_SECONDS = 5
SPAN = timedelta(minutes=5)
MOST_COUNTED = 1000

NO_BROKER = "The message service (Redis) does not answer: pictures wait until it does."
NO_BEAT = "The scheduler (beat) does not run: a picture that is stuck waits until it does."
NO_WORKER = "No worker runs: pictures wait until one is started."
NO_DETECTOR = "No detector is prepared yet: pictures cannot be sent."
NO_FILES = "The detector's files are missing: pictures wait until it is prepared again."


def problems() -> list[str]:
    """Why images wait that would be processed otherwise: the same for all users, read every few seconds."""
    cache = shared_cache("default")
    kept: list[str] | None = cache.get("console:problems")
    if kept is None:
        kept = [text for text in (background_problem(), detector_problem()) if text]
        cache.set("console:problems", kept, KEPT_SECONDS)
    return kept


def background_problem() -> str:
    try:
        alive = heartbeats.alive()
    except RedisError:
        return NO_BROKER
    if not any("inference" in worker["queues"] for worker in alive.workers):
        return NO_WORKER
    return "" if alive.beat else NO_BEAT


def detector_problem() -> str:
    default = Detector.objects.default()
    if default is None:
        return NO_DETECTOR
    return "" if default.folder.is_dir() else NO_FILES


def state_for(user: User) -> dict[str, Any]:
    """The user's waiting images, the place of the next one, how many are processed in a minute."""
    question = Question("service", "", KEPT_SECONDS, slots=1)
    return caching.kept(user.pk, question, lambda: own_state(user)) | {"problems": problems()}


def own_state(user: User) -> dict[str, Any]:
    waiting = DetectionImage.objects.waiting().filter(user=user)
    first = waiting.in_fair_order().select_related("detection").first()
    return {
        "waiting": waiting.count() if first else 0,
        "position": first.detection.queue_position() if first else 0,
        "per_minute": images_per_minute(user, timezone.now()),
    }


def images_per_minute(user: User, now: datetime) -> int:
    """By the detections of the last minutes. One that ran longer counts with its own speed."""
    running = Q(status=Detection.Status.PROCESSING)
    recent = user.detections.filter(running | Q(finished_at__gte=now - SPAN)).order_by("-created_at")
    counts = recent.values_list("created_at", "started_at", "processed", "failed")[:MOST_COUNTED]
    return round(sum(speeds(counts, now)))


def speeds(counts: Iterable[Any], now: datetime) -> Iterable[float]:
    for created_at, started_at, processed, failed in counts:
        passed = max(SPAN, now - (started_at or created_at))
        yield (processed + failed) / (passed / timedelta(minutes=1))
