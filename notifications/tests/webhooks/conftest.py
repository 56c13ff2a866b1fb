import pytest
import time_machine
from django.db import transaction
from uuid_utils.compat import uuid7

from notifications import outbox
from notifications.models import Event, WebhookDelivery
from notifications.webhooks import endpoints
from notifications.webhooks.delivery import deliver
from objectvision.lib import rows
from testing.peers import receivers


@pytest.fixture
def receiver(settings):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    with receivers.receiving() as receiver:
        yield receiver


@pytest.fixture
def made(user, receiver):
    """An endpoint for all events of the user, and its secret."""
    return endpoints.create_endpoint(user, None, url=receiver.url, events=["*"])


@pytest.fixture
def endpoint(made):
    return made[0]


@pytest.fixture
def secret(made):
    return made[1]


@pytest.fixture
def happen(user):
    """Writes an event of an export: `happen()`; of another user: `happen(user=…)`."""

    def write(event_type="export.failed", **values):
        values = {"user": user, "subject_id": uuid7(), "data": {"status": "failed"}, **values}
        event = Event(type=event_type, **values)
        with transaction.atomic():
            rows.write(*outbox.rows_of([event]))
        return event

    return write


@pytest.fixture
def clock():
    """It stands still until it is shifted."""
    with time_machine.travel("2026-11-29 12:00:00", tick=False) as clock:
        yield clock


@pytest.fixture
def send():
    """Claims and sends the endpoint's next delivery: what became of it, or None if none is due."""

    def send_next(endpoint):
        delivery = WebhookDelivery.objects.claim_of(endpoint.pk)
        if delivery is None:
            return None
        deliver(delivery)
        delivery.refresh_from_db()
        return delivery

    return send_next
