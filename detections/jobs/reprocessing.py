"""Puts what has ended back into the queue, to be done again."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
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
            chosen = {each.pk: each for each in self.chosen().select_related("detector").lock(ids)}
            ended = self.ended_images().filter(detection__in=chosen).exclude(pk__in=missing).order_by("pk")
            images = list(ended)
            detections = [chosen[pk] for pk in dict.fromkeys(image.detection_id for image in images)]
            if self.to_detector:
                detections = self.moved(detections, self.to_detector)
                images = [image for image in images if chosen[image.detection_id] in detections]
            self.queue(images)
            for detection in detections:
                detection.reopen()
            cleanup.recount(detections)
        self.detections += len(detections)
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

    def moved(self, detections: Sequence[Detection], detector: Detector) -> list[Detection]:
        """Those that the other detector can repeat, stamped with it: it knows the classes asked for."""
        moved = []
        for detection in detections:
            try:
                detection.parameters = translated(detection, detector)
            except UnknownClassesError as error:
                self.left_alone.append(f"{detection.pk}: {error}")
            else:
                detection.detector = detector
                moved.append(detection)
        upsert(Detection.objects.all(), moved, ["detector", "parameters"])
        return moved

    def queue(self, images: Sequence[DetectionImage]) -> None:
        """One behind the other, whosever they are: together they wait in line as one more user would."""
        lowest = Detector.objects.with_waiting_images().values_list("lowest_turn", flat=True).first()  # type: ignore[misc]  # an annotation
        self._turn = max(self._turn, lowest or 0)
        for image in images:
            self._turn += 1
            image.wait_again()
            image.turn, image.priority = self._turn, DetectionImage.Priority.BACKGROUND
            if self.to_detector and image.detector_id != self.to_detector.pk:
                image.detector = self.to_detector
                image.processed_at = None  # what it has is not this one's: no cancelling brings it back
        DetectionImage.objects.put_in_line(images)


def translated(detection: Detection, detector: Detector) -> dict[str, Any]:
    """The detection's parameters for another detector, which may number the same classes otherwise.

    Raises UnknownClassesError.
    """
    parameters: dict[str, Any] = detection.parameters
    wanted = parameters.get("classes")
    if wanted is None:
        return parameters
    names = [detection.detector.classes[class_id] for class_id in wanted]
    return {**parameters, "classes": detector.class_ids(names)}
