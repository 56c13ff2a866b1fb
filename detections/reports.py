"""Statistics of a user, and the results that a detection shows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from detections.models import (
    Detection,
    DetectionImage,
    DetectionQuerySet,
    DetectionResult,
    DetectionResultQuerySet,
)

# How many results a detection shows itself; pages have all of them.
MOST_SHOWN_OF_IMAGE, MOST_SHOWN = 1_000, 10_000
FEW = 500


def show_few_results(detection: Detection) -> bool:
    """Do as `show_results` by one small query.

    False if there are more than `FEW`, and nothing is set.
    """
    few = list(DetectionResult.objects.filter(detection=detection)[: FEW + 1])  # ordering would read all
    if len(few) > FEW:
        return False
    set_few_results(detection.images.all(), few)
    return True


def set_few_results(images: Iterable[DetectionImage], results: list[DetectionResult]) -> None:
    """As `show_results`, with all results of the images at hand."""
    results.sort(key=lambda result: (-result.confidence, result.pk))
    set_shown_results(images, results, Counter(result.image_id for result in results))


def show_results(detection: Detection, among: DetectionResultQuerySet | None = None) -> None:
    """Set `results_total` and `shown_results` of the detection's images.

    Shown are the most confident 1,000 of each image, and 10,000 in all; of all results, or `among` these.
    """
    all_results = DetectionResult.objects.all() if among is None else among
    results = all_results.filter(detection=detection).most_confident_first()
    totals = results.count_by_image()
    if totals.total() > MOST_SHOWN and max(totals.values()) > MOST_SHOWN_OF_IMAGE:
        results = results.most_confident_of_each_image(MOST_SHOWN_OF_IMAGE)
    set_shown_results(detection.images.all(), results[:MOST_SHOWN], totals)


def set_shown_results(
    images: Iterable[DetectionImage], results: Iterable[DetectionResult], totals: Mapping[Any, int]
) -> None:
    by_image: dict[Any, list[DetectionResult]] = defaultdict(list)
    for result in results:
        by_image[result.image_id].append(result)
    for image in images:
        image.results_total = totals[image.pk]
        image.shown_results = by_image[image.pk][:MOST_SHOWN_OF_IMAGE]
        for result in image.shown_results:
            result.image = image  # which its pixels are computed with


def statistics(user: Any, days: int) -> dict[str, Any]:
    """Counts of the user's rows: in all, by class, by day for the last `days`."""
    detections = Detection.objects.owned_by(user)
    count, images = detections.aggregate(count=Count("*"), images=Sum("total", default=0)).values()
    per_class = objects_by_class(user)
    return {
        "detections": count,
        "images": images,
        "objects": sum(row["objects"] for row in per_class),
        "per_class": per_class,
        "per_day": detections_by_day(detections, days),
    }


def objects_by_class(user: Any) -> list[dict[str, Any]]:
    classes = DetectionResult.objects.owned_by(user).values_list("object_class")
    counts = classes.annotate(count=Count("*")).order_by("-count", "object_class")
    return [{"object_class": name, "objects": count} for name, count in counts]


def detections_by_day(detections: DetectionQuerySet, days: int) -> list[dict[str, Any]]:
    """The last `days` that have detections, latest first."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    recent = detections.filter(created_at__gte=today - timedelta(days=days - 1))
    by_date = recent.annotate(day=TruncDate("created_at")).values_list("day")
    counts = by_date.annotate(count=Count("*"), sent=Sum("total")).order_by("-day")
    return [{"day": day, "detections": count, "images": images} for day, count, images in counts]
