"""What the outbox says about detections and exports. The events are saved with the change they describe."""

from collections.abc import Iterable, Sequence

from detections.models import Detection, Export
from notifications.models import Event
from objectvision.lib import rows, wakeups

Subject = Detection | Export

TYPES = {
    (Detection, Detection.Status.PROCESSING): Event.Type.DETECTION_STARTED,
    (Detection, Detection.Status.COMPLETED): Event.Type.DETECTION_COMPLETED,
    (Detection, Detection.Status.FAILED): Event.Type.DETECTION_FAILED,
    (Detection, Detection.Status.CANCELLED): Event.Type.DETECTION_CANCELLED,
    (Export, Export.Status.COMPLETED): Event.Type.EXPORT_COMPLETED,
    (Export, Export.Status.FAILED): Event.Type.EXPORT_FAILED,
}
TOLD = {
    Detection: ("name", "status", "total", "processed", "failed", "error"),
    Export: ("format", "status", "total", "processed", "error"),
}


def write_events(detections: Iterable[Detection]) -> None:
    """Tell that these detections have begun or ended, as their status says. Inside their transaction."""
    rows.write((events_of(detections), ()))


def events_of(subjects: Iterable[Subject]) -> list[Event]:
    """Not saved."""
    return [event_of(subject) for subject in subjects]


def event_of(subject: Subject) -> Event:
    return Event(
        user_id=subject.user_id,
        type=TYPES[type(subject), Detection.Status(subject.status)],
        subject_id=subject.pk,
        data={name: getattr(subject, name) for name in TOLD[type(subject)]},
    )


def write_export_events(exports: Sequence[Export]) -> None:
    """Tell that these exports have ended. Inside their transaction; streams wake after it."""
    rows.write((events_of(exports), ()))
    wakeups.publish_after_commit({export.user_id: "" for export in exports})
