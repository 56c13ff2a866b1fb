"""One deed for many detections: visibility at once, the rest by workers, chunk by chunk."""

from bisect import bisect_right
from collections.abc import Collection
from itertools import accumulate
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import User
from detections import erasure
from detections.jobs.reprocessing import Reprocessing
from detections.models import LOCKED_AT_ONCE, BulkAction, Detection, DetectionImage
from detections.publication import moderation
from objectvision.lib import doorbell
from objectvision.lib.limits import TooMany

TASK = "detections.change_many"
VISIBILITIES = {"publish": True, "withdraw": False}
ACTIONS = (*BulkAction.Action.values, *VISIBILITIES)
MOST_UNFINISHED = 10  # of a user
RETRY_SECONDS = 10
IMAGES_AT_ONCE = 1000  # of one transaction, or those of one detection
TURN_SECONDS = 5  # then other tasks get their turn


def change_many(user: User, action: str, ids: Collection[UUID]) -> int:
    """Do it with those of these detections that are the user's. How many they are.

    Raises TooMany, and User.DoesNotExist if the account was closed meanwhile.
    """
    own = list(
        Detection.objects.owned_by(user).filter(pk__in=ids).order_by("pk").values_list("pk", flat=True)
    )
    if action in VISIBILITIES:
        for start in range(0, len(own), LOCKED_AT_ONCE):
            chunk = own[start : start + LOCKED_AT_ONCE]
            moderation.change_visibility(chunk, is_public=VISIBILITIES[action])
    elif own:
        queue_action(user, action, own)
    return len(own)


def queue_action(user: User, action: str, own: Collection[UUID]) -> None:
    with transaction.atomic():
        # One request of a user at a time, so that parallel ones keep the limit; none of a closed account.
        User.objects.select_for_update(no_key=True).get(pk=user.pk, is_active=True)
        if user.bulk_actions.count() >= MOST_UNFINISHED:
            text = f"{MOST_UNFINISHED} of your bulk actions are not finished yet, the most allowed."
            raise TooMany(text, RETRY_SECONDS)
        BulkAction.objects.create(user=user, action=action, detection_ids=[str(pk) for pk in own])
        doorbell.ring_after_commit(TASK)


def work_off() -> bool:
    """Go on with what waits, for up to `TURN_SECONDS`. Whether the time was too short."""
    deadline = monotonic() + TURN_SECONDS
    for action in BulkAction.objects.claimable():
        if action.take():
            work_on(action, deadline)
        if monotonic() > deadline:
            return True
    return False


def work_on(action: BulkAction, deadline: float) -> None:
    """Do it until the deadline, or until too many of its user's images wait: then the sweep goes on."""
    while action.detection_ids and monotonic() < deadline:
        ids = next_ids(action)
        if not ids:
            break
        act(action, [UUID(pk) for pk in ids])
        if not action.save_progress(action.detection_ids[len(ids) :]):
            return
    if action.detection_ids:
        action.update_claimed(claim=None)
    else:
        action.delete()


def next_ids(action: BulkAction) -> list[str]:
    """The next detections, of as many images as may be changed at once. None if no image may wait."""
    ids: list[str] = action.detection_ids[:LOCKED_AT_ONCE]
    waiting = waiting_images(action.user) if action.action == BulkAction.Action.REPROCESS else 0
    most = IMAGES_AT_ONCE if action.action == BulkAction.Action.DELETE else most_waiting() - waiting
    totals = {str(pk): total for pk, total in Detection.objects.filter(pk__in=ids).values_list("pk", "total")}
    fitting = bisect_right(list(accumulate(totals.get(pk, 0) for pk in ids)), most)
    return ids[: fitting if waiting else max(fitting, 1)]


def most_waiting() -> int:
    return min(settings.MAX_WAITING_IMAGES_PER_USER, IMAGES_AT_ONCE)


def waiting_images(user: User) -> int:
    """Of the user, counted up to the most that may wait."""
    return DetectionImage.objects.waiting().filter(user=user)[: most_waiting()].count()


def act(action: BulkAction, ids: Collection[UUID]) -> None:
    if action.action == BulkAction.Action.DELETE:
        erasure.delete_detections(ids)
    else:
        reprocess(action, ids)


def reprocess(action: BulkAction, ids: Collection[UUID]) -> None:
    """Behind what the user has reprocessed before: all of it together waits as one more user's images."""
    background = DetectionImage.objects.waiting().filter(
        user=action.user, priority=DetectionImage.Priority.BACKGROUND
    )
    last = background.order_by("-turn").values_list("turn", flat=True).first()
    among = Detection.objects.owned_by(action.user).filter(pk__in=ids)
    reprocessing = Reprocessing(among, before=action.created_at, turn=last or 0)
    reprocessing.put_back(ids)
    if reprocessing.images:
        doorbell.ring_if_reachable("detections.process_images")
