"""What the cards of a history show beside their detections."""

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, TypedDict
from uuid import UUID

from django.db.models import F
from django.urls import reverse

from console.names import name_of
from detections import reports
from detections.models import Detection, DetectionImage, DetectionQuerySet
from detections.publication.showing import count_classes

MOST_COUNTED = 10  # images of a detection whose objects are counted for its card
MOST_CLASSES = 4
COLUMNS = ("name", "status", "total", "processed", "failed", "error", "is_public", "created_at")
BADGES = {
    "pending": ("Waiting", ""),
    "processing": ("Processing", ""),
    "completed": ("Done", "ok"),
    "failed": ("Failed", "danger"),
    "cancelled": ("Cancelled", "warn"),
}


class Card(TypedDict):
    """Texts to show; "" shows nothing. They are made here: filters of templates cost more than the rows."""

    id: str
    name: str
    thumbnail: str
    """The address of the first image that has a file."""
    progress: str
    error: str
    objects: Sequence[tuple[str, str]]
    """The most frequent classes and their counts."""
    summary: str
    """Beside the objects, or instead of them."""
    pictures: str
    failed: str
    status: str
    label: str
    tone: str
    is_open: bool
    is_public: bool
    detector: str
    created_at: str
    day: str
    moment: str


def with_columns(detections: DetectionQuerySet) -> DetectionQuerySet:
    """With what cards show, and nothing else: whole rows and detectors take twice the time."""
    return detections.only(*COLUMNS).annotate(detector_name=F("detector__name"))


def cards_of(detections: Sequence[Any]) -> list[Card]:
    """Of rows `with_columns`, in two statements, however many they are."""
    images = reports.first_images([detection.pk for detection in detections])
    few = [each.pk for each in detections if are_counted(each)]
    counts = count_classes(few) if few else {}
    address = thumbnail_addresses()
    return [card_of(each, images.get(each.pk), counts.get(each.pk, ()), address) for each in detections]


def are_counted(detection: Detection) -> bool:
    return bool(detection.processed) and detection.total <= MOST_COUNTED


def thumbnail_addresses() -> Callable[[DetectionImage], str]:
    """The address of each image's thumbnail, looked up once for all."""
    places = UUID(int=1), UUID(int=2)
    first, second = map(str, places)
    address = reverse("detection-thumbnail", args=places)
    return lambda image: address.replace(first, str(image.detection_id)).replace(second, str(image.pk))


def card_of(
    detection: Any,  # with `detector_name`
    image: DetectionImage | None,
    counts: Sequence[dict[str, Any]],
    address: Callable[[DetectionImage], str],
) -> Card:
    label, tone = BADGES[detection.status]
    is_open, is_job = not detection.is_finished, detection.total > 1
    percent = str(detection.percent) if is_open and is_job else ""
    created = detection.created_at.astimezone(UTC)
    return {
        "id": str(detection.pk),
        "name": name_of(detection, image),
        "thumbnail": address(image) if image else "",
        "progress": percent,
        "error": detection.error if detection.status == Detection.Status.FAILED else "",
        "objects": [(each["object_class"], f"{each['objects']:,}") for each in counts[:MOST_CLASSES]],
        "summary": summary_of(detection, has_objects=bool(counts)),
        "pictures": pictures(detection.total) if is_job else "",
        "failed": failures_of(detection),
        "status": detection.status,
        "label": f"{percent} %" if percent and detection.status == Detection.Status.PROCESSING else label,
        "tone": tone,
        "is_open": is_open,
        "is_public": detection.is_public,
        "detector": detection.detector_name,
        "created_at": created.isoformat(),
        "day": f"{created.day} {created:%b %Y, %H:%M}",
        "moment": f"{created.day} {created:%B %Y, %H:%M:%S} UTC",
    }


def summary_of(detection: Detection, *, has_objects: bool) -> str:
    if are_counted(detection):
        return "" if has_objects else "Nothing found"
    if detection.processed:
        return f"{detection.processed:,} of {pictures(detection.total)} done"
    return pictures(detection.total)


def failures_of(detection: Detection) -> str:
    """Of images whose detection has not failed as a whole."""
    is_shown = detection.failed and detection.status != Detection.Status.FAILED
    return f"{detection.failed:,} failed" if is_shown else ""


def pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
