"""Files of results: of one detection at once, of many as a job.

A job's row is its place in the queue. Which images are in its file is decided when it begins: 16 bytes for
each are all that is kept of them. They are then read a few at a time.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from time import monotonic
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Prefetch

from accounts.models import User
from detections import cleanup, reports
from detections.archives import temporary_file
from detections.formats import FORMATS
from detections.models import Detection, DetectionImage, DetectionQuerySet, DetectionResult, Detector, Export
from detections.processing import stopping
from objectvision import connections

log = logging.getLogger(__name__)

MOST_UNFINISHED = 5
MOST_KEPT = 50  # files that a user has in the storage at once, and what is under way

CHUNK = 50
ID_BYTES = 16
PROGRESS_SECONDS = 1

signer = Signer(salt="detections.exports")


class TooManyError(Exception):
    """The user has as many exports as they may have. The text says so to them."""


class InterruptedExport(Exception):  # noqa: N818  # no error
    """Somebody else is to go on with it."""


def submit(
    user: User,
    file_format: str,
    filters: Mapping[str, Any],
    ring: Callable[[], None],
    *,
    key: str | None = None,
    fingerprint: str = "",
) -> Export:
    """A job for a file of all detections that fulfil the history's conditions. Raises TooManyError."""

    def ring_alone() -> None:
        connections.give_back()  # a broker that hangs holds up this request alone
        ring()

    with transaction.atomic():
        # One request of a user at a time, so that nobody passes the limit by haste.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        theirs = Export.objects.owned_by(user)
        if theirs.unfinished().count() >= MOST_UNFINISHED:
            raise TooManyError(f"{MOST_UNFINISHED} exports are being made already; wait for one of them.")
        if theirs.count() >= MOST_KEPT:
            raise TooManyError(f"{MOST_KEPT} exports are kept already; the oldest expires within a day.")
        # A broker that is away fails no request: the sweep rings again.
        transaction.on_commit(ring_alone, robust=True)
        return Export.objects.create(
            user=user,
            format=file_format,
            filters=dict(filters),
            idempotency_key=key,
            request_hash=fingerprint,
        )


def nothing() -> None:
    pass


def run(meanwhile: Callable[[], None] = nothing) -> bool:
    """Make the export that waits longest. False if none waits. `meanwhile` is called now and then."""
    export = None if stopping.is_set() else Export.objects.claim()
    if export is None:
        return False
    try:
        make(export, meanwhile)
    except InterruptedExport:
        log.info("Export %s is left to another attempt", export.pk)
        export.put_back()
    return True


def make(export: Export, meanwhile: Callable[[], None]) -> None:
    """Write the file, store it, say so. Any fault leaves the claim to lapse: the next attempt comes later."""
    detections = reports.narrowed(Detection.objects.owned_by(export.user), export.user, export.filters)
    ids = ids_of_images(detections)
    keep = Keeper(export, meanwhile)
    keep.write(total=len(ids) // ID_BYTES)
    with temporary_file() as file:
        FORMATS[export.format].write(file, images(ids, keep.progress))
        store(export.path, file, keep)
    if export.complete():
        log.info("Export %s completed: images %d", export.pk, len(ids) // ID_BYTES)
    else:
        default_storage.delete(export.path)


class Keeper:
    """Keeps an export's claim while a worker has it. Raises InterruptedExport once it is to stop."""

    def __init__(self, export: Export, meanwhile: Callable[[], None]) -> None:
        self.export = export
        self.meanwhile = meanwhile
        self.written_at = monotonic()

    def write(self, **values: Any) -> None:
        self.written_at = monotonic()
        if not self.export.write(**values):
            raise InterruptedExport

    def progress(self, processed: int) -> None:
        if stopping.is_set():
            raise InterruptedExport
        if monotonic() - self.written_at > PROGRESS_SECONDS:
            self.meanwhile()
            self.write(processed=processed)


def store(path: str, file: IO[bytes], keep: Keeper) -> None:
    """Save it under this path, however long the storage takes."""
    file.seek(0)
    with ThreadPoolExecutor(1, "store") as thread:
        saved = thread.submit(default_storage.save, path, File(file))
        while wait([saved], timeout=settings.CLAIM_LEASE_SECONDS / 3).not_done:
            keep.export.write()
        saved.result()


def ids_of_images(detections: DetectionQuerySet) -> bytearray:
    """Of the images that were processed, oldest first; the rest have no size, and nothing found on them."""
    done = DetectionImage.objects.filter(detection__in=detections, state=DetectionImage.State.DONE)
    ids = bytearray()
    for pk in done.order_by("pk").values_list("pk", flat=True).iterator():
        ids += pk.bytes
    return ids


def images(ids: bytearray, progress: Callable[[int], None] | None = None) -> Iterator[DetectionImage]:
    """Those of these images that exist, with their detectors and results; few of them in memory at once."""
    detector = cache(lambda pk: Detector.objects.get(pk=pk))
    results = Prefetch("results", DetectionResult.objects.order_by("-confidence", "id"))
    for start in range(0, len(ids), CHUNK * ID_BYTES):
        chunk = ids[start : start + CHUNK * ID_BYTES]
        keys = [UUID(bytes=bytes(chunk[at : at + ID_BYTES])) for at in range(0, len(chunk), ID_BYTES)]
        for image in DetectionImage.objects.filter(pk__in=keys).order_by("pk").prefetch_related(results):
            image.detector = detector(image.detector_id)
            yield image
        if progress:
            progress((start + len(chunk)) // ID_BYTES)


def file_of(detection: Detection, file_format: str) -> IO[bytes]:
    """A file of what was found so far, to be read from its beginning and closed by the caller."""
    file = temporary_file()
    try:
        ids = ids_of_images(Detection.objects.filter(pk=detection.pk))
        FORMATS[file_format].write(file, images(ids))
        file.seek(0)
    except BaseException:  # whatever ends it: it is raised again, and nobody else has the file
        file.close()
        raise
    return file


def signature(export: Export) -> str:
    """What opens this export's file to whoever has it."""
    return signer.signature(str(export.pk))


def find_by_signature(pk: UUID, given: str) -> Export | None:
    """The export, if the signature is its own and its file can be had."""
    try:
        signer.unsign(f"{pk}{signer.sep}{given}")
    except BadSignature:
        return None
    export = Export.objects.filter(pk=pk).first()
    return export if export and export.is_downloadable else None


def sweep() -> bool:
    """Take exports back from workers that are gone, with what these may have stored. Whether any waits."""
    Export.objects.release_lapsed()
    for export in Export.objects.left_behind():
        if cleanup.delete_file(export.path):
            Export.objects.left_behind().filter(pk=export.pk, path=export.path).update(path="")
    return Export.objects.waiting().exists()


def delete_expired() -> int:
    """Files first: a row that is left because the storage is away is tried again, and keeps no other. How
    many."""
    count = 0
    for export in Export.objects.expired():
        if not export.path or cleanup.delete_file(export.path):
            export.delete()
            count += 1
    return count
