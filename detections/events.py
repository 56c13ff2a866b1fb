"""What the outbox says about detections and exports. The events are saved with the change they describe."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count

from detections.models import Detection, DetectionResult, Export
from notifications import outbox
from notifications.models import Event
from notifications.webhooks import bodies
from objectvision.lib import links, rows, tracing, wakeups

Subject = Detection | Export
Decision = Detection.Moderation

TYPES = {
    (Detection, Detection.Status.PROCESSING): Event.Type.DETECTION_STARTED,
    (Detection, Detection.Status.COMPLETED): Event.Type.DETECTION_COMPLETED,
    (Detection, Detection.Status.FAILED): Event.Type.DETECTION_FAILED,
    (Detection, Detection.Status.CANCELLED): Event.Type.DETECTION_CANCELLED,
    (Detection, Decision.APPROVED): Event.Type.DETECTION_APPROVED,
    (Detection, Decision.REJECTED): Event.Type.DETECTION_REJECTED,
    (Export, Export.Status.COMPLETED): Event.Type.EXPORT_COMPLETED,
    (Export, Export.Status.FAILED): Event.Type.EXPORT_FAILED,
}
TOLD = {
    Detection: ("name", "status", "total", "processed", "failed", "error"),
    Export: ("format", "status", "total", "processed", "error"),
}


def write_events(detections: Iterable[Detection]) -> None:
    """Tell that these detections have begun or ended, as their status says. Inside their transaction."""
    rows.write(*rows_of(detections))


def rows_of(subjects: Iterable[Subject]) -> Any:
    """The parts of `rows.write` that tell it."""
    return outbox.rows_of(events_of(subjects))


def events_of(subjects: Iterable[Subject]) -> list[Event]:
    """Not saved."""
    return [event_of(subject) for subject in subjects]


def event_of(subject: Subject) -> Event:
    return written(subject, TYPES[type(subject), Detection.Status(subject.status)], TOLD[type(subject)])


def write_decision_events(detections: Iterable[Detection]) -> None:
    """Tell that staff approved or rejected these detections. Inside their transaction."""
    told = (*TOLD[Detection], "moderation", "moderation_reason")
    decided = [each for each in detections if (Detection, Decision(each.moderation)) in TYPES]
    rows.write(
        *outbox.rows_of(
            [written(each, TYPES[Detection, Decision(each.moderation)], told) for each in decided]
        )
    )


def written(subject: Subject, event_type: Event.Type, told: Sequence[str]) -> Event:
    """Not saved."""
    with tracing.span(f"event {event_type}", subject.traceparent):
        return Event(
            user_id=subject.user_id,
            type=event_type,
            subject_id=subject.pk,
            data={name: getattr(subject, name) for name in told},
            request_id=subject.request_id,
            traceparent=tracing.current_traceparent(),
        )


def write_export_events(exports: Sequence[Export]) -> None:
    """Tell that these exports have ended. Inside their transaction; streams wake after it."""
    rows.write(*rows_of(exports))
    wakeups.publish_after_commit({export.user_id: "" for export in exports})


# The bodies of webhooks. Their links are written out: to look one up, a worker would load all views.

MOST_CLASS_BYTES = 12_000


def register_bodies() -> None:
    bodies.register_subject("detection", describe_detection)
    bodies.register_subject("export", describe_export)


def describe_detection(event: Event) -> dict[str, Any]:
    """The detection as the event left it, and its results counted by class."""
    has_begun_only = event.type == Event.Type.DETECTION_STARTED
    return {
        "detection_id": str(event.subject_id),
        **event.data,
        "objects": {} if has_begun_only else count_by_class(event),
        "url": links.public(f"/api/v1/detect/{event.subject_id}"),
    }


def count_by_class(event: Event) -> dict[str, int]:
    """The most frequent classes, as many as fit a webhook."""
    results = DetectionResult.objects.filter(detection=event.subject_id)
    counts = (
        results.values_list("object_class").annotate(count=Count("pk")).order_by("-count", "object_class")
    )
    objects: dict[str, int] = {}
    left = MOST_CLASS_BYTES
    for name, count in counts:
        left -= len(json.dumps({name: count}, ensure_ascii=False).encode())
        if left < 0:
            break
        objects[name] = count
    return objects


def describe_export(event: Event) -> dict[str, Any]:
    url = links.public(f"/api/v1/detect/exports/{event.subject_id}")
    return {"export_id": str(event.subject_id), **event.data, "url": url}
