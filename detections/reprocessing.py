"""Puts what has ended back into the queue, to be done again."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef

from detections import cleanup
from detections.models import (
    Detection,
    DetectionImage,
    DetectionImageQuerySet,
    DetectionQuerySet,
    Detector,
    UnknownClassesError,
    upsert,
)

QUEUE_FIELDS = (
    "state", "claim", "claimed_at", "attempts", "turn", "priority", "detector", "error", "error_code",
)  # fmt: skip  # a list to read at a glance


@dataclass
class Reprocessing:
    """One run: of the detections `among`, the images that were processed before a time are done again.

    So what was put back once and has been processed since is not chosen again: a run that was interrupted is
    completed by another one with the same time. Without `to_detector` each detection runs on the detector
    that it ran on. Cancelled and unfinished detections are left alone.
    """

    among: DetectionQuerySet
    before: datetime
    failed_only: bool = False
    to_detector: Detector | None = None
    detections: int = 0
    images: int = 0
    left_alone: list[str] = field(default_factory=list)
    """Detections that were chosen and could not be put back, or not wholly: which and why."""
    _turn: int = 0

    def ended_images(self) -> DetectionImageQuerySet:
        states = [DetectionImage.State.FAILED]
        if not self.failed_only:
            states.append(DetectionImage.State.DONE)
        ended = DetectionImage.objects.filter(state__in=states, processed_at__lt=self.before)
        return ended.exclude(image_path="")

    def chosen(self) -> DetectionQuerySet:
        return self.among.filter(
            Exists(self.ended_images().filter(detection=OuterRef("pk"))),
            status__in=(Detection.Status.COMPLETED, Detection.Status.FAILED),
        )

    def chosen_images(self) -> DetectionImageQuerySet:
        return self.ended_images().filter(detection__in=self.chosen())

    def batches(self) -> Iterator[list[UUID]]:
        """The ids of all that are chosen, in order."""
        chosen = self.chosen().order_by("pk").values_list("pk", flat=True)
        ids = list(chosen[: cleanup.BATCH])
        while ids:
            yield ids
            ids = list(chosen.filter(pk__gt=ids[-1])[: cleanup.BATCH])

    def put_back(self, ids: Collection[UUID]) -> None:
        """Let the images of these detections wait again, as if never tried. Does not ring.

        Their results stay until new ones take their place.
        """
        missing = self.without_a_file(ids)
        with transaction.atomic():
            detections = self.chosen().select_related("detector").lock(ids)
            if self.to_detector:
                detections = [each for each in detections if self.move(each, self.to_detector)]
                upsert(Detection.objects.all(), detections, ["detector", "parameters"])
            images = list(
                self.ended_images().filter(detection__in=detections).exclude(pk__in=missing).order_by("pk")
            )
            self.queue(images)
            reopened = {image.detection_id for image in images}
            reopen([detection for detection in detections if detection.pk in reopened])
        self.detections += len(reopened)
        self.images += len(images)

    def without_a_file(self, ids: Collection[UUID]) -> list[UUID]:
        """Images whose results nothing could replace. Asked with no lock held: a storage may be slow."""
        stored = self.ended_images().filter(detection__in=ids).order_by("pk")
        missing = []
        for image in stored.only("pk", "image_path", "detection"):
            if not default_storage.exists(image.image_path):
                missing.append(image.pk)
                self.left_alone.append(
                    f"{image.detection_id}: the file of its image {image.pk} is no longer in the storage."
                )
        return missing

    def move(self, detection: Detection, detector: Detector) -> bool:
        """Stamp it with another detector; not if classes were asked for that the other one does not know."""
        parameters = detection.parameters
        if (wanted := parameters.get("classes")) is not None:
            names = [detection.detector.classes[class_id] for class_id in wanted]
            try:
                parameters = {**parameters, "classes": detector.class_ids(names)}
            except UnknownClassesError as error:
                self.left_alone.append(f"{detection.pk}: {error}")
                return False
        detection.detector, detection.parameters = detector, parameters
        return True

    def queue(self, images: Sequence[DetectionImage]) -> None:
        """One behind the other, whosever they are: together they wait in line as one more user would."""
        lowest = Detector.objects.with_waiting_images().values_list("lowest_turn", flat=True).first()  # type: ignore[misc]  # an annotation
        self._turn = max(self._turn, lowest or 0)
        for image in images:
            self._turn += 1
            image.state = DetectionImage.State.WAITING
            image.claim = image.claimed_at = None
            image.attempts = 0
            image.turn, image.priority = self._turn, DetectionImage.Priority.BACKGROUND
            image.error = image.error_code = ""
            if self.to_detector:
                image.detector = self.to_detector
        upsert(DetectionImage.objects.all(), images, QUEUE_FIELDS)


def reopen(detections: Sequence[Detection]) -> None:
    for detection in detections:
        detection.status = Detection.Status.PENDING
        detection.error = ""
        detection.finished_at = None
    cleanup.recount(detections)
