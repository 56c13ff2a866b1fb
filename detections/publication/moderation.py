"""Whether visitors see a detection: its owner publishes it, and staff decide.

An approval is of the pictures, which never change: it stays when their owner withdraws, publishes again or
reprocesses them. It ends with a class whose name is new text: see `reviews.submit_name`. A detection that was
rejected before waits for staff in any case, and so its reason is kept until it is approved.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from detections import caching, events
from detections.models import LOCKED_AT_ONCE, Detection
from detections.publication import mails
from detections.publication.models import PublicReport
from objectvision.lib import rows, wakeups

Moderation = Detection.Moderation

MOST_REPORTS = 100  # open ones of a detection: more say nothing new


def first_state() -> Moderation:
    """The state of a detection that is published for the first time."""
    return Moderation.PENDING if settings.MODERATION_REQUIRED else Moderation.APPROVED


def change_detection(detection: Detection, **values: Any) -> bool:
    """As `Detection.change`, with the moderation that publishing leads to."""
    if not values.get("is_public"):
        changed = detection.change(**values)
    else:
        with transaction.atomic():
            states = [submitted_state(locked) for locked in Detection.objects.lock([detection.pk])]
            changed = bool(states) and detection.change(**values, moderation=states[0])
    caching.drop_after_commit([detection.user_id])
    return changed


def change_visibility(ids: Collection[UUID], *, is_public: bool) -> None:
    """As `change_detection`, of many detections."""
    now = timezone.now()
    with transaction.atomic():
        detections = Detection.objects.lock(ids)
        for detection in detections:
            if is_public:
                detection.moderation = submitted_state(detection)
            detection.is_public, detection.updated_at = is_public, now
        rows.write((detections, ("is_public", "moderation", "updated_at")))
        caching.drop_after_commit(detection.user_id for detection in detections)


def submitted_state(detection: Detection) -> str:
    """After its owner has published it, perhaps again."""
    match detection.moderation:
        case Moderation.REJECTED:
            return Moderation.PENDING
        case Moderation.PENDING if not detection.moderation_reason:
            return first_state()
        case state:
            return state


def inherit_refusal(detection: Detection, source: Detection) -> None:
    """Staff's refusal of the same pictures holds for a rerun, too. The caller saves it."""
    if source.moderation_reason or source.moderation == Moderation.HIDDEN:
        detection.moderation, detection.moderation_reason = source.moderation, source.moderation_reason
        if detection.is_public:
            detection.moderation = submitted_state(detection)


def approve(ids: Collection[UUID]) -> int:
    """Show these public detections. How many there are."""
    return decide(ids, Moderation.APPROVED)


def reject(ids: Collection[UUID], reason: str) -> int:
    """Do not show these public detections, with a reason for their owners. How many there are."""
    return decide(ids, Moderation.REJECTED, reason)


def hide(ids: Collection[UUID]) -> int:
    """Do not show these public detections any more. Only staff can show them again. How many there are."""
    return decide(ids, Moderation.HIDDEN)


def decide(ids: Collection[UUID], state: Moderation, reason: str = "") -> int:
    """Their reports are resolved by it.

    Owners are told of approvals and rejections that are new, by an event and a mail.
    """
    chosen = list(ids)
    count = 0
    for start in range(0, len(chosen), LOCKED_AT_ONCE):
        with transaction.atomic():
            detections = Detection.objects.filter(is_public=True).lock(chosen[start : start + LOCKED_AT_ONCE])
            decided = [
                each for each in detections if (each.moderation, each.moderation_reason) != (state, reason)
            ]
            for detection in decided:
                detection.change(moderation=state, moderation_reason=reason)
            PublicReport.objects.resolve([detection.pk for detection in detections])
            events.write_decision_events(decided)
            mails.queue_decision_mails(decided)
            owners = {detection.user_id for detection in decided}
            caching.drop_after_commit(owners)
            wakeups.publish_after_commit(dict.fromkeys(owners, ""))
            count += len(detections)
    return count


def report(detection: Detection, reason: str, address: str) -> None:
    """Keep what a visitor has against a detection, once from each address.

    Raises Detection.DoesNotExist if it was deleted meanwhile.
    """
    mark = salted_hmac("detections.report", f"{detection.pk} {address}", algorithm="sha256").hexdigest()
    row = PublicReport(detection=detection, reason=reason, reporter_hash=mark)
    with transaction.atomic():
        if not Detection.objects.lock([detection.pk]):  # so that visitors at once do not pass the limit
            raise Detection.DoesNotExist
        if detection.public_reports.open().count() < MOST_REPORTS:
            PublicReport.objects.bulk_create([row], ignore_conflicts=True)
