"""The bodies of webhooks. Apps register what their events are about; this package does not know it."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from notifications.models import Event, WebhookDelivery

Describe = Callable[[Event], dict[str, Any]]
"""The `data` of a body: at most `MOST_BYTES` as JSON, with a link to what is larger."""

MOST_BYTES = 19_000  # 20 kB, less the rest of a body

describers: dict[str, Describe] = {}


class EventGoneError(Exception):
    """The event was deleted before the first attempt."""


def register_subject(name: str, describe: Describe) -> None:
    """For events whose type begins with this name."""
    describers[name] = describe


def body_of(delivery: WebhookDelivery) -> str:
    """The same at all attempts: made at the first one. Raises EventGoneError."""
    sent: str | None = delivery.request.get("body")
    return sent or written(delivery.type, *content_of(delivery))


def content_of(delivery: WebhookDelivery) -> tuple[datetime, dict[str, Any]]:
    """When it happened, and what."""
    if delivery.type == WebhookDelivery.PING:
        return delivery.created_at, {"webhook_id": str(delivery.endpoint_id)}
    event = delivery.event_told
    if event is None:
        raise EventGoneError
    return event.created_at, describers[event.type.partition(".")[0]](event)


def written(event_type: str, at: datetime, data: dict[str, Any]) -> str:
    timestamp = at.isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event_type, "timestamp": timestamp, "data": data}, ensure_ascii=False)


def describe_webhook(event: Event) -> dict[str, Any]:
    return {"webhook_id": str(event.subject_id), **event.data}


def register_webhooks() -> None:
    register_subject("webhook", describe_webhook)
