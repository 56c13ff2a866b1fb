"""Takes work back, or away: whoever does so locks the detections first, in the order that workers do."""

import logging
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.models import User, UserSettings
from detections import room
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult
from notifications import news

log = logging.getLogger(__name__)

# Detections locked at once: a bound on what one transaction holds.
BATCH = 200
ERASED_AT_ONCE = 20
ERASING_SECONDS = 5


def sweep() -> bool:
    """Give lapsed claims back and finish what has ended. Whether any image waits."""
    release_lapsed_claims()
    finish_ended_detections()
    return DetectionImage.objects.waiting().exists()


def release_lapsed_claims() -> None:
    """Let images whose worker is gone wait again; fail those that have had all of their attempts."""
    now = timezone.now()
    lapsed = DetectionImage.objects.lapsed(now)
    while ids := set(lapsed.values_list("detection", flat=True)[:BATCH]):
        with transaction.atomic():
            detections = Detection.objects.lock(ids)
            theirs = lapsed.filter(detection__in=ids)
            exhausted = list(theirs.filter(attempts__gte=MAX_ATTEMPTS).values_list("pk", flat=True))
            theirs.filter(pk__in=exhausted).update(
                state=DetectionImage.State.FAILED,
                claim=None,
                claimed_at=None,
                error_code="processing_failed",
                error=f"The image could not be processed in {MAX_ATTEMPTS} attempts.",
                processed_at=now,
            )
            DetectionResult.objects.filter(
                image__in=exhausted, image__state=DetectionImage.State.FAILED
            ).delete()  # of a former time: as where it is read and refused
            theirs.put_back(counted=True)
            recount(detections)


def finish_ended_detections() -> None:
    """Every path that ends an image recounts its detection; this is for what none of them foresaw."""
    open_images = DetectionImage.objects.filter(detection=OuterRef("pk"), state__in=DetectionImage.OPEN)
    ended = Detection.objects.filter(~Exists(open_images), status__in=Detection.UNFINISHED)
    while ids := list(ended.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            recount(Detection.objects.lock(ids))


def cancel(detection_id: UUID) -> None:
    """End a detection now: work not done is not done, work done is kept. Nothing if it has ended already.

    One of which everything had been done before, and was to be done again, is what it was.
    """
    with transaction.atomic():
        detections = Detection.objects.filter(status__in=Detection.UNFINISHED).lock([detection_id])
        cancelled = DetectionImage.objects.filter(detection__in=detections).cancel()
        for detection in detections if cancelled else ():
            detection.status = Detection.Status.CANCELLED
            detection.finished_at = timezone.now()
        recount(detections)


def retry(detection_id: UUID) -> int:
    """Let the failed images of a detection that still have a file wait again, as if never tried. How many.

    Raises room.TooManyWaitingError.
    """
    with transaction.atomic():
        detections = Detection.objects.lock([detection_id])
        failed = DetectionImage.objects.filter(detection__in=detections, state=DetectionImage.State.FAILED)
        images = list(failed.exclude(image_path="").select_related("user").order_by("pk"))
        if images:
            room.check_alone(images[0].user, len(images))
        for image in images:
            image.wait_again()
            image.priority = images[0].priority
        DetectionImage.objects.stamp_turns(images)
        DetectionImage.objects.put_in_line(images)
        for detection in detections if images else ():
            if detection.is_finished:
                detection.reopen()
        recount(detections)
    return len(images)


def delete(ids: Collection[UUID]) -> None:
    """Rows and files of these detections are gone, also while a worker has some of them."""
    with transaction.atomic():
        Detection.objects.lock(ids)
        images = DetectionImage.objects.filter(detection__in=ids).exclude(image_path="")
        paths = list(images.values_list("image_path", flat=True))
        Detection.objects.filter(pk__in=ids).delete()
        transaction.on_commit(partial(delete_files, paths), robust=True)


def delete_expired() -> int:
    """Delete the finished detections that are older than their owners want to keep them. How many."""
    count = 0
    now = timezone.now()
    for days in UserSettings.objects.retentions():
        expired = Detection.objects.finished().filter(
            user__settings__retention_days=days, created_at__lt=now - timedelta(days=days)
        )
        while ids := list(expired.values_list("pk", flat=True)[:BATCH]):
            delete(ids)
            count += len(ids)
    return count


def erase_closed() -> None:
    """Go on erasing the accounts that their owners have closed, for a while."""
    deadline = monotonic() + ERASING_SECONDS
    for user in User.objects.exclude(closed_at=None).order_by("closed_at"):
        erase(user, deadline)
        if monotonic() > deadline:
            break


def erase(user: User, deadline: float) -> bool:
    """Rows and files of a closed account are gone, the account itself last. False if time ran out before, or
    the storage failed: as long as there may be files, there is a row to find them by.

    `deadline` is one of `time.monotonic`.
    """
    while ids := list(user.detections.values_list("pk", flat=True)[:ERASED_AT_ONCE]):
        delete(ids)
        if monotonic() > deadline:
            return False
    folder = f"users/{user.pk}"
    if not delete_folder(folder):
        return False
    with transaction.atomic():
        # Whoever adds something of theirs at this moment is waited for; whoever comes later finds nobody.
        User.objects.select_for_update().filter(pk=user.pk).first()
        user.delete()
    delete_folder(folder)  # what was added meanwhile
    return True


def delete_folder(path: str) -> bool:
    """With all that is in it; also what no row knows of. Whether nothing is left."""
    try:
        folders, files = default_storage.listdir(path)
    except FileNotFoundError:  # an object store has no folders
        return True
    except OSError:
        log.exception("The folder %s is left in the storage", path)
        return False
    gone = [delete_folder(f"{path}/{folder}") for folder in folders]
    return delete_files([*(f"{path}/{file}" for file in files), path]) and all(gone)


def delete_files(paths: Collection[str]) -> bool:
    """Whether all of them are gone; one that cannot be deleted does not keep the others."""
    gone = [delete_file(path) for path in paths]
    return all(gone)


def delete_file(path: str) -> bool:
    try:
        default_storage.delete(path)
    except OSError:
        log.exception("The file %s is left in the storage", path)
        return False
    return True


def recount(detections: Collection[Detection]) -> None:
    Detection.objects.recount(detections)
    ids = [detection.pk for detection in detections]
    transaction.on_commit(lambda: news.publish(ids), robust=True)
