"""Puts ended images back into the queue."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef

from detections.jobs.progress import recount_and_publish
from detections.models import (
    LOCKED_AT_ONCE,
    Detection,
    DetectionImage,
    DetectionImageQuerySet,
    DetectionQuerySet,
    DetectionResult,
    Detector,
    UnknownClassesError,
)
from objectvision.lib import rows


@dataclass
class Reprocessing:
    """One run: images of `among` that were processed before a time wait again.

    Images that have been processed since are not chosen again, so another run with the same time completes
    an interrupted one. Without `to_detector` each detection keeps its detector. Cancelled and unfinished
    detections are left alone, and so are images whose results were reviewed: no work of a person is lost.
    """

    among: DetectionQuerySet
    before: datetime
    failed_only: bool = False
    to_detector: Detector | None = None
    detections: int = 0
    images: int = 0
    left_alone: list[str] = field(default_factory=list)
    """Which chosen detections could not be put back, or not wholly, and why."""
    turn: int = 0
    """Of the last image before these."""

    def ended_images(self) -> DetectionImageQuerySet:
        states = [DetectionImage.State.FAILED]
        if not self.failed_only:
            states.append(DetectionImage.State.DONE)
        ended = DetectionImage.objects.filter(state__in=states, processed_at__lt=self.before)
        return ended.with_a_file().without_reviews()

    def reviewed(self) -> int:
        """How many images of `among` have reviews."""
        results = DetectionResult.objects.reviewed().filter(detection__in=self.among)
        return results.order_by().values("image").distinct().count()

    def chosen(self) -> DetectionQuerySet:
        return self.among.filter(
            Exists(self.ended_images().filter(detection=OuterRef("pk"))),
            status__in=(Detection.Status.COMPLETED, Detection.Status.FAILED),
        )

    def chosen_images(self) -> DetectionImageQuerySet:
        return self.ended_images().filter(detection__in=self.chosen())

    def batches(self) -> Iterator[list[UUID]]:
        """The ids of all chosen detections, in order."""
        chosen = self.chosen().order_by("pk").values_list("pk", flat=True)
        ids = list(chosen[:LOCKED_AT_ONCE])
        while ids:
            yield ids
            ids = list(chosen.filter(pk__gt=ids[-1])[:LOCKED_AT_ONCE])

    def put_back(self, ids: Collection[UUID]) -> None:
        """Let the images of these detections wait again, as if never tried.

        Does not ring. Their results stay until new ones take their place.
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
            recount_and_publish(detections)
        self.detections += len(detections)
        self.images += len(images)

    def without_a_file(self, ids: Collection[UUID]) -> list[UUID]:
        """Images without a file, whose results stay.

        Without a lock in hand: a storage may be slow.
        """
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
        """The detections whose wanted classes the detector knows, saved with it."""
        moved = []
        for detection in detections:
            try:
                detection.parameters = translated_parameters(detection, detector)
            except UnknownClassesError as error:
                self.left_alone.append(f"{detection.pk}: {error}")
            else:
                detection.detector = detector
                moved.append(detection)
        rows.write((moved, ["detector", "parameters"]))
        return moved

    def queue(self, images: Sequence[DetectionImage]) -> None:
        """One behind the other: together they wait as one more user's images would."""
        # `lowest_turn` is an annotation, which the plugin of mypy does not see.
        lowest = Detector.objects.with_waiting_images().values_list("lowest_turn", flat=True).first()  # type: ignore[misc]
        self.turn = max(self.turn, lowest or 0)
        for image in images:
            self.turn += 1
            image.wait_again()
            image.turn, image.priority = self.turn, DetectionImage.Priority.BACKGROUND
            if self.to_detector and image.detector_id != self.to_detector.pk:
                image.detector = self.to_detector
                image.processed_at = (
                    None  # its results are the other detector's: cancelling does not keep them
                )
        DetectionImage.objects.put_in_line(images)


def translated_parameters(detection: Detection, detector: Detector) -> dict[str, Any]:
    """The parameters for another detector, which may number the classes differently.

    Raises UnknownClassesError.
    """
    parameters: dict[str, Any] = detection.parameters
    wanted = parameters.get("classes")
    if wanted is None or detection.detector.classes == detector.classes:
        return parameters
    names = [detection.detector.classes[class_id] for class_id in wanted]
    return {**parameters, "classes": detector.class_ids(names, known=detector.ids_by_name)}
