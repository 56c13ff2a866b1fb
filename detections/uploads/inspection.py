"""Looks through the files of an upload.

Each has a slot; together they have bounded time; no database connection is held meanwhile.
"""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast
from uuid import UUID

from django.core.exceptions import ValidationError

from detections.images.validation import ImageFacts, Inspection, SlowFileError, read_image
from detections.inference import Options
from detections.models import NAME_LENGTH
from detections.uploads.parameters import UploadError, too_many_tiles
from detections.uploads.zip_reader import BAD_ARCHIVE, RefusedUpload, UploadedZip
from objectvision.lib import connections
from objectvision.lib.fair_slots import FairSlots

if TYPE_CHECKING:
    from django.core.files.base import File

inspections = FairSlots(2, "Many uploads are being looked through")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has passed the validators."""

    file: "File[bytes]"
    facts: ImageFacts

    @property
    def name(self) -> str:
        """Its user's name for it, to be shown: never a path in the storage."""
        return (self.file.name or "")[-NAME_LENGTH:]

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.file.chunks():
            digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class UploadedFiles:
    """The files of one form field.

    Each is looked through as it is asked for; the next one closes it.
    """

    field: str
    count: int
    uploads: Generator[Upload | RefusedUpload, None, None]


def inspect_image(file: "File[bytes]", user_id: UUID, options: Options) -> UploadedFiles:
    """The only image of a request, looked through at once.

    Raises UploadError, Busy, TooMany.
    """
    connections.give_back()
    try:
        with inspections.slot(user_id):
            upload = Upload(file, read_image(file))
    except ValidationError as error:
        raise refusal("image", error) from error
    if reason := too_many_tiles(upload.facts.size, options):
        raise UploadError("tile", reason, "too_many_tiles")
    return UploadedFiles("image", 1, (each for each in [upload]))


def inspect_images(files: Sequence["File[bytes]"], user_id: UUID, options: Options) -> UploadedFiles:
    """The images of a batch. Their iteration raises UploadError, Busy, TooMany."""
    uploads = inspect_each("images", files, Inspection(), user_id, options)
    return UploadedFiles("images", len(files), uploads)


def inspect_archive(file: "File[bytes]", user_id: UUID, options: Options) -> UploadedFiles:
    """The images of a ZIP, whose directory is checked at once.

    Raises UploadError, as the iteration does.
    """
    connections.give_back()
    try:
        with inspections.slot(user_id):
            archive = UploadedZip(cast("IO[bytes]", file))
    except ValidationError as error:
        raise refusal("archive", error) from error
    inspection = Inspection()
    files = archive.files(inspection.check_unpacking)
    return UploadedFiles(
        "archive", len(archive.entries), inspect_each("archive", files, inspection, user_id, options)
    )


def inspect_each(
    field: str,
    files: Iterable["File[bytes] | RefusedUpload"],
    inspection: Inspection,
    user_id: UUID,
    options: Options,
) -> Generator[Upload | RefusedUpload, None, None]:
    """Of an entry of an archive that cannot be read, `files` has the refusal.

    Raises UploadError, Busy, TooMany.
    """
    remaining = iter(files)
    # A slot for each file: no other request waits for a whole batch, nor while files are stored.
    with inspections.queue(user_id) as slot:
        while True:
            try:
                with slot():
                    upload = inspect_next(remaining, inspection, options)
            except SlowFileError as error:
                raise refusal(field, error) from error
            if upload is None:
                return
            yield upload


def inspect_next(
    files: Iterator["File[bytes] | RefusedUpload"], inspection: Inspection, options: Options
) -> Upload | RefusedUpload | None:
    """None after the last file.

    Raises SlowFileError once all files together have taken too long.
    """
    file = inspection.next_file(files)
    if file is None or isinstance(file, RefusedUpload):
        return file
    try:
        upload = Upload(file, inspection.read_image(cast("IO[bytes]", file)))
    except SlowFileError:
        raise
    except ValidationError as error:
        return RefusedUpload(file.name or "", error.code or "invalid", error.messages[0])
    if reason := too_many_tiles(upload.facts.size, options):
        return RefusedUpload(upload.name, "too_many_tiles", reason)
    return upload


def refusal(field: str, error: ValidationError) -> UploadError:
    """An archive that is slow to look through is a bad one, as a whole."""
    code = BAD_ARCHIVE if field == "archive" else error.code or "invalid"
    return UploadError(field, error.messages[0], code)
