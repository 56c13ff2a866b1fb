"""What the outbox says about detections and exports. The events are saved with the change they describe."""

from collections.abc import Iterable, Sequence

from detections.models import Detection, Export
from notifications.models import Event
from objectvision.lib import rows, wakeups

TYPES = {
    Detection.Status.PROCESSING: Event.Type.DETECTION_STARTED,
    Detection.Status.COMPLETED: Event.Type.DETECTION_COMPLETED,
    Detection.Status.FAILED: Event.Type.DETECTION_FAILED,
    Detection.Status.CANCELLED: Event.Type.DETECTION_CANCELLED,
}
EXPORT_TYPES = {
    Export.Status.COMPLETED: Event.Type.EXPORT_COMPLETED,
    Export.Status.FAILED: Event.Type.EXPORT_FAILED,
}


def write_events(detections: Iterable[Detection]) -> None:
    """Tell that these detections have begun or ended, as their status says. Inside their transaction."""
    rows.write((events_of(detections), ()))


def events_of(detections: Iterable[Detection]) -> list[Event]:
    """Not saved."""
    return [event_of(detection) for detection in detections]


def event_of(detection: Detection) -> Event:
    return Event(
        user_id=detection.user_id,
        type=TYPES[Detection.Status(detection.status)],
        subject_id=detection.pk,
        data={
            "name": detection.name,
            "status": detection.status,
            "total": detection.total,
            "processed": detection.processed,
            "failed": detection.failed,
            "error": detection.error,
        },
    )


def write_export_events(exports: Sequence[Export]) -> None:
    """Tell that these exports have ended. Inside their transaction; streams wake after it."""
    Event.objects.bulk_create([event_of_export(export) for export in exports])
    wakeups.publish_after_commit({export.user_id: "" for export in exports})


def event_of_export(export: Export) -> Event:
    return Event(
        user_id=export.user_id,
        type=EXPORT_TYPES[Export.Status(export.status)],
        subject_id=export.pk,
        data={
            "format": export.format,
            "status": export.status,
            "total": export.total,
            "processed": export.processed,
            "error": export.error,
        },
    )
