"""The end of detections, and of the data of closed accounts.

Locks detections in id order, as workers do.
"""

from collections.abc import Collection
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User, UserSettings
from detections import caching, storage
from detections.models import LOCKED_AT_ONCE, Detection, DetectionImage

ERASED_AT_ONCE = 20
ERASING_SECONDS = 5


def delete_detections(ids: Collection[UUID]) -> None:
    """Delete rows and files of these detections, claimed by workers or not."""
    with transaction.atomic():
        detections = Detection.objects.lock(ids)
        images = DetectionImage.objects.filter(detection__in=ids).exclude(image_path="")
        paths = list(images.values_list("image_path", flat=True))
        Detection.objects.filter(pk__in=ids).delete()

        def delete_their_files() -> None:  # Django logs the name of a hook that fails: a partial has none
            storage.delete_pictures(paths)

        caching.drop_after_commit(detection.user_id for detection in detections)
        transaction.on_commit(delete_their_files, robust=True)


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
