"""Uploads become rows; the rows are the queue."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import File  # noqa: TC002  # a dataclass keeps its annotations
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from detections import tasks
from detections.models import NAME_LENGTH, Detection, DetectionImage, DetectionResult, Detector
from detections.validators import ImageFacts
from objectvision import connections, logs

# What to wait for room in the queue where nothing tells how fast it moves, and at most: seconds.
USUAL_WAIT, LONGEST_WAIT = 10, 600


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


class TooManyWaitingError(Exception):
    """The user's images that wait, with these, are past the limit; in `wait` seconds there may be room."""

    def __init__(self, waiting: int, wait: int) -> None:
        most = settings.MAX_WAITING_IMAGES_PER_USER
        super().__init__(f"{waiting} of your images wait to be processed; at most {most} may wait at a time.")
        self.wait = wait


class KeyReusedError(Exception):
    """The idempotency key belongs to another request."""


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
    the results that it had. Raises NothingUsableError, TooManyWaitingError.
    """
    check_room(user, 1, expected)
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
        insert(detection, images, reuse=reuse)
        # A broker that is away fails no upload: the sweep rings again.
        transaction.on_commit(ring, robust=True)
    return detection


def submit_once(user: User, key: str | None, fingerprint: str, submit: Callable[[], Detection]) -> Detection:
    """What `submit` makes under this key, or what a request with this key and fingerprint has made before.

    Raises KeyReusedError if that was another request.
    """
    if key is None:
        return submit()
    earlier = user.detections.filter(idempotency_key=key)
    found = earlier.first()
    if found is None:
        try:
            return submit()
        except IntegrityError:  # the index decides between requests at once
            found = earlier.first()
            if found is None:
                raise
    if found.request_hash != fingerprint:
        raise KeyReusedError("This Idempotency-Key was used for another request.")
    return found


def insert(detection: Detection, images: list[DetectionImage], *, reuse: bool) -> None:
    detection.total = len(images)
    for image in images:
        image.priority = detection.priority
    detection.save(force_insert=True)
    results = known_results(detection, images) if reuse else []
    waiting = [image for image in images if image.state == DetectionImage.State.WAITING]
    if detection.total > 1:
        # One batch of a user after the other: several at once would each find room.
        User.objects.select_for_update(no_key=True).get(pk=detection.user_id)
        check_room(detection.user, len(waiting))
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


def check_room(user: User, coming: int, expected: int = 0) -> None:
    """Whether so many more images may wait; if not, when as many as are expected may.

    Raises TooManyWaitingError.
    """
    most = settings.MAX_WAITING_IMAGES_PER_USER
    waiting = DetectionImage.objects.waiting().filter(user=user).order_by().values("pk")[: most + 1].count()
    if waiting + coming > most and waiting:
        raise TooManyWaitingError(waiting, seconds_until_done(user, waiting + max(coming, expected) - most))


def seconds_until_done(user: User, images: int) -> int:
    """How long so many of the user's images take, by how fast those go that are being processed."""
    under_way = user.detections.filter(status=Detection.Status.PROCESSING).order_by("created_at")
    ended, oldest = 0, timezone.now()
    for detection in under_way[:100]:
        ended += detection.processed + detection.failed
        oldest = min(oldest, detection.started_at or oldest)
    passed = timezone.now() - oldest
    if not ended or passed < timedelta(seconds=1):
        return USUAL_WAIT
    return min(max(1, round(images * passed.total_seconds() / ended)), LONGEST_WAIT)


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
    except BaseException:
        for image in images:
            if image.image_path:
                default_storage.delete(image.image_path)
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
