"""What the cards of a history show beside their detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from detections import reports
from detections.models import Detection, DetectionImage
from detections.publication.showing import count_classes

MOST_COUNTED = 10  # images of a detection whose objects are counted for its card
MOST_CLASSES = 4
LABELS = {
    Detection.Status.PENDING: ("Waiting", ""),
    Detection.Status.PROCESSING: ("Running", ""),
    Detection.Status.COMPLETED: ("Done", "ok"),
    Detection.Status.FAILED: ("Failed", "danger"),
    Detection.Status.CANCELLED: ("Cancelled", "warn"),
}


@dataclass(frozen=True)
class Card:
    detection: Detection
    image: DetectionImage | None
    """The first that has a file."""
    objects: Sequence[dict[str, Any]]

    @property
    def pk(self) -> UUID:
        return self.detection.pk

    @property
    def name(self) -> str:
        return self.detection.name or (self.image and self.image.original_name) or "Untitled"

    @property
    def label(self) -> str:
        if self.detection.status == Detection.Status.PROCESSING and self.detection.total > 1:
            return f"{self.detection.percent} %"
        return LABELS[Detection.Status(self.detection.status)][0]

    @property
    def tone(self) -> str:
        return LABELS[Detection.Status(self.detection.status)][1]

    @property
    def are_counted(self) -> bool:
        """Whether the objects are counted."""
        return bool(self.detection.processed) and self.detection.total <= MOST_COUNTED

    @property
    def shown_objects(self) -> Sequence[dict[str, Any]]:
        return self.objects[:MOST_CLASSES]


def cards_of(detections: Sequence[Detection]) -> list[Card]:
    """In two statements, however many they are."""
    images = reports.first_images([detection.pk for detection in detections])
    few = [each.pk for each in detections if each.processed and each.total <= MOST_COUNTED]
    counts = count_classes(few) if few else {}
    return [Card(each, images.get(each.pk), counts.get(each.pk, ())) for each in detections]
