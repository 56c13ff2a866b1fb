"""Statistics of a user, and the results that a detection shows."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Floor, TruncDate
from django.utils import timezone

from detections.models import (
    Detection,
    DetectionImage,
    DetectionQuerySet,
    DetectionResult,
    DetectionResultQuerySet,
    Detector,
)

# How many results a detection shows itself; pages have all of them.
MOST_SHOWN_OF_IMAGE, MOST_SHOWN = 1_000, 10_000
FEW = 500
MOST_CLASSES = 1_000  # that statistics name: owners may invent more
TENTHS = 10

Review, Source = DetectionResult.Review, DetectionResult.Source


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


def first_images(ids: Collection[UUID]) -> dict[UUID, DetectionImage]:
    """The first image with a file of each of these detections, by the detection's id."""
    images = DetectionImage.objects.filter(detection=OuterRef("pk")).with_a_file().order_by("pk")
    first = Detection.objects.filter(pk__in=ids).annotate(first=Subquery(images.values("pk")[:1]))
    found = DetectionImage.objects.filter(pk__in=first.order_by().values("first"))
    return {image.detection_id: image for image in found}


def statistics(user: Any, days: int) -> dict[str, Any]:
    """Counts of the user's rows: in all, by class, by detector, by day for the last `days`."""
    detections = Detection.objects.owned_by(user)
    count, images = detections.aggregate(count=Count("*"), images=Sum("total", default=0)).values()
    found = objects_by_class_and_tenth(user)
    agreement = agreement_by_class(user)
    objects = found.total()
    return {
        "detections": count,
        "images": images,
        "objects": objects,
        "per_class": objects_by_class(found),
        "per_detector": objects_by_detector(user, objects),
        "agreement": agreement[:MOST_CLASSES],
        "confidences": objects_by_tenth(found, added=sum(row["added"] for row in agreement)),
        "per_day": detections_by_day(detections, days),
    }


def objects_by_class_and_tenth(user: Any) -> Counter[tuple[str, int]]:
    """One pass through the index: the counts by class and by tenth of the confidence, 0..9, together."""
    results = DetectionResult.objects.owned_by(user).annotate(tenth=Floor(F("confidence") * TENTHS))
    counts = results.order_by().values_list("object_class", "tenth").annotate(count=Count("*"))
    found = Counter[tuple[str, int]]()
    for name, tenth, count in counts:
        found[name, min(int(tenth), TENTHS - 1)] += count
    return found


def objects_by_class(found: Counter[tuple[str, int]]) -> list[dict[str, Any]]:
    counts = Counter[str]()
    for (name, _), count in found.items():
        counts[name] += count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"object_class": name, "objects": count} for name, count in ordered[:MOST_CLASSES]]


def objects_by_tenth(found: Counter[tuple[str, int]], *, added: int) -> list[dict[str, Any]]:
    """What models found; boxes that were added have the highest confidence by definition."""
    counts = Counter({TENTHS - 1: -added})
    for (_, tenth), count in found.items():
        counts[tenth] += count
    return [
        {"min_confidence": tenth / TENTHS, "max_confidence": (tenth + 1) / TENTHS, "objects": counts[tenth]}
        for tenth in range(TENTHS)
    ]


def objects_by_detector(user: Any, objects: int) -> list[dict[str, Any]]:
    """Done images and their results; the detector of most images is left what the others have not."""
    done = DetectionImage.objects.filter(user=user, state=DetectionImage.State.DONE)
    images = Counter(dict(done.order_by().values_list("detector").annotate(count=Count("*"))))
    main, *others = [pk for pk, _ in images.most_common()] or [None]
    results = DetectionResult.objects.owned_by(user).filter(image__detector__in=others)
    of_others = results.order_by().values_list("image__detector").annotate(count=Count("*"))
    counts = Counter(dict(of_others)) if others else Counter()
    counts[main] = objects - counts.total()
    known = Detector.objects.in_bulk(images)
    return [
        {**named(known[pk]), "images": count, "objects": counts[pk]} for pk, count in images.most_common()
    ]


def named(detector: Detector) -> dict[str, str]:
    return {"detector": detector.name, "version": detector.version}


def agreement_by_class(user: Any) -> list[dict[str, Any]]:
    """How often its owner agrees with a detector about a class of the detector's; most reviewed first."""
    accepted = Q(source=Source.MODEL, review=Review.ACCEPTED)
    results = DetectionResult.objects.owned_by(user).reviewed().order_by()
    counts = results.values("image__detector", "object_class").annotate(
        accepted=Count("pk", filter=accepted & Q(reviewed_class="")),
        relabelled=Count("pk", filter=accepted & ~Q(reviewed_class="")),
        rejected=Count("pk", filter=Q(source=Source.MODEL, review=Review.REJECTED)),
        added=Count("pk", filter=Q(source=Source.PERSON)),
    )
    known = Detector.objects.in_bulk({row["image__detector"] for row in counts})
    rows = [{**named(known[row["image__detector"]]), **agreement_of(row)} for row in counts]
    return sorted(rows, key=lambda row: (-row["reviewed"], row["object_class"], row["detector"]))


def agreement_of(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("accepted", "relabelled", "rejected")}
    reviewed = sum(counts.values())
    return {
        "object_class": row["object_class"],
        "reviewed": reviewed,
        **counts,
        "added": row["added"],
        "agreement": round(row["accepted"] / reviewed, 4) if reviewed else None,
    }


def detections_by_day(detections: DetectionQuerySet, days: int) -> list[dict[str, Any]]:
    """The last `days` that have detections, latest first."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    recent = detections.filter(created_at__gte=today - timedelta(days=days - 1))
    by_date = recent.annotate(day=TruncDate("created_at")).values_list("day")
    counts = by_date.annotate(count=Count("*"), sent=Sum("total")).order_by("-day")
    return [{"day": day, "detections": count, "images": images} for day, count, images in counts]
