"""Files of results: of one detection at once, of many as a job.

A job's row is its place in the queue. Its images are chosen when it begins; their ids are kept, 16 bytes
each, and the images are then read a few at a time.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from django.db.models import Exists, F, OuterRef, Prefetch
from django.utils import timezone

from accounts.models import User
from detections import events, search, storage
from detections.exports.formats import write_export
from detections.exports.space import NoSpaceError, Space
from detections.jobs.processing import stopping
from detections.models import (
    Detection,
    DetectionImage,
    DetectionQuerySet,
    DetectionResult,
    DetectionResultQuerySet,
    Detector,
    Export,
)
from objectvision.lib import doorbell, logs, tracing
from objectvision.lib.limits import DISK_FULL

log = logging.getLogger(__name__)

MOST_UNFINISHED = 5
MOST_KEPT = 50  # of a user, finished and unfinished

CHUNK, MOST_RESULTS = 50, 2_000  # images and their results that are in memory at once
ID_BYTES = 16
PROGRESS_SECONDS = 1

signer = Signer(salt="detections.exports")


class TooManyError(Exception):
    """The user has as many exports as allowed. The text is for the user."""


class ExportInterruptedError(Exception):
    """The worker stops, or has lost its claim."""


def submit_export(
    user: User,
    file_format: str,
    filters: Mapping[str, Any],
    *,
    key: str | None = None,
    fingerprint: str = "",
    **options: Any,
) -> Export:
    """A job for a file of all detections that fulfil the history's conditions.

    `options` are columns that say what the file shall be, such as `reviewed`. Raises TooManyError, and
    User.DoesNotExist if the account was closed meanwhile.
    """
    with transaction.atomic():
        # One request of a user at a time, so that parallel ones keep the limit; none of a closed account.
        User.objects.select_for_update(no_key=True).get(pk=user.pk, is_active=True)
        own = Export.objects.owned_by(user)
        if own.unfinished().count() >= MOST_UNFINISHED:
            raise TooManyError(f"{MOST_UNFINISHED} exports are being made already; wait for one of them.")
        if own.count() >= MOST_KEPT:
            raise TooManyError(f"{MOST_KEPT} exports are kept already; the oldest expires within a day.")
        doorbell.ring_after_commit("detections.make_export")
        return Export.objects.create(
            user=user,
            format=file_format,
            **options,
            filters=search.as_json(filters),
            idempotency_key=key,
            request_hash=fingerprint,
            request_id=logs.current_request(),
            traceparent=tracing.current_traceparent(),
        )


def do_nothing(*_: int) -> None:
    pass


def make_next_export(meanwhile: Callable[[], None] = do_nothing) -> bool:
    """Make the export that waits longest.

    False if none waits. `meanwhile` is called about every second.
    """
    export = None if stopping.is_set() else Export.objects.claim()
    if export is None:
        return False
    with logs.on_behalf_of(export.request_id):
        make_or_leave(export, meanwhile)
    return True


def make_or_leave(export: Export, meanwhile: Callable[[], None]) -> None:
    try:
        with tracing.span("make export", export.traceparent):
            make_export(export, meanwhile)
    except ExportInterruptedError:
        log.info("Export %s is left to another attempt", export.pk)
        storage.delete_file(export.path)
        export.put_back()
    except NoSpaceError as error:
        log.warning("Export %s cannot be made: %s", export.pk, error)
        fail_export(export, str(error))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        log.warning("Export %s waits for a place to write to: %s", export.pk, error)
        storage.delete_file(export.path)
        export.renew(attempts=F("attempts") - 1)  # uncounted; the next comes when the claim has lapsed


def make_export(export: Export, meanwhile: Callable[[], None]) -> None:
    """Write the file and store it.

    Any fault leaves the claim to lapse: the next attempt comes later.
    """
    detections = search.filter_detections(
        Detection.objects.owned_by(export.user), export.user, export.filters
    )
    ids = ids_of_images(detections, export)
    export.total = len(ids) // ID_BYTES
    keep = Keeper(export, meanwhile)
    keep.write(total=export.total)
    with storage.temporary_file() as file:
        space = Space(export, file)
        write_export(file, read_images(ids, export, keep.progress), export, space.check)
        export.size = file.tell()
        store_file(export.path, file, keep)
    if complete_export(export):
        milliseconds = round((timezone.now() - export.created_at).total_seconds() * 1000)
        facts = {"user_id": export.user_id, "export_id": export.pk, "duration_ms": milliseconds}
        log.info("Export %s completed: images %d", export.pk, export.total, extra=facts)
    else:
        default_storage.delete(export.path)


def complete_export(export: Export) -> bool:
    """False, and nothing saved, if the claim was taken away."""
    with transaction.atomic():
        completed = export.complete()
        if completed:
            events.write_export_events([export])
    return completed


def fail_export(export: Export, reason: str) -> None:
    with transaction.atomic():
        if export.fail(reason):
            events.write_export_events([export])


class Keeper:
    """Keeps an export's claim while a worker has it.

    Raises ExportInterruptedError at a stop or a lost claim.
    """

    def __init__(self, export: Export, meanwhile: Callable[[], None]) -> None:
        self.export = export
        self.meanwhile = meanwhile
        self.written_at = monotonic()

    def write(self, **values: Any) -> None:
        self.written_at = monotonic()
        if not self.export.renew(**values):
            raise ExportInterruptedError

    def progress(self, processed: int) -> None:
        check_stop()
        if monotonic() - self.written_at > PROGRESS_SECONDS:
            self.meanwhile()
            self.write(processed=processed)


def check_stop() -> None:
    if stopping.is_set():
        raise ExportInterruptedError


class StoppableFile(File):  # type: ignore[type-arg]  # generic in the stubs alone
    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        for chunk in super().chunks(chunk_size):
            check_stop()
            yield chunk


def store_file(path: str, file: IO[bytes], keep: Keeper) -> None:
    """Save the file under this path, and renew the claim meanwhile."""
    file.seek(0)
    with ThreadPoolExecutor(1, "store") as thread:
        saved = thread.submit(default_storage.save, path, StoppableFile(file))
        while wait([saved], timeout=settings.CLAIM_LEASE_SECONDS / 3).not_done:
            keep.export.renew()
        saved.result()


def ids_of_images(detections: DetectionQuerySet, export: Export) -> bytearray:
    """The ids of processed images, oldest first. Others have no size and no results.

    Of a reviewed export, images with a review: of others, nobody knows whether they show nothing else.
    """
    done = DetectionImage.objects.filter(detection__in=detections, state=DetectionImage.State.DONE)
    if export.reviewed:
        done = done.filter(Exists(DetectionResult.objects.reviewed().filter(image=OuterRef("pk"))))
    ids = bytearray()
    for pk in done.order_by("pk").values_list("pk", flat=True).iterator():
        ids += pk.bytes
    return ids


def read_images(
    ids: bytearray, export: Export, progress: Callable[[int], None] = do_nothing
) -> Iterator[DetectionImage]:
    """The images that still exist, with detectors and the export's results, few in memory at once.

    `progress` is told how many were written.
    """
    detector = cache(lambda pk: Detector.objects.get(pk=pk))
    results = Prefetch("results", results_of(export).most_confident_first())
    for start in range(0, len(ids), CHUNK * ID_BYTES):
        chunk = ids[start : start + CHUNK * ID_BYTES]
        keys = [UUID(bytes=bytes(chunk[at : at + ID_BYTES])) for at in range(0, len(chunk), ID_BYTES)]
        totals = DetectionResult.objects.filter(image__in=keys).count_by_image()
        written = start // ID_BYTES
        for group in grouped(keys, totals, MOST_RESULTS):
            for image in DetectionImage.objects.filter(pk__in=group).order_by("pk").prefetch_related(results):
                image.detector = detector(image.detector_id)
                if export.reviewed:
                    correct_classes(image)
                yield image
                written += 1
                progress(written)
        if written < (passed := (start + len(chunk)) // ID_BYTES):  # some were deleted meanwhile
            progress(passed)


def results_of(export: Export) -> DetectionResultQuerySet:
    results = DetectionResult.objects.all()
    return results.confirmed() if export.reviewed else results


def correct_classes(image: DetectionImage) -> None:
    """Give its results the classes that its owner gave them. Not saved."""
    for result in image.results.all():
        if result.reviewed_class:
            result.object_class = result.final_class
            result.class_id = image.detector.number_of(result.final_class)


def grouped(keys: Iterable[UUID], totals: Mapping[UUID, int], most: int) -> Iterator[list[UUID]]:
    """Neighbours with at most `most` results together; an image with more is alone."""
    group: list[UUID] = []
    together = 0
    for key in keys:
        together += totals[key]
        if group and together > most:
            yield group
            group, together = [], totals[key]
        group.append(key)
    if group:
        yield group


def file_of(detection: Detection, export: Export) -> IO[bytes]:
    """A file of the results so far, at its beginning, to be closed by the caller.

    `export` says what it shall be, and is not saved.
    """
    file = storage.temporary_file()
    try:
        ids = ids_of_images(Detection.objects.filter(pk=detection.pk), export)
        write_export(file, read_images(ids, export), export)
        file.seek(0)
    except BaseException:  # whatever ends it: it is raised again, and nothing else closes the file
        file.close()
        raise
    return file


def signature(export: Export) -> str:
    """Opens this export's file without a log-in, until its owner's password changes."""
    return signer.signature(signed(export))


def signed(export: Export) -> str:
    return f"{export.pk} {export.user.password}"


def find_by_signature(pk: UUID, given: str) -> Export | None:
    """The export, if signature, file and its owner's account are valid."""
    export = Export.objects.filter(pk=pk, user__is_active=True).select_related("user").first()
    if export is None or not export.is_downloadable:
        return None
    try:
        signer.unsign(f"{signed(export)}{signer.sep}{given}")
    except BadSignature:
        return None
    return export


def sweep_exports() -> bool:
    """Release lapsed claims, and delete files that their workers stored.

    Returns whether any export waits.
    """
    with transaction.atomic():
        events.write_export_events(Export.objects.release_lapsed())
    for export in Export.objects.left_behind():
        if storage.delete_file(export.path):
            Export.objects.left_behind().filter(pk=export.pk, path=export.path).update(path="")
    return Export.objects.claimable().exists()


def delete_expired_exports() -> int:
    """Delete expired exports, files first. How many.

    A row whose file cannot be deleted stays for the next time, and keeps no other.
    """
    count = 0
    for export in Export.objects.expired():
        if not export.path or storage.delete_file(export.path):
            export.delete()
            count += 1
    return count
