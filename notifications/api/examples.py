"""Examples for the API's document: a webhook, and a delivery that was tried twice."""

from typing import Any

from objectvision.api.plain_answers import error_body

ID = "01a20f02-6b1d-7c40-9f5e-3a8d2f1c7b90"
SECRET = "whsec_<44 more characters>"  # noqa: S105  # no secret
REQUEST: dict[str, Any] = {
    "url": "https://hooks.example.com/objectvision",
    "events": ["detection.completed", "detection.failed"],
    "description": "Sorting line 2",
}
CHANGE = {"events": ["*"], "is_active": True}
WEBHOOK: dict[str, Any] = {
    "id": ID,
    **REQUEST,
    "is_active": True,
    "disabled_reason": "",
    "failing_since": None,
    "created_at": "2026-11-25T00:41:10.525Z",
}
WITH_SECRET = {**WEBHOOK, "secret": SECRET}
EVENT_ID = "01a20edd-8dd9-7a34-8f7e-5c0d7d1e2f3a"
DELIVERY: dict[str, Any] = {
    "id": "01a20edd-8dd9-7f31-9d2c-0b1a2c3d4e5f",
    "event_id": EVENT_ID,
    "type": "detection.completed",
    "state": "delivered",
    "attempts": 2,
    "next_at": None,
    "status_code": 204,
    "error": "",
    "duration_ms": 41,
    "created_at": "2026-11-25T00:37:55.161Z",
    "delivered_at": "2026-11-25T00:38:00.498Z",
}
WAITING = {
    **DELIVERY,
    "state": "pending",
    "attempts": 0,
    "next_at": "2026-11-25T00:41:12.003Z",
    "status_code": None,
    "duration_ms": None,
    "delivered_at": None,
}
PING = {**WAITING, "type": "ping"}
ATTEMPTS = [
    {
        "at": "2026-11-25T00:37:55.171Z",
        "status_code": 500,
        "error": "answered 500",
        "duration_ms": 35,
        "headers": {"content-type": "text/plain"},
        "body": "The queue is full.",
        "truncated": False,
    },
    {
        "at": "2026-11-25T00:38:00.455Z",
        "status_code": 204,
        "error": "",
        "duration_ms": 41,
        "headers": {"server": "nginx"},
        "body": "",
        "truncated": False,
    },
]
FULL_DELIVERY = {
    **DELIVERY,
    "request": {
        "headers": {
            "content-type": "application/json",
            "webhook-id": EVENT_ID,
            "webhook-timestamp": "1795567080",
            "webhook-signature": "v1,<44 characters>",
        },
        "body": '{"type": "detection.completed", "timestamp": "2026-11-25T00:37:55.158Z", "data": {}}',
    },
    "responses": ATTEMPTS,
}
PERIOD = {"since": "2026-11-24T00:00:00Z", "until": "2026-11-25T00:00:00Z"}
TOO_MANY = error_body("too_many_webhooks", "You have 20 webhooks already; delete one of them first.")
UNDER_WAY = error_body("not_now", "This delivery is under way.")
INACTIVE = error_body("not_now", "This webhook is not active: set is_active first.")
