"""Which detections and results the conditions of a question mean."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Collate
from django.db.models.lookups import IContains

from detections.models import Detection, DetectionImage, DetectionQuerySet, DetectionResult, Detector
from objectvision.lib import rows

# The conditions of a history that its own columns answer.
COLUMNS = {
    "status": "status",
    "created_after": "created_at__gte",
    "created_before": "created_at__lt",
    "detector": "detector__name",
}

MOST_CHOICES = 200
# Each class costs one probe of the index of the user's classes.
FOUND_CLASSES = """
    WITH RECURSIVE found (object_class) AS (
        SELECT min(object_class) FROM detections_detectionresult WHERE user_id = %s
        UNION ALL
        SELECT (
            SELECT min(object_class) FROM detections_detectionresult
            WHERE user_id = %s AND object_class > found.object_class
        )
        FROM found WHERE found.object_class IS NOT NULL
    )
    SELECT object_class FROM found WHERE object_class IS NOT NULL LIMIT %s
    """


def filter_detections(
    detections: DetectionQuerySet, user: Any, filters: Mapping[str, Any]
) -> DetectionQuerySet:
    """The user's detections that fulfil all conditions; one without a value is none."""
    given = {name: value for name, value in filters.items() if value is not None and value != ""}
    detections = detections.filter(**{COLUMNS[name]: given[name] for name in COLUMNS if name in given})
    if "object_class" in given or "min_confidence" in given:
        detections = detections.filter(has_result(user, given))
    if "detection_ids" in given:
        detections = detections.filter(pk__in=given["detection_ids"])
    if "search" in given:
        detections = detections.filter(is_named(user, given["search"]))
    return detections


def has_result(user: Any, given: Mapping[str, Any]) -> Exists:
    """Whether one result has both the class and the confidence asked for."""
    results = DetectionResult.objects.owned_by(user).filter(detection=OuterRef("pk"))
    # Without a class, SQLite would look through all of the user's results for each detection.
    classes = of_class(given) or {"object_class__gte": ""}
    return Exists(results.filter(confidence__gte=given.get("min_confidence", 0), **classes))


def of_class(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"object_class": given["object_class"]} if "object_class" in given else {}


def is_named(user: Any, text: str) -> Q:
    images = DetectionImage.objects.filter(user=user, detection=OuterRef("pk"))
    return contains("name", text) | Q(Exists(images.filter(contains("original_name", text))))


def contains(field: str, text: str) -> Q:
    """Whether the field has this text in it, in capital or small letters."""
    if text.isascii() and connection.vendor == "postgresql":
        # Where no letter of another alphabet is asked for, names are compared in half of the time.
        return Q(IContains(Collate(F(field), "C"), text.upper()))
    return Q(**{f"{field}__icontains": text})


def as_json(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions for a JSON column: times become ISO 8601 texts, ids their usual texts."""
    return {name: text_of(value) for name, value in filters.items()}


def text_of(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case list():
            return [text_of(item) for item in value]
        case UUID():
            return str(value)
    return value


def filter_results(
    results: QuerySet[DetectionResult], filters: Mapping[str, Any]
) -> QuerySet[DetectionResult]:
    """The results that fulfil all conditions; one without a value is none."""
    given = {name: value for name, value in filters.items() if value is not None and value != ""}
    results = results.filter(**of_class(given))
    if "min_confidence" in given:
        results = results.filter(confidence__gte=given["min_confidence"])
    if "review" in given:
        results = results.filter(review=given["review"])
    if "created_after" in given:
        results = results.filter(created_at__gte=given["created_after"])
    if "created_before" in given:
        results = results.filter(created_at__lt=given["created_before"])
    if "detector" in given:
        # Looked up first, so that the plan knows how rare the detector is.
        detectors = list(Detector.objects.filter(name=given["detector"]).values_list("pk", flat=True))
        results = results.filter(detection__detector__in=detectors)
    return results


def named_classes(wanted: str | Sequence[str], known: Container[str]) -> list[str]:
    """The classes of a list literally; of a text that is no known name, its parts between commas."""
    if not isinstance(wanted, str):
        return list(wanted)
    if wanted in known:
        return [wanted]
    return [name.strip() for name in wanted.split(",") if name.strip()]


def found_classes(user: Any) -> list[str]:
    """The first 200 of the classes that models have found for the user, in order."""
    return [name for [name] in rows.read(FOUND_CLASSES, [user.pk, user.pk, MOST_CHOICES])]


def used_detectors(user: Any) -> list[str]:
    """The first 200 of the detectors' names that the user's detections ran on, in order."""
    detections = Detection.objects.owned_by(user).filter(detector=OuterRef("pk"))
    names = Detector.objects.filter(Exists(detections)).order_by("name").values_list("name", flat=True)
    return list(names.distinct()[:MOST_CHOICES])
