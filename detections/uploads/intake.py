"""Uploads become rows; the rows are the queue."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.files.base import File  # noqa: TC002  # a dataclass keeps its annotations
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from detections import cleanup, room, tasks
from detections.models import NAME_LENGTH, Detection, DetectionImage, DetectionResult, Detector
from detections.validators import ImageFacts
from objectvision import connections, logs


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has passed the validators."""

    file: "File[bytes]"
    facts: ImageFacts

    @property
    def name(self) -> str:
        """What its owner called it, for show: never a path in the storage."""
        return (self.file.name or "")[-NAME_LENGTH:]

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.file.chunks():
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class RefusedUpload:
    """A file of a batch that has not: its image fails, and the others go on."""

    name: str
    code: str
    reason: str


class NothingUsableError(Exception):
    """A batch of refused files only."""

    def __init__(self, first: DetectionImage) -> None:
        super().__init__(f"None of the files can be used. {first.original_name}: {first.error}")
        self.code = first.error_code


def submit(
    user: User,
    uploads: Iterable[Upload | RefusedUpload],
    detector: Detector,
    parameters: dict[str, Any],
    *,
    name: str = "",
    is_public: bool = False,
    reuse: bool = False,
    expected: int = 1,
    key: str | None = None,
    fingerprint: str = "",
) -> Detection:
    """Store the files, make the rows, ring the worker once they are there. All of it or nothing.

    With `reuse`, an image whose bytes this detector has processed with these parameters for this user gets
    the results that it had. Raises NothingUsableError, room.TooManyWaitingError.
    """
    is_tight = room.check(user, 1, expected) < room.UNDER_WAY
    detection = Detection(
        user=user,
        detector=detector,
        parameters=parameters,
        name=name,
        is_public=is_public,
        idempotency_key=key,
        request_hash=fingerprint,
        request_id=logs.current_request(),
    )
    with stored(detection, uploads) as images, transaction.atomic():
        insert(detection, images, reuse=reuse, alone=is_tight or len(images) > 1)
        # A broker that is away fails no upload: the sweep rings again.
        transaction.on_commit(ring, robust=True)
    return detection


def insert(detection: Detection, images: list[DetectionImage], *, reuse: bool, alone: bool) -> None:
    """`alone`: no other upload of the user's, while this one looks for room."""
    detection.total = len(images)
    for image in images:
        image.priority = detection.priority
    detection.save(force_insert=True)
    results = known_results(detection, images) if reuse else []
    waiting = [image for image in images if image.state == DetectionImage.State.WAITING]
    if alone:
        room.check_alone(detection.user, len(waiting))
    DetectionImage.objects.stamp_turns(waiting)
    DetectionImage.objects.bulk_create(images)
    DetectionResult.objects.bulk_create(results)
    if len(waiting) < len(images):
        Detection.objects.recount([detection])


def known_results(detection: Detection, images: Sequence[DetectionImage]) -> list[DetectionResult]:
    """Copies of what is known of these images, which are done with that; nothing is saved."""
    wanted = {image.sha256: image for image in images if image.image_path}
    known: dict[str, DetectionImage] = {}
    for earlier in DetectionImage.objects.done_alike(detection, wanted).iterator():
        known.setdefault(earlier.sha256, earlier)
        if len(known) == len(wanted):
            break
    known = still_there(detection, known)
    results: dict[Any, list[DetectionResult]] = {}
    for result in DetectionResult.objects.filter(image__in=known.values()).order_by("pk"):
        results.setdefault(result.image_id, []).append(result)
    now = timezone.now()
    copies = []
    for image in images:
        if twin := known.get(image.sha256):
            image.copy_outcome(twin, now)
            copies += [result.copied_to(image) for result in results.get(twin.pk, [])]
    return copies


def still_there(detection: Detection, known: dict[str, DetectionImage]) -> dict[str, DetectionImage]:
    """Those that nobody has deleted or put back meanwhile; nobody does from now on, until the end."""
    Detection.objects.lock({image.detection_id for image in known.values()})
    alike = DetectionImage.objects.done_alike(detection, known).filter(
        pk__in=[image.pk for image in known.values()]
    )
    kept = set(alike.values_list("pk", flat=True))
    return {sha256: image for sha256, image in known.items() if image.pk in kept}


def ring() -> None:
    connections.give_back()  # a broker that hangs holds up this request alone
    tasks.ring()


@contextmanager
def stored(detection: Detection, uploads: Iterable[Upload | RefusedUpload]) -> Iterator[list[DetectionImage]]:
    """Images of the uploads, whose files are in the storage while, and after, the block succeeds; gone if
    anything fails. Takes one upload after the other: what is behind one may be closed after it."""
    images: list[DetectionImage] = []
    try:
        for upload in uploads:
            image = image_of(detection, upload)
            images.append(image)
            if isinstance(upload, Upload):
                upload.file.seek(0)
                image.image_path = default_storage.save(image.image_path, upload.file)
        check_usable(images)
        yield images
    except BaseException:  # whatever ends it, also a stop: it is raised again
        cleanup.delete_files([image.image_path for image in images if image.image_path])
        raise


def check_usable(images: Sequence[DetectionImage]) -> None:
    """Raises NothingUsableError."""
    if all(image.state == DetectionImage.State.FAILED for image in images):
        raise NothingUsableError(images[0])


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
