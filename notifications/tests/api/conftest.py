from datetime import UTC, datetime, timedelta
from socket import gaierror
from uuid import UUID

import pytest
from django.db import connection
from uuid_utils.compat import uuid7

from notifications.models import WebhookDelivery, first_id_at
from notifications.webhooks import endpoints

# A public address: nothing is looked up, and the tests send nothing.
HOOK = "https://8.8.8.8/hook"
BEGIN = datetime(2026, 11, 29, 12, tzinfo=UTC)
ANSWER = {
    "at": "2026-11-29T12:00:00Z",
    "status_code": 500,
    "error": "answered 500",
    "duration_ms": 7,
    "headers": {"content-type": "text/html", "set-cookie": "a=1"},
    "body": "<script>alert('\u2028é')</script>",
    "truncated": True,
}
REQUEST = {"headers": {"webhook-id": "1", "webhook-signature": "v1,x"}, "body": '{"type": "export.failed"}'}


@pytest.fixture
def make_webhook(user):
    def make(owner=user, **values):
        return endpoints.create_endpoint(owner, None, **{"url": HOOK, "events": ["*"], **values})[0]

    return make


@pytest.fixture
def webhook(make_webhook):
    return make_webhook()


@pytest.fixture
def make_delivery():
    """A delivery that was made so many minutes after noon."""

    def make(webhook, state="failed", minutes=0, **values):
        made = BEGIN + timedelta(minutes=minutes)
        values = {
            "pk": UUID(int=first_id_at(made).int + uuid7().int % 2**60),
            "event": uuid7(),
            "type": "export.failed",
            "created_at": made,
            "next_at": made,
            "request": REQUEST,
            "response": [ANSWER],
            **values,
        }
        return WebhookDelivery.objects.create(endpoint=webhook, state=state, **values)

    return make


@pytest.fixture
def while_looked_up(transactional_db, monkeypatch):
    """Does this while a name is looked up, which then does not resolve: `while_looked_up(close_account)`."""

    def use(deed):
        def look_up(*_, **__):
            try:
                deed()
            finally:
                connection.close()
            raise gaierror

        monkeypatch.setattr("socket.getaddrinfo", look_up)

    return use
