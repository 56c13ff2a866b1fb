"""The pictures that are given out: annotated ones, stripped originals, and thumbnails."""

import logging
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import IO, Self, cast
from uuid import UUID

from detections import reports, storage
from detections.images import pixels, stripping
from detections.images.annotation import annotate
from detections.images.boxes import Box
from detections.models import DetectionImage
from detections.search import named_classes
from detections.storage import FileMissingError
from objectvision.lib import fair_slots, wakeups
from objectvision.lib.fair_slots import FairSlots
from objectvision.lib.limits import DISK_FULL, Busy, TooMany

log = logging.getLogger(__name__)

BLOCK = 1 << 16
MOST_IN_MEMORY = 1 << 18  # bytes, until they are sent

THUMBNAIL_SIDE = 256  # pixels
THUMBNAILS_QUEUED = 100  # requests of one user: as many as a page of a history has pictures

drawing = FairSlots(2, "Many pictures are being drawn")
shrinking = FairSlots(2, "Many thumbnails are being made", THUMBNAILS_QUEUED)


class NoPictureError(Exception):
    """No picture can be made of the image's file. The text is for its owner."""


class FilePieces:
    """An open file, and the pieces of it that are given out."""

    def __init__(self, file: IO[bytes], pieces: stripping.Pieces) -> None:
        self.file = file
        self.pieces = pieces

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Content as a file.

        On the disk if it is large: slow clients would keep it in memory.
        """
        if len(content) <= MOST_IN_MEMORY:
            return cls(BytesIO(), [content])
        file = storage.temporary_file()
        try:
            file.write(content)
            file.flush()  # a full disk is found out before the response begins
        except BaseException:  # whatever ends it: it is raised again, and nothing else closes the file
            file.close()
            raise
        return cls(file, [stripping.Span(0, len(content))])

    @property
    def length(self) -> int:
        return stripping.length_of(self.pieces)

    def blocks(self) -> Iterator[bytes]:
        """The pieces' bytes, at most `BLOCK` of the file at a time."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            self.file.seek(piece.offset)
            for start in range(0, piece.length, BLOCK):
                yield self.file.read(min(BLOCK, piece.length - start))

    def close(self) -> None:
        self.file.close()


def labels_of(image: DetectionImage, min_confidence: float, classes: str | Sequence[str]) -> list[Box]:
    """The most confident results that are not rejected, of the named classes; without names, of all.

    They have the classes that their owner gave them. Not all results: the time that drawing takes grows with
    the square of their number.
    """
    results = image.results.not_rejected().filter(confidence__gte=min_confidence).most_confident_first()
    if names := named_classes(classes, image.detector.classes) if classes else []:
        results = results.of_final_class(names)
    return [
        Box(
            image.detector.number_of(result.reviewed_class) if result.reviewed_class else result.class_id,
            result.final_class,
            result.confidence,
            result.bbox_x,
            result.bbox_y,
            result.bbox_width,
            result.bbox_height,
        )
        for result in results[: reports.MOST_SHOWN_OF_IMAGE]
    ]


def annotated_picture(image: DetectionImage, labels: list[Box], asked_by: UUID | None = None) -> FilePieces:
    """The upright JPEG with labels. Raises NoPictureError, FileMissingError, Busy, TooMany.

    `asked_by` waits in line for it: by default the owner.
    """
    with storage.open_file(image.image_path) as file, drawing.slot(asked_by or image.user_id):
        content = drawn(file, labels)
    return FilePieces.of(content)


def drawn(file: IO[bytes], labels: list[Box]) -> bytes:
    """The upright JPEG with labels. Within a slot. Raises NoPictureError."""
    try:
        upright = pixels.upright(file)
    except pixels.UnreadableImageError as error:  # the worker's decoder is another, and forgives more
        raise NoPictureError(str(error)) from error
    return pixels.jpeg(annotate(upright, labels))


def original_picture(image: DetectionImage, *, upright: bool = False) -> FilePieces:
    """The upload without its metadata; `upright`: its pixels, too, whatever orientation it names.

    Raises NoPictureError, FileMissingError, Busy, TooMany.
    """
    file = storage.open_file(image.image_path)
    try:
        if not stripping.is_written_anew(file, image.extension, upright=upright):
            return FilePieces(file, stripping.without_metadata(file, image.extension))
        with file, drawing.slot(image.user_id):
            (content,) = stripping.without_metadata(file, image.extension, upright=upright)
            return FilePieces.of(cast("bytes", content))
    except stripping.UnreadableOriginalError as error:
        file.close()
        raise NoPictureError(str(error)) from error
    except BaseException:  # whatever ends it: it is raised again, and nothing else closes the file
        file.close()
        raise


def thumbnail_picture(image: DetectionImage) -> FilePieces:
    """A small upright WebP, made once. Raises NoPictureError, FileMissingError, Busy, TooMany."""
    try:
        with storage.open_file(storage.thumbnail_path(image.image_path)) as file:
            return FilePieces.of(file.read())
    except storage.FileMissingError:
        return FilePieces.of(new_thumbnail(image))


def new_thumbnail(image: DetectionImage) -> bytes:
    """Made and kept. Raises as `thumbnail_picture`."""
    path = storage.thumbnail_path(image.image_path)
    with shrinking.slot(image.user_id), storage.open_file(image.image_path) as file:
        try:
            content = pixels.thumbnail(file, THUMBNAIL_SIDE)
        except pixels.UnreadableImageError as error:
            raise NoPictureError(str(error)) from error
    storage.keep_file(path, content)
    if not DetectionImage.objects.filter(pk=image.pk).exists():  # deleted before the thumbnail was there
        storage.delete_file(path)
    return content


def wait_for_picture(image: DetectionImage, *, upright: bool = False) -> FilePieces:
    """The original picture for an archive of many, after waiting for a slot.

    Raises NoPictureError also for a file that is missing or cannot be read; at a stop Busy or TooMany.
    """
    while True:
        try:
            return original_picture(image, upright=upright)
        except FileMissingError as error:
            raise NoPictureError("The picture's file is no longer in the storage.") from error
        except (Busy, TooMany):
            if wakeups.stopping.wait(fair_slots.RETRY_SECONDS):
                raise
        except OSError as error:
            if error.errno in DISK_FULL:  # the server cannot write; the picture is not at fault
                raise
            log.exception("The file of the image %s is left out of an archive", image.pk)
            raise NoPictureError("The picture's file cannot be read.") from error
