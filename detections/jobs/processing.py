"""Claim, predict, record: waiting images become rows of results."""

import logging
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from threading import Event
from time import monotonic
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from detections import inference
from detections.models import Claim, Detection, DetectionImage, DetectionResult, Detector
from notifications import news
from objectvision import logs

log = logging.getLogger(__name__)

CHUNK = 16
# A chunk begins no further image after this: one that is looked at in tiles takes long.
CHUNK_SECONDS = 2
# A task ends after this, so that a worker with one thread gets to its other tasks.
TURN_SECONDS = 10


class Flag:
    """Shared with the children that this process forks. Without a lock, which a killed child could keep."""

    def __init__(self) -> None:
        self._raised = multiprocessing.get_context("fork").RawValue("b", 0)

    def set(self) -> None:
        self._raised.value = 1

    def clear(self) -> None:
        self._raised.value = 0

    def is_set(self) -> bool:
        return bool(self._raised.value)


# Set when this worker has been told to stop: what is not begun is given back.
stopping = Flag()


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that no further attempt would read, with a reason for its owner."""

    code: str
    reason: str


Outcome = inference.Found | Refused


def run(ring: Callable[[], None]) -> bool:
    """Process chunks for up to `TURN_SECONDS`. Whether images may still be waiting.

    A full chunk rings once more, so that every worker wakes while there is work for it.
    """
    deadline = monotonic() + TURN_SECONDS
    # One after the other, as long as the time lasts: changing the detector costs a load.
    for detector in Detector.objects.with_waiting_images():
        if stopping.is_set():
            return True
        try:
            loaded = load(detector.path, detector.backend)
        except inference.LoadError:
            log.exception("Nothing claimed for the detector %s", detector)
            continue
        while not stopping.is_set() and (claim := DetectionImage.objects.claim(detector, CHUNK)):
            if len(claim.images) == CHUNK:
                ring()
            process(claim, loaded)
            if monotonic() > deadline:
                return True
    return False


# One a process, for its life: a second one in use takes the place of the first.
@lru_cache(maxsize=1)
def load(path: str, backend: str) -> inference.LoadedDetector:
    return inference.load(settings.DETECTORS_DIR / path, backend)


def process(claim: Claim, detector: inference.LoadedDetector) -> None:
    """Predict a claim's images and record what came of them; what was left out is given back uncounted."""
    Detection.objects.begin(claim.detections)
    outcomes = predict(claim, detector)
    record(claim, {pk: outcome for pk, outcome in outcomes.items() if outcome})
    give_back(claim, [pk for pk, outcome in outcomes.items() if outcome is None])


def predict(claim: Claim, detector: inference.LoadedDetector) -> dict[UUID, Outcome | None]:
    """What came of each image, by its id; None for one that was left out, because of a stop or because the
    others took long. One that met a passing fault is not in it."""
    effort = Effort()
    detections = Detection.objects.only("parameters", "request_id").in_bulk(claim.detections)
    images = [image for image in claim.images if image.detection_id in detections]  # else deleted since
    for image in images:
        image.detection = detections[image.detection_id]
    alone = len(claim.images) == 1
    with ThreadPoolExecutor(detector.lanes, "lane") as lanes:
        futures = {lanes.submit(work, image, detector, effort, alone=alone): image for image in images}
        keep_claim_until_done(claim, futures, effort)
    return {image.pk: future.result() for future, image in futures.items() if has_result(future, image)}


def options(parameters: dict[str, Any]) -> inference.Options:
    classes = parameters.get("classes")
    return inference.Options(**{**parameters, "classes": None if classes is None else tuple(classes)})


class Effort:
    """What one chunk may take: nobody else's image waits for it much longer than `CHUNK_SECONDS`."""

    def __init__(self) -> None:
        self.deadline = monotonic() + CHUNK_SECONDS
        self.lost = Event()
        """Set once nothing carries the claim any longer."""

    def is_over(self) -> bool:
        """Whether what is under way is to be left."""
        return stopping.is_set() or self.lost.is_set()

    def takes_more(self) -> bool:
        """Whether another image is to be begun."""
        return not self.is_over() and monotonic() < self.deadline


def work(
    image: DetectionImage, detector: inference.LoadedDetector, effort: Effort, *, alone: bool
) -> Outcome | None:
    """What came of the image. Its log lines carry the upload's request: lanes inherit no context."""
    with logs.on_behalf_of(image.detection.request_id):
        outcome = outcome_of(image, detector, effort, alone=alone) if effort.takes_more() else None
        if isinstance(outcome, Refused):
            log.info("Image %s is refused: %s", image.pk, outcome.reason)
        return outcome


def outcome_of(
    image: DetectionImage, detector: inference.LoadedDetector, effort: Effort, *, alone: bool
) -> Outcome | None:
    try:
        with default_storage.open(image.image_path) as file:
            data = file.read()
    except FileNotFoundError:
        return Refused("file_missing", "The image's file is no longer in the storage.")
    try:
        wanted = options(image.detection.parameters)
        return detector.predict(data, wanted, alone=alone, stopped=effort.is_over)
    except inference.DecodeError as error:
        return Refused("corrupt_image", str(error))
    except inference.InterruptedPrediction:
        return None


def keep_claim_until_done(claim: Claim, futures: Iterable[Future[Outcome | None]], effort: Effort) -> None:
    """Renew the claim while lanes work on it; let go of everything once nothing carries it any longer."""
    undone = set(futures)
    while undone:
        _, undone = wait(undone, timeout=settings.CLAIM_LEASE_SECONDS / 3)
        if undone and not DetectionImage.objects.renew(claim.fence):
            effort.lost.set()


def has_result(future: Future[Outcome | None], image: DetectionImage) -> bool:
    """Otherwise a fault of ours prevented one, and a line is in the log."""
    error = future.exception()
    if error:
        with logs.on_behalf_of(image.detection.request_id):
            log.error("Image %s waits for its next attempt", image.pk, exc_info=error)
    return error is None


def record(claim: Claim, outcomes: dict[UUID, Outcome]) -> None:
    """Write the outcomes of the images that still carry the claim. Running twice leaves the same rows."""
    with transaction.atomic():
        detections = Detection.objects.lock(claim.detections)
        unfinished = [detection for detection in detections if not detection.is_finished]
        images = list(DetectionImage.objects.claimed_by(claim.fence).filter(pk__in=outcomes))
        DetectionResult.objects.filter(image__in=images).delete()
        DetectionResult.objects.bulk_create(
            result for image in images for result in write(image, outcomes[image.pk])
        )
        DetectionImage.objects.save_outcomes(images)
        Detection.objects.recount(detections)
        changed = [detection.pk for detection in detections]
        transaction.on_commit(lambda: news.publish(changed), robust=True)
    for detection in unfinished:
        if detection.is_finished:
            say_finished(detection)


def say_finished(detection: Detection) -> None:
    with logs.on_behalf_of(detection.request_id):
        log.info(
            "Detection %s %s in %.1f s: images processed %d, failed %d",
            detection.pk,
            detection.status,
            (detection.updated_at - detection.created_at).total_seconds(),
            detection.processed,
            detection.failed,
        )


def write(image: DetectionImage, outcome: Outcome) -> list[DetectionResult]:
    """Put the outcome on the image; the results that belong to it. Saves nothing."""
    if isinstance(outcome, Refused):
        image.fail(outcome.code, outcome.reason)
        return []
    image.state = DetectionImage.State.DONE
    image.claim = image.claimed_at = None
    image.error = image.error_code = ""
    image.width, image.height = outcome.width, outcome.height
    image.inference_ms = outcome.milliseconds
    image.processed_at = timezone.now()
    return [
        DetectionResult(
            user_id=image.user_id,
            detection_id=image.detection_id,
            image=image,
            object_class=box.object_class,
            class_id=box.class_id,
            confidence=box.confidence,
            bbox_x=box.x,
            bbox_y=box.y,
            bbox_width=box.width,
            bbox_height=box.height,
            created_at=image.processed_at,
        )
        for box in outcome.boxes
    ]


def give_back(claim: Claim, left_out: list[UUID]) -> None:
    if left_out:
        with transaction.atomic():
            Detection.objects.lock(claim.detections)
            images = DetectionImage.objects.claimed_by(claim.fence).filter(pk__in=left_out)
            images.put_back(counted=False)
