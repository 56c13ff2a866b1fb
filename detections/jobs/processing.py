"""Claim, predict, record: waiting images become rows of results."""

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
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
from detections.jobs.progress import begin_detections, begin_with_outcomes, recount_and_publish
from detections.models import Claim, Detection, DetectionImage, DetectionResult, Detector
from objectvision.lib import doorbell, logs, metrics, tracing

log = logging.getLogger(__name__)

CHUNK = 16
# What is done sooner begins and ends in one commit: to tell both apart costs as much as to store the results.
BEGIN_SECONDS = 0.2
# A chunk begins no further image after this: an image that is looked at in tiles takes long.
CHUNK_SECONDS = 2
# A task ends after this, so that a worker with one thread gets to its other tasks.
TURN_SECONDS = 10


class Flag:
    """A truth shared with forked children.

    Without a lock, which a killed child would keep.
    """

    def __init__(self) -> None:
        self._raised = multiprocessing.get_context("fork").RawValue("b", 0)

    def set(self) -> None:
        self._raised.value = 1

    def clear(self) -> None:
        self._raised.value = 0

    def is_set(self) -> bool:
        return bool(self._raised.value)


# Set when this worker has been told to stop: images that are not begun wait again.
stopping = Flag()


@dataclass(frozen=True, slots=True)
class Refused:
    """An image that no further attempt can read, with a reason for its owner."""

    code: str
    reason: str


Outcome = inference.Found | Refused


def process_waiting() -> bool:
    """Process chunks for up to `TURN_SECONDS`. Whether images may still be waiting."""
    deadline = monotonic() + TURN_SECONDS
    # One detector after the other while the time lasts: each change costs a load.
    for detector in Detector.objects.in_turn():
        if stopping.is_set():
            return True
        try:
            loaded = cached_detector(detector.path, detector.backend)
        except inference.LoadError:
            log.exception("Nothing claimed for the detector %s", detector)
            continue
        if process_images_of(detector, loaded, deadline):
            return True
    return stopping.is_set()


def process_images_of(detector: Detector, loaded: inference.LoadedDetector, deadline: float) -> bool:
    """Whether the time is over. Images that are uploaded meanwhile ring for themselves."""
    more = True
    while more and not stopping.is_set() and (claim := claim_chunk(detector)):
        more = process_chunks(claim, loaded, detector, deadline)
        if monotonic() > deadline:
            return True
    return False


def claim_chunk(detector: Detector, *, untried: bool = False) -> Claim | None:
    """A full chunk rings once more, so that every worker wakes while there is work for it."""
    asked_at = timezone.now()
    claim = DetectionImage.objects.claim(detector, CHUNK, untried=untried)
    if claim:
        record_claim(claim, asked_at)
    if claim and len(claim.images) == CHUNK:
        doorbell.ring_if_reachable("detections.process_images")
    return claim


def record_claim(claim: Claim, asked_at: datetime) -> None:
    """Spans of the time that uploads waited, and of the claim."""
    now = timezone.now()
    for detection in claim.pending_detections:
        tracing.record_span("queue", detection.traceparent, detection.updated_at, asked_at)
    for traceparent in set(claim.traceparents):
        tracing.record_span("claim", traceparent, asked_at, now)


def process_chunks(
    claim: Claim, loaded: inference.LoadedDetector, detector: Detector, deadline: float
) -> bool:
    """Process this chunk and, as long as chunks are full, those behind it until the deadline.

    The next chunk is claimed once each lane has its last image of this one, and is under way while this one
    is recorded. An image that was tried before is not claimed beside others: it may have ended its worker.
    Whether more may wait.
    """
    under_way, left_out = [begin_work(claim, loaded)], False
    try:
        while under_way:
            if len(under_way[0].futures) == CHUNK and not stopping.is_set() and monotonic() < deadline:
                keep_claims(*under_way, left=loaded.lanes)
                if behind := claim_chunk(detector, untried=True):
                    under_way.append(begin_work(behind, loaded))
            left_out |= finish_work(*under_way)
            claim = under_way.pop(0).claim
    except BaseException:  # whatever ends it: it is raised again
        for work in under_way:
            work.effort.lost.set()  # else lanes work on for nothing: the claims lapse
        raise
    return claim.more or left_out


# One a process: a second detector in use replaces the first.
@lru_cache(maxsize=1)
def cached_detector(path: str, backend: str) -> inference.LoadedDetector:
    return inference.load_detector(settings.DETECTORS_DIR / path, backend)


# As many threads as a detector has lanes, for the life of the process.
@lru_cache(maxsize=1)
def threads_of_lanes(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "lane")


@dataclass(frozen=True, slots=True)
class Work:
    """A claim whose images the lanes work on."""

    claim: Claim
    futures: "dict[Future[Outcome | None], DetectionImage]"
    effort: "Effort"

    def outcomes(self) -> dict[UUID, Outcome | None]:
        """The outcome of each image by its id; None for an image that was left out.

        Images are left out at a stop, and when the others took long. Those that met a passing fault are
        absent.
        """
        return {
            image.pk: future.result() for future, image in self.futures.items() if has_outcome(future, image)
        }


def begin_work(claim: Claim, detector: inference.LoadedDetector) -> Work:
    """Hand the claim's images to the lanes.

    While they work on a full chunk, its detections are marked as begun.
    """
    effort = Effort()
    alone = len(claim.images) == 1
    lanes = threads_of_lanes(detector.lanes)
    futures = {
        lanes.submit(predict_image, image, detector, effort, alone=alone): image for image in claim.images
    }
    work = Work(claim, futures, effort)
    if len(futures) == CHUNK:
        mark_begun(work)
    return work


def mark_begun(work: Work) -> None:
    try:
        begin_detections(work.claim)
    except BaseException:  # whatever it is: it is raised again
        work.effort.lost.set()  # else lanes work on for nothing: the claim lapses
        raise


def finish_work(work: Work, *behind: Work) -> bool:
    """Wait for the outcomes and record them, while the lanes go on with the work behind.

    Images that were left out wait again, uncounted. Whether there were any.
    """
    if wait(work.futures, BEGIN_SECONDS).not_done:
        mark_begun(work)
    keep_claims(work, *behind)
    outcomes = work.outcomes()
    record_outcomes(work.claim, {pk: outcome for pk, outcome in outcomes.items() if outcome})
    left_out = [pk for pk, outcome in outcomes.items() if outcome is None]
    release_left_out(work.claim, left_out)
    return bool(left_out)


def process_claim(claim: Claim, detector: inference.LoadedDetector) -> None:
    """Predict a claim's images and record their outcomes."""
    finish_work(begin_work(claim, detector))


def stored_options(parameters: dict[str, Any]) -> inference.Options:
    classes = parameters.get("classes")
    return inference.Options(**{**parameters, "classes": None if classes is None else tuple(classes)})


class Effort:
    """The time of a chunk, from its first image on.

    Other images wait for it little longer than `CHUNK_SECONDS`.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.lost = Event()
        """Set once no image carries the claim any longer."""

    def is_over(self) -> bool:
        """Whether the image under way is to be left."""
        return stopping.is_set() or self.lost.is_set()

    def takes_more(self) -> bool:
        """Whether another image may begin."""
        if self.deadline is None:
            self.deadline = monotonic() + CHUNK_SECONDS
        return not self.is_over() and monotonic() < self.deadline


def predict_image(
    image: DetectionImage, detector: inference.LoadedDetector, effort: Effort, *, alone: bool
) -> Outcome | None:
    """The outcome; None if left out.

    Log lines carry the upload's request: lanes inherit no context.
    """
    with logs.on_behalf_of(image.detection.request_id):
        if not effort.takes_more():
            return None
        with tracing.span("image", image.detection.traceparent, image_id=image.pk):
            outcome = outcome_of(image, detector, effort, alone=alone)
            if isinstance(outcome, Refused):
                tracing.describe(refused=outcome.code)
                log.info("Image %s is refused: %s", image.pk, outcome.reason, extra=facts_of(image))
            return outcome


def facts_of(image: DetectionImage) -> dict[str, Any]:
    """For log lines."""
    return {"user_id": image.user_id, "detection_id": image.detection_id}


def outcome_of(
    image: DetectionImage, detector: inference.LoadedDetector, effort: Effort, *, alone: bool
) -> Outcome | None:
    try:
        with default_storage.open(image.image_path) as file:
            data = file.read()
    except FileNotFoundError:
        return Refused("file_missing", "The image's file is no longer in the storage.")
    try:
        wanted = stored_options(image.detection.parameters)
        return detector.predict(
            data, wanted, alone=alone, reduced=settings.DECODE_REDUCED, stopped=effort.is_over
        )
    except inference.DecodeError as error:
        return Refused("corrupt_image", str(error))
    except inference.PredictionInterruptedError:
        return None


def keep_claims(work: Work, *behind: Work, left: int = 0) -> None:
    """Renew the claims until at most `left` images of the first are undone.

    Lanes stop once no image carries a claim.
    """
    undone, interval = set(work.futures), settings.CLAIM_LEASE_SECONDS / 3
    renewal = monotonic() + interval
    while len(undone) > left:
        _, undone = wait(undone, max(0, renewal - monotonic()), FIRST_COMPLETED if left else ALL_COMPLETED)
        if undone and monotonic() >= renewal:
            renew_claims(work, *behind)
            renewal = monotonic() + interval


def renew_claims(*under_way: Work) -> None:
    for work in under_way:
        if not DetectionImage.objects.renew(work.claim.fence):
            work.effort.lost.set()


def has_outcome(future: Future[Outcome | None], image: DetectionImage) -> bool:
    """Otherwise a fault prevented an outcome, and a line is in the log."""
    error = future.exception()
    if error:
        with logs.on_behalf_of(image.detection.request_id):
            log.error("Image %s waits for its next attempt", image.pk, exc_info=error, extra=facts_of(image))
    return error is None


def record_outcomes(claim: Claim, outcomes: dict[UUID, Outcome]) -> None:
    """Write the outcomes of the images that still carry the claim.

    Running twice leaves the same rows.
    """
    saving = tracing.span("save results", *claim.traceparents)
    with metrics.SAVE_SECONDS.time(), saving, transaction.atomic():
        detections, have_results = Detection.objects.lock_claimed(claim.detections, claim.fence)
        unfinished = [detection for detection in detections if not detection.is_finished]
        images = [image for image in claim.images if image.pk in have_results and image.pk in outcomes]
        if replaced := [image for image in images if have_results[image.pk]]:
            DetectionResult.objects.filter(image__in=replaced).delete()
        of_images = {image.detection_id for image in images}
        begun = begin_with_outcomes(claim, [each for each in detections if each.pk in of_images])
        results = [result for image in images for result in apply_outcome(image, outcomes[image.pk])]
        recount_and_publish(detections, images, results, begun)
    measure_outcomes(claim.detector, [outcomes[image.pk] for image in images])
    for detection in unfinished:
        if detection.is_finished:
            log_finished(detection)


def measure_outcomes(detector: Detector, outcomes: Sequence[Outcome]) -> None:
    found = [outcome for outcome in outcomes if isinstance(outcome, inference.Found)]
    metrics.IMAGES.labels(detector.full_name, "done").inc(len(found))
    metrics.OBJECTS.labels(detector.full_name).inc(sum(len(each.boxes) for each in found))
    inference_seconds = metrics.INFERENCE_SECONDS.labels(detector.full_name)
    for each in found:
        metrics.DECODE_SECONDS.observe(each.decode_milliseconds / 1000)
        inference_seconds.observe((each.milliseconds - each.decode_milliseconds) / 1000)
    metrics.count_failed(
        detector.full_name, [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    )


def log_finished(detection: Detection) -> None:
    seconds = (detection.updated_at - detection.created_at).total_seconds()
    facts = {
        "user_id": detection.user_id,
        "detection_id": detection.pk,
        "outcome": detection.status,
        "duration_ms": round(seconds * 1000),
    }
    with logs.on_behalf_of(detection.request_id):
        log.info(
            "Detection %s %s in %.1f s: images processed %d, failed %d",
            detection.pk,
            detection.status,
            seconds,
            detection.processed,
            detection.failed,
            extra=facts,
        )


def apply_outcome(image: DetectionImage, outcome: Outcome) -> list[DetectionResult]:
    """Set the outcome on the image, and return its results. Saves nothing."""
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


def release_left_out(claim: Claim, left_out: list[UUID]) -> None:
    """Let these images wait again: they were not tried."""
    if left_out:
        with transaction.atomic():
            Detection.objects.lock(claim.detections)
            images = DetectionImage.objects.claimed_by(claim.fence).filter(pk__in=left_out)
            images.put_back(counted=False)
