"""How many images of one user may wait, and when more may."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from detections.models import Detection, DetectionImage
from objectvision.lib.limits import TooMany

# Seconds to wait where nothing tells how fast the queue moves, and at most.
USUAL_WAIT, LONGEST_WAIT = 10, 600
# Uploads of one image that a user may have under way at once: this near the limit they go one by one.
UNDER_WAY = 100


class TooManyWaiting(TooMany):
    """With these images, more of the user's would wait than allowed."""

    def __init__(self, waiting: int, wait: int) -> None:
        most = settings.MAX_WAITING_IMAGES_PER_USER
        text = f"{waiting} of your images wait to be processed; at most {most} may wait at a time."
        super().__init__(text, wait)


def check_backlog(user: User, waiting: int, coming: int, expected: int = 0) -> int:
    """How many more images may wait once `coming` do.

    Of those `waiting`, images that an operator runs again do not count. Raises TooManyWaiting, with the time
    until `expected` images may wait.
    """
    most = settings.MAX_WAITING_IMAGES_PER_USER
    if waiting + coming > most and waiting:
        raise TooManyWaiting(waiting, seconds_until_done(user, waiting + max(coming, expected) - most))
    return most - waiting - coming


def lock_and_stamp(user: User, images: Sequence[DetectionImage]) -> None:
    """Check and stamp the images while no other transaction of the user does: all at once would see room.

    Raises TooManyWaiting, and User.DoesNotExist if the account was closed meanwhile.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk, is_active=True)
    if images:
        end = DetectionImage.objects.end_of_line(user.pk, images[0].priority, images[0].detector_id)
        check_backlog(user, end.waiting, len(images))
        DetectionImage.objects.stamp_turns(images, end.turn)


def seconds_until_done(user: User, images: int) -> int:
    """How long these images of the user take, by the speed of those under way."""
    under_way = user.detections.filter(status=Detection.Status.PROCESSING).order_by("created_at")
    ended, oldest = 0, timezone.now()
    for detection in under_way[:100]:
        ended += detection.processed + detection.failed
        oldest = min(oldest, detection.started_at or oldest)
    passed = timezone.now() - oldest
    if not ended or passed < timedelta(seconds=1):
        return USUAL_WAIT
    return min(max(1, round(images * passed.total_seconds() / ended)), LONGEST_WAIT)
