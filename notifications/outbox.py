"""Events, and a delivery of each for every webhook that listens, saved with the change that they describe."""

from collections.abc import Sequence

from django.db.models import Model

from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from objectvision.lib import doorbell

SEND_TASK = "notifications.send_webhooks"


def rows_of(events: Sequence[Event]) -> tuple[tuple[Sequence[Model], Sequence[str]], ...]:
    """The parts of `rows.write` that save these events and their deliveries.

    Inside the transaction of the change. The worker of webhooks is told after it.
    """
    deliveries = deliveries_of(events)
    if deliveries:
        doorbell.ring_after_commit(SEND_TASK)
    return (events, ()), (deliveries, ())


def deliveries_of(events: Sequence[Event]) -> list[WebhookDelivery]:
    """Not saved."""
    endpoints = WebhookEndpoint.objects.listening({event.user_id for event in events})
    return [
        WebhookDelivery(endpoint=endpoint, event=event.pk, type=event.type, traceparent=event.traceparent)
        for event in events
        for endpoint in endpoints
        if endpoint.user_id == event.user_id and endpoint.wants(event.type)
    ]
