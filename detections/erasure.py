"""The end of detections, and of the data of closed accounts.

Locks detections in id order, as workers do.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User, UserSettings
from detections import caching, storage
from detections.models import LOCKED_AT_ONCE, Detection, DetectionImage, DiscardedFile
from objectvision.lib import rows

ERASED_AT_ONCE = 20
ERASING_SECONDS = 5


def delete_detections(ids: Collection[UUID]) -> None:
    """Delete rows and files of these detections, claimed by workers or not.

    Files stay that other detections have.
    """
    with transaction.atomic():
        detections = Detection.objects.lock_with_reruns(ids)
        now = timezone.now()
        images = DetectionImage.objects.filter(detection__in=ids).with_a_file()
        discarded = [
            DiscardedFile(path=path, due_at=now + DiscardedFile.GRACE)
            for path in images.values_list("image_path", flat=True)
        ]
        rows.write((discarded, ()))
        if any(detection.source_id in ids for detection in detections):
            Detection.objects.filter(source__in=ids).update(source=None, updated_at=now)
        Detection.objects.filter(pk__in=ids).delete()

        def delete_their_files() -> None:  # Django logs the name of a hook that fails: a partial has none
            delete_discarded(discarded)

        caching.drop_after_commit(detection.user_id for detection in detections)
        transaction.on_commit(delete_their_files, robust=True)


def delete_discarded(files: Sequence[DiscardedFile]) -> None:
    """Delete these files, except those that other images have. After the commit that discarded them.

    A rerun takes the files of a row that it keeps from being deleted. So a file that no row names now is
    never named again.
    """
    paths = {file.path for file in files}
    gone = storage.delete_pictures(paths - DetectionImage.objects.shared_paths(paths))
    ended = DiscardedFile.objects.filter(pk__in=[file.pk for file in files])
    if gone:
        ended.delete()
    else:
        ended.update(due_at=timezone.now() + DiscardedFile.PAUSE)


def delete_left_files() -> None:
    """Delete the files that a process has discarded and then left."""
    left = DiscardedFile.objects.filter(due_at__lte=timezone.now()).order_by("due_at")
    while files := list(left[:LOCKED_AT_ONCE]):
        delete_discarded(files)


def delete_expired_detections() -> int:
    """Delete the finished detections that are older than their owners' retention.

    Returns how many.
    """
    count = 0
    now = timezone.now()
    for days in UserSettings.objects.retentions():
        expired = Detection.objects.finished().filter(
            user__settings__retention_days=days, created_at__lt=now - timedelta(days=days)
        )
        while ids := list(expired.values_list("pk", flat=True)[:LOCKED_AT_ONCE]):
            delete_detections(ids)
            count += len(ids)
    return count


def erase_closed_accounts() -> None:
    """Erase closed accounts for up to `ERASING_SECONDS`.

    The next sweep goes on with it.
    """
    deadline = monotonic() + ERASING_SECONDS
    for user in User.objects.exclude(closed_at=None).order_by("closed_at"):
        erase_account(user, deadline)
        if monotonic() > deadline:
            break


def erase_account(user: User, deadline: float) -> bool:
    """Delete rows and files of a closed account, and the account last.

    `deadline` is `time.monotonic`'s. False if time ran out before, or the storage failed: while there may be
    files, a row names their folder.
    """
    while ids := list(user.detections.values_list("pk", flat=True)[:ERASED_AT_ONCE]):
        delete_detections(ids)
        if monotonic() > deadline:
            return False
    owner, folder = user.pk, f"users/{user.pk}"
    if not storage.delete_folder(folder):
        return False
    with transaction.atomic():
        # Waits for requests that add rows of this user at this moment; later ones find no account.
        User.objects.select_for_update().filter(pk=user.pk).first()
        user.delete()
    storage.delete_folder(folder)  # files that such a request has stored
    caching.drop({owner})
    return True
