"""Questions about what a user has, answered from many rows."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from detections.models import Detection, DetectionImage, DetectionQuerySet, DetectionResult, Detector

# The conditions of a history that its own columns answer.
COLUMNS = {
    "status": "status",
    "created_after": "created_at__gte",
    "created_before": "created_at__lt",
    "detector": "detector__name",
}


def narrowed(detections: DetectionQuerySet, user: Any, filters: Mapping[str, Any]) -> DetectionQuerySet:
    """Those of the user's detections that fulfil all of these conditions; one without a value is none."""
    given = {name: value for name, value in filters.items() if value is not None and value != ""}
    detections = detections.filter(**{COLUMNS[name]: given[name] for name in COLUMNS if name in given})
    if "object_class" in given or "min_confidence" in given:
        detections = detections.filter(shows(user, given))
    if "search" in given:
        detections = detections.filter(is_named(user, given["search"]))
    return detections


def shows(user: Any, given: Mapping[str, Any]) -> Exists:
    """That one and the same result has the class and the confidence asked for."""
    results = DetectionResult.objects.owned_by(user).filter(detection=OuterRef("pk"))
    # With any class, SQLite would else look among all of the user's results, for each detection.
    classes = of_class(given) or {"object_class__gte": ""}
    return Exists(results.filter(confidence__gte=given.get("min_confidence", 0), **classes))


def of_class(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"object_class": given["object_class"]} if "object_class" in given else {}


def is_named(user: Any, text: str) -> Q:
    images = DetectionImage.objects.filter(user=user, detection=OuterRef("pk"), original_name__icontains=text)
    return Q(name__icontains=text) | Q(Exists(images))


def statistics(user: Any, days: int) -> dict[str, Any]:
    """What the user has: as a whole, by class, the most frequent first, and for the last so many days."""
    detections = Detection.objects.owned_by(user)
    count, images = detections.aggregate(count=Count("*"), images=Sum("total", default=0)).values()
    per_class = objects_by_class(user)
    return {
        "detections": count,
        "images": images,
        "objects": sum(row["objects"] for row in per_class),
        "per_class": per_class,
        "per_day": by_day(detections, days),
    }


def objects_by_class(user: Any) -> list[dict[str, Any]]:
    classes = DetectionResult.objects.owned_by(user).values_list("object_class")
    counts = classes.annotate(count=Count("*")).order_by("-count", "object_class")
    return [{"object_class": name, "objects": count} for name, count in counts]


def by_day(detections: DetectionQuerySet, days: int) -> list[dict[str, Any]]:
    """The latest first; of the last so many days, those that have any."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    recent = detections.filter(created_at__gte=today - timedelta(days=days - 1))
    by_date = recent.annotate(day=TruncDate("created_at")).values_list("day")
    counts = by_date.annotate(count=Count("*"), sent=Sum("total")).order_by("-day")
    return [{"day": day, "detections": count, "images": images} for day, count, images in counts]


def among(results: QuerySet[DetectionResult], filters: Mapping[str, Any]) -> QuerySet[DetectionResult]:
    """Those of the results that fulfil all of these conditions; one without a value is none."""
    given = {name: value for name, value in filters.items() if value is not None and value != ""}
    results = results.filter(**of_class(given))
    if "min_confidence" in given:
        results = results.filter(confidence__gte=given["min_confidence"])
    if "created_after" in given:
        results = results.filter(created_at__gte=given["created_after"])
    if "created_before" in given:
        results = results.filter(created_at__lt=given["created_before"])
    if "detector" in given:
        # Looked up first, so that the plan knows whether it is a rare one.
        detectors = list(Detector.objects.filter(name=given["detector"]).values_list("pk", flat=True))
        results = results.filter(detection__detector__in=detectors)
    return results
