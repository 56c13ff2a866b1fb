"""Uploads become rows; the rows are the queue."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.files.base import File  # noqa: TC002  # a dataclass keeps its annotations
from django.core.files.storage import default_storage
from django.db import transaction

from accounts.models import User
from detections import tasks
from detections.models import NAME_LENGTH, Detection, DetectionImage, Detector
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


def submit(
    user: User,
    uploads: Sequence[Upload],
    detector: Detector,
    parameters: dict[str, Any],
    *,
    name: str = "",
    is_public: bool = False,
) -> Detection:
    """Store the files, make the rows, ring the worker once they are there. All of it or nothing."""
    detection = Detection(
        user=user,
        detector=detector,
        parameters=parameters,
        name=name,
        is_public=is_public,
        total=len(uploads),
        request_id=logs.current_request(),
    )
    images = [image_of(detection, upload) for upload in uploads]
    with stored(uploads, images), transaction.atomic():
        detection.save(force_insert=True)
        stamp_turns(user, images)
        DetectionImage.objects.bulk_create(images)
        # A broker that is away fails no upload: the sweep rings again.
        transaction.on_commit(ring, robust=True)
    return detection


def ring() -> None:
    connections.give_back()  # a broker that hangs holds up this request alone
    tasks.ring()


def image_of(detection: Detection, upload: Upload) -> DetectionImage:
    image = DetectionImage(
        detection=detection,
        user_id=detection.user_id,
        detector_id=detection.detector_id,
        original_name=upload.name,
        sha256=upload.sha256(),
        width=upload.facts.width,
        height=upload.facts.height,
        priority=DetectionImage.Priority.SINGLE if detection.total == 1 else DetectionImage.Priority.BATCH,
    )
    image.image_path = f"users/{detection.user_id}/images/{image.pk}{upload.facts.extension}"
    return image


@contextmanager
def stored(uploads: Sequence[Upload], images: Sequence[DetectionImage]) -> Iterator[None]:
    """The uploads are in the storage while, and after, the block succeeds; gone if anything fails."""
    saved: list[str] = []
    try:
        for upload, image in zip(uploads, images, strict=True):
            upload.file.seek(0)
            image.image_path = default_storage.save(image.image_path, upload.file)
            saved.append(image.image_path)
        yield
    except BaseException:
        for path in saved:
            default_storage.delete(path)
        raise


def stamp_turns(user: User, images: Sequence[DetectionImage]) -> None:
    first = DetectionImage.objects.next_turn(user, images[0].priority)
    for turn, image in enumerate(images, first):
        image.turn = turn
