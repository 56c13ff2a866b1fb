"""What a card of the first page shows: state, first picture with boxes, and counts of classes."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from accounts.models import User
from console.names import name_of
from detections import caching, reports
from detections.caching import Question
from detections.images import palette
from detections.models import (
    Detection,
    DetectionImage,
    DetectionQuerySet,
    DetectionResult,
    Detector,
    queue_positions,
)
from detections.publication import showing

KEPT_SECONDS = 5 * 60
MOST_BOXES = 40  # of a thumbnail

Card = dict[str, Any]


def newest_cards(user: User, count: int) -> list[Card]:
    return cards_of(user, Detection.objects.owned_by(user).newest_first()[:count])


def cards_of(user: User, detections: DetectionQuerySet) -> list[Card]:
    """Cards of the user's detections, newest first. What rows say is kept; the place in the queue is not."""
    found = list(detections)
    ids = [each.pk for each in found]

    def make() -> list[Card]:  # of rows that are read again, after their owner's version
        return made_cards(Detection.objects.filter(pk__in=ids).newest_first())

    cards = caching.kept(user.pk, Question("cards", ",".join(map(str, ids)), KEPT_SECONDS), make)
    places = {str(pk): place for pk, place in queue_positions(found).items()}
    return [{**card, "queue_position": places.get(card["id"], 0)} for card in cards]


def made_cards(detections: DetectionQuerySet) -> list[Card]:
    ids = [detection.pk for detection in detections]
    detectors = Detector.objects.in_bulk({detection.detector_id for detection in detections})
    images, counts = reports.first_images(ids), showing.count_classes(ids)
    boxes = boxes_of([image.pk for image in images.values()])
    return [
        {
            "id": str(detection.pk),
            "name": name_of(detection, images.get(detection.pk)),
            "status": detection.status,
            "total": detection.total,
            "processed": detection.processed,
            "failed": detection.failed,
            "percent": detection.percent,
            "error": detection.error,
            "created_at": detection.created_at.isoformat(),
            "image": image_facts(images.get(detection.pk), detectors[detection.detector_id], boxes),
            "classes": [
                {**count, "colour": colour_of(detectors[detection.detector_id], count["object_class"])}
                for count in counts[detection.pk]
            ],
        }
        for detection in detections
    ]


def image_facts(
    image: DetectionImage | None, detector: Detector, boxes: dict[UUID, list[DetectionResult]]
) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "id": str(image.pk),
        "width": image.width,
        "height": image.height,
        "boxes": [
            {
                "place": [round(side, 4) for side in box.shares.values()],
                "colour": colour_of(detector, box.final_class),
            }
            for box in boxes[image.pk]
        ],
    }


def boxes_of(ids: Collection[UUID]) -> dict[UUID, list[DetectionResult]]:
    """The most confident results of these images that are not rejected, the least confident first."""
    boxes: dict[UUID, list[DetectionResult]] = defaultdict(list)
    results = DetectionResult.objects.not_rejected().filter(image__in=ids)
    for result in results.most_confident_of_each_image(MOST_BOXES).order_by("confidence"):
        boxes[result.image_id].append(result)
    return boxes


def colour_of(detector: Detector, name: str) -> str:
    return palette.css(palette.colour(detector.number_of(name)))
