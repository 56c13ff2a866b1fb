"""What visitors see of a detection, published or shared: pictures, classes and boxes of its done images.

Neither its name nor names of files are in it; its owner's name is, if the owner wants that. Whether it is
shown is read from its row for every request. What is shown is kept for an hour, as of `updated_at`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Case, CharField, Count, F, When
from django.utils import timezone

from detections import caching, reports
from detections.images import palette
from detections.images.boxes import Box
from detections.models import Detection, DetectionImage, DetectionQuerySet, DetectionResult
from detections.publication.shares import hash_token
from detections.rendering import labels_of

T = TypeVar("T")

KEPT_SECONDS = 60 * 60
MOST_LISTED = 6  # classes of a description
MOST_OBJECTS = 100  # of a page
# Places for kept answers: a bound on the memory that users' links and pages can fill.
KEPT_PAGES, KEPT_DETECTIONS, KEPT_IMAGES = 64, 64, 1024
MOST_CLASSES = 20  # of a detection
FINAL_CLASS = Case(
    When(reviewed_class="", then=F("object_class")), default=F("reviewed_class"), output_field=CharField()
)


def shown() -> DetectionQuerySet:
    """Detections that have something to show: finished ones of active users."""
    finished = Detection.objects.finished().filter(processed__gt=0, user__is_active=True)
    return finished.select_related("user__settings")


def public() -> DetectionQuerySet:
    return shown().filter(is_public=True, moderation=Detection.Moderation.APPROVED)


def shared_by(token: str) -> DetectionQuerySet:
    """The detection that a link with this token shows, while the link is alive."""
    return shown().filter(
        shares__token_hash=hash_token(token),
        shares__revoked_at=None,
        shares__expires_at__gt=timezone.now(),
    )


def owner_name(detection: Detection) -> str | None:
    return detection.user.name or None if detection.user.preferences.show_name else None


def version_of(detection: Detection) -> str:
    """Changes with everything that visitors see of it."""
    return json.dumps([str(detection.pk), detection.updated_at.isoformat(), owner_name(detection)])


def kept_in_place(kind: str, places: int, subject: str, version: str, make: Callable[[], T]) -> T:
    """What `make` returns about this subject, kept as of its version in one of so many places."""
    place = int.from_bytes(sha256(subject.encode()).digest()[:4]) % places
    return caching.kept_as_of(f"shown:{kind}:{place}", f"{subject} {version}", KEPT_SECONDS, make)


def done_images(detection: Detection) -> Any:
    return DetectionImage.objects.filter(detection=detection, state=DetectionImage.State.DONE).order_by("pk")


def load_results(detection: Detection) -> list[DetectionImage]:
    """The done images with `results_total` and `shown_results`, as `reports.show_results` sets them."""
    detection.load_images()
    reports.show_results(detection, DetectionResult.objects.not_rejected())
    return [image for image in detection.images.all() if image.processed]


def count_classes(ids: Collection[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The most frequent classes of each of these detections."""
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    results = DetectionResult.objects.not_rejected().filter(detection__in=ids)
    found = results.annotate(final=FINAL_CLASS).order_by()
    for pk, name, count in found.values_list("detection", "final").annotate(count=Count("pk")):
        counts[pk][name] += count
    return {pk: in_order(counts[pk], MOST_CLASSES) for pk in ids}


def names_by_owner(detection: Detection) -> list[str]:
    """The classes that visitors may see and that no model named."""
    named = DetectionResult.objects.filter(detection=detection).not_rejected().named_by_owner()
    return sorted(set(named.annotate(final=FINAL_CLASS).values_list("final", flat=True)))


def in_order(counts: Counter[str], most: int | None = None) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"object_class": name, "objects": count} for name, count in ordered[:most]]


def summary_of(detection: Detection, objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As JSON has it; without links, which depend on the request."""
    return {
        "id": str(detection.pk),
        "owner_name": owner_name(detection),
        "total": detection.processed,
        "objects": objects,
        "created_at": detection.created_at.isoformat().replace("+00:00", "Z"),
    }


def kept_page(detections: Sequence[Detection]) -> list[dict[str, Any]]:
    """The summaries of these rows, kept as of all their versions."""

    def summaries() -> list[dict[str, Any]]:
        objects = count_classes([detection.pk for detection in detections])
        return [summary_of(detection, objects[detection.pk]) for detection in detections]

    version = "\n".join(map(version_of, detections))
    return kept_in_place("page", KEPT_PAGES, version, "", summaries)


def kept_detection(detection: Detection) -> dict[str, Any]:
    """The summary with images and their results."""
    subject, version = str(detection.pk), version_of(detection)
    return kept_in_place("detection", KEPT_DETECTIONS, subject, version, lambda: described(detection))


def described(detection: Detection) -> dict[str, Any]:
    images = load_results(detection)
    return {
        **summary_of(detection, count_classes([detection.pk])[detection.pk]),
        "images": [
            {
                "id": str(image.pk),
                "width": image.width,
                "height": image.height,
                "results_total": image.results_total,
                "results": [described_result(result) for result in image.shown_results],
            }
            for image in images
        ],
    }


def described_result(result: DetectionResult) -> dict[str, Any]:
    return {
        "object_class": result.final_class,
        "confidence": result.confidence,
        "bbox": result.pixels,
        "bbox_normalized": result.shares,
    }


def kept_image(detection: Detection, number: int) -> dict[str, Any] | None:
    """What the page of this image shows, counted from 1. None if there is none."""
    if not 1 <= number <= detection.processed:
        return None
    subject, version = f"{detection.pk} {number}", version_of(detection)
    return kept_in_place("picture", KEPT_IMAGES, subject, version, lambda: described_image(detection, number))


def described_image(detection: Detection, number: int) -> dict[str, Any] | None:
    image = done_images(detection).select_related("detector")[number - 1 : number].first()
    if image is None:
        return None
    labels = labels_of(image, 0, "")
    total = image.results.not_rejected().count()
    counts = Counter(label.object_class for label in labels)
    colours = {label.object_class: colour_of(label) for label in reversed(labels)}
    classes = in_order(counts)
    listed = [f"{each['objects']} {each['object_class']}" for each in classes[:MOST_LISTED]]
    return {
        "title": count_of(total, "object"),
        "description": ", ".join(listed) or "Nothing was found.",
        "owner_name": owner_name(detection),
        "created_at": detection.created_at.isoformat(),
        "total": detection.processed,
        "number": number,
        "image": {"id": str(image.pk), "width": image.width, "height": image.height},
        "classes": [{**each, "colour": colours[each["object_class"]]} for each in classes],
        "objects": [
            {
                "object_class": label.object_class,
                "confidence": label.confidence,
                "colour": colour_of(label),
            }
            for label in labels[:MOST_OBJECTS]
        ],
        "more": max(0, total - MOST_OBJECTS),
        "is_cut": total > len(labels),
    }


def count_of(number: int, noun: str) -> str:
    return f"{f'{number:,}' if number else 'No'} {noun}{'' if number == 1 else 's'}"


def colour_of(label: Box) -> str:
    return palette.css(palette.colour(label.class_id))
