"""Uploads become rows; the rows are the queue."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from detections import caching, events, storage
from detections.inference import Options
from detections.jobs import backlog
from detections.models import NAME_LENGTH, Detection, DetectionImage, DetectionResult, Detector
from detections.publication import moderation
from detections.uploads.inspection import (
    Upload,
    UploadedFiles,
    inspect_archive,
    inspect_image,
    inspect_images,
)
from detections.uploads.parameters import UploadError
from detections.uploads.zip_reader import RefusedUpload
from objectvision.lib import connections, doorbell, logs, metrics, rows, tracing, wakeups

if TYPE_CHECKING:
    from django.core.files.base import File

Priority = DetectionImage.Priority


@dataclass(frozen=True, slots=True)
class Submission:
    """What to make of files.

    `key` and `fingerprint` are those of an idempotent request. With `reuse`, an image whose bytes this
    detector has processed with these options for this user gets the results that it had.
    """

    user: User
    detector: Detector
    options: Options
    name: str = ""
    is_public: bool = False
    reuse: bool = False
    key: str | None = None
    fingerprint: str = ""

    def as_detection(self) -> Detection:
        """Not saved."""
        return Detection(
            user=self.user,
            detector=self.detector,
            parameters=asdict(self.options),
            name=self.name,
            is_public=self.is_public,
            moderation=moderation.first_state() if self.is_public else Detection.Moderation.PENDING,
            idempotency_key=self.key,
            request_hash=self.fingerprint,
            request_id=logs.current_request(),
            traceparent=tracing.current_traceparent(),
        )


def submit_image(submission: Submission, file: "File[bytes]") -> Detection:
    """As `submit_files`, for one image, which is refused as a whole."""
    return submit_files(submission, inspect_image(file, submission.user.pk, submission.options))


def submit_images(submission: Submission, files: Sequence["File[bytes]"]) -> Detection:
    """As `submit_files`.

    A file that is refused becomes a failed image, unless all are.
    """
    return submit_files(submission, inspect_images(files, submission.user.pk, submission.options))


def submit_archive(submission: Submission, file: "File[bytes]") -> Detection:
    """As `submit_images`, for the files in a ZIP."""
    return submit_files(submission, inspect_archive(file, submission.user.pk, submission.options))


def submit_files(submission: Submission, files: UploadedFiles) -> Detection:
    """Store the files, insert the rows, ring the worker after the commit.

    All of it or nothing. Raises UploadError, backlog.TooManyWaiting, Busy, TooMany, and User.DoesNotExist if
    the account was closed meanwhile.
    """
    with closing(files.uploads):
        detection = submission.as_detection()
        logs.note(detection_id=detection.pk)
        end = DetectionImage.objects.end_of_line(detection.user_id, Priority.SINGLE, detection.detector_id)
        left = backlog.check_backlog(submission.user, end.waiting, 1, files.count)
        connections.give_back()  # others need it while files are read, unpacked and stored
        with tracing.span("store"), stored_images(detection, files) as images, transaction.atomic():
            serial = left < backlog.UNDER_WAY or len(images) > 1
            insert_rows(detection, images, reuse=submission.reuse, turn=None if serial else end.turn)
            doorbell.ring_after_commit("detections.process_images")
            caching.drop_after_commit([detection.user_id])
    count_refused(images)
    return detection


def count_refused(images: Sequence[DetectionImage]) -> None:
    for image in images:
        if image.error_code:
            metrics.FAILURES.labels(image.error_code).inc()


def insert_rows(detection: Detection, images: list[DetectionImage], *, reuse: bool, turn: int | None) -> None:
    """`turn` is the only image's; without it other uploads of the user wait while this one gets in line."""
    detection.total = len(images)
    for image in images:
        image.priority = detection.priority
    results = known_results(detection, images) if reuse else []
    waiting = [image for image in images if image.state == DetectionImage.State.WAITING]
    if turn is None:
        backlog.lock_and_stamp(detection.user, waiting)
    else:
        DetectionImage.objects.stamp_turns(waiting, turn)
    rows.write(([detection], ()), (images, ()), (results, ()))
    if len(waiting) < len(images):
        events.write_events(Detection.objects.recount([detection]))
        wakeups.publish_after_commit({detection.user_id: ""})


def known_results(detection: Detection, images: Sequence[DetectionImage]) -> list[DetectionResult]:
    """Copies of results of equal images, which make these images done. Saves nothing."""
    wanted = {image.sha256: image for image in images if image.image_path}
    known: dict[str, DetectionImage] = {}
    for earlier in DetectionImage.objects.done_alike(detection, wanted).iterator():
        known.setdefault(earlier.sha256, earlier)
        if len(known) == len(wanted):
            break
    known = lock_unchanged(detection, known)
    results: dict[Any, list[DetectionResult]] = {}
    found = DetectionResult.objects.found_by_models().filter(image__in=known.values())
    for result in found.order_by("pk"):
        results.setdefault(result.image_id, []).append(result)
    now = timezone.now()
    copies = []
    for image in images:
        if twin := known.get(image.sha256):
            image.copy_outcome(twin, now)
            copies += [result.copied_to(image) for result in results.get(twin.pk, [])]
    return copies


def lock_unchanged(detection: Detection, known: dict[str, DetectionImage]) -> dict[str, DetectionImage]:
    """The images that were not deleted or put back meanwhile, now locked."""
    Detection.objects.lock({image.detection_id for image in known.values()})
    alike = DetectionImage.objects.done_alike(detection, known).filter(
        pk__in=[image.pk for image in known.values()]
    )
    kept = set(alike.values_list("pk", flat=True))
    return {sha256: image for sha256, image in known.items() if image.pk in kept}


@contextmanager
def stored_images(detection: Detection, files: UploadedFiles) -> Iterator[list[DetectionImage]]:
    """Images of the files, not saved.

    Their files are in the storage; they are deleted if anything fails. Takes one upload after the other: the
    next one may close the file of the one before it.
    """
    images: list[DetectionImage] = []
    try:
        for upload in files.uploads:
            image = image_of(detection, upload)
            images.append(image)
            if isinstance(upload, Upload):
                upload.file.seek(0)
                image.image_path = default_storage.save(image.image_path, upload.file)
        check_usable(images, files.field)
        yield images
    except BaseException:  # whatever ends it, a stop included: it is raised again
        storage.delete_files([image.image_path for image in images if image.image_path])
        raise


def check_usable(images: Sequence[DetectionImage], field: str) -> None:
    """Raises UploadError if all files were refused, with the reason of the first."""
    if all(image.state == DetectionImage.State.FAILED for image in images):
        first = images[0]
        text = f"None of the files can be used. {first.original_name}: {first.error}"
        raise UploadError(field, text, first.error_code)


def image_of(detection: Detection, upload: Upload | RefusedUpload) -> DetectionImage:
    image = DetectionImage(
        detection=detection,
        user_id=detection.user_id,
        detector_id=detection.detector_id,
        original_name=upload.name[-NAME_LENGTH:],
    )
    if isinstance(upload, RefusedUpload):
        image.fail(upload.code, upload.reason)
        return image
    image.sha256 = upload.sha256()
    image.width, image.height = upload.facts.width, upload.facts.height
    image.image_path = f"users/{detection.user_id}/images/{image.pk}{upload.facts.extension}"
    return image
