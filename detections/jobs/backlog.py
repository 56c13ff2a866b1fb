"""How much of one user's work may wait, and when there is room for more."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from detections.models import Detection, DetectionImage

# What to wait for room where nothing tells how fast the queue moves, and at most: seconds.
USUAL_WAIT, LONGEST_WAIT = 10, 600
# Uploads of one image that a user may have under way at once: so near to the limit they go one by one.
UNDER_WAY = 100


class TooManyWaitingError(Exception):
    """The user's images that wait, with these, are past the limit; in `wait` seconds there may be room."""

    def __init__(self, waiting: int, wait: int) -> None:
        most = settings.MAX_WAITING_IMAGES_PER_USER
        super().__init__(f"{waiting} of your images wait to be processed; at most {most} may wait at a time.")
        self.wait = wait


def check(user: User, coming: int, expected: int = 0) -> int:
    """Whether so many more images may wait, and how many more then; if not, when as many as are expected may.

    What an operator runs again does not count. Raises TooManyWaitingError.
    """
    most = settings.MAX_WAITING_IMAGES_PER_USER
    own = DetectionImage.objects.waiting().filter(user=user)
    sent = own.exclude(priority=DetectionImage.Priority.BACKGROUND).order_by()
    waiting = sent.values("pk")[: most + 1].count()
    if waiting + coming > most and waiting:
        raise TooManyWaitingError(waiting, seconds_until_done(user, waiting + max(coming, expected) - most))
    return most - waiting - coming


def check_alone(user: User, coming: int) -> None:
    """The same, one after the other until the transaction ends: several at once would each find room."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    check(user, coming)


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
