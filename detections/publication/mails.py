"""The mails about decisions of staff."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.conf import settings

from accounts.mails import active_user
from accounts.models import User
from detections.models import Detection
from notifications.mail import rendering
from notifications.mail.outbox import Kind, queue_mail
from objectvision.lib import links

Decision = Detection.Moderation

KINDS = {Decision.APPROVED: Kind.DETECTION_APPROVED, Decision.REJECTED: Kind.DETECTION_REJECTED}


def register_decision_mails() -> None:
    for kind in KINDS.values():
        rendering.register_mail(kind, decision_context)


def decision_context(to: str) -> dict[str, Any] | None:
    """None if no active user has this address, or if they want no such mails."""
    user = active_user(to)
    if user is None or not user.preferences.notifications:
        return None
    return {"link": settings.FRONTEND_BASE_URL or links.public("/")}


def queue_decision_mails(detections: Iterable[Detection]) -> None:
    """One mail for each owner of these, which staff have decided on alike. Inside the transaction."""
    by_owner = defaultdict[Any, list[Detection]](list)
    for detection in detections:
        by_owner[detection.user_id].append(detection)
    for owner, email in User.objects.filter(pk__in=by_owner).values_list("pk", "email"):
        queue_decision_mail(email, by_owner[owner])


def queue_decision_mail(to: str, detections: list[Detection]) -> None:
    first, count = detections[0], len(detections)
    kind = KINDS.get(Decision(first.moderation))
    if kind == Kind.DETECTION_APPROVED:  # the link is written out: looking one up would load all views
        queue_mail(kind, to, count=count, link=links.public(f"/p/{first.pk}"))
    elif kind:
        queue_mail(kind, to, count=count, reason=first.moderation_reason)
