"""What streams tell: an event of the outbox, or how far a detection has come."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID

from detections.models import Detection
from notifications.models import Event

# The first part of an event's type says what its subject is.
SUBJECTS = {"detection": "detection_id", "export": "export_id", "webhook": "webhook_id"}


class End(IntEnum):
    """Why a stream ends, as the closing code of a WebSocket."""

    RESTART = 1012
    INVALID = 4401
    FOREIGN = 4403
    TOO_SLOW = 4408
    TOO_MANY = 4429


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is the JSON that clients get. Progress has no `event_id`, and `done` images of its run."""

    user_id: UUID
    subject_id: UUID
    type: str
    text: str
    event_id: UUID | None = None
    run: datetime | None = None
    """When the run of the detection began: a retry counts anew."""
    done: int = 0


def of_event(event: Event) -> Message:
    told = {
        "id": str(event.pk),
        "type": event.type,
        SUBJECTS[event.type.partition(".")[0]]: str(event.subject_id),
        "at": in_iso(event.created_at),
        **event.data,
    }
    return Message(event.user_id, event.subject_id, event.type, json.dumps(told), event_id=event.pk)


def of_progress(detection: Detection) -> Message:
    done = detection.processed + detection.failed
    told: dict[str, Any] = {
        "id": f"{detection.pk}:{done}",
        "type": "detection.progress",
        "detection_id": str(detection.pk),
        "at": in_iso(detection.updated_at),
        "processed": detection.processed,
        "total": detection.total,
        "failed": detection.failed,
        "percent": detection.percent,
    }
    return Message(
        detection.user_id,
        detection.pk,
        "detection.progress",
        json.dumps(told),
        run=detection.started_at,
        done=done,
    )


def in_iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
