"""Sends a delivery once, and records what came back."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import monotonic
from typing import Any

from django.utils import timezone

from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.webhooks import bodies, sending
from notifications.webhooks.endpoints import disable_endpoint
from objectvision.lib import connections, logs, metrics, sealing

log = logging.getLogger(__name__)

# Their Retry-After says when to try again.
WAITING_STATUSES = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
FAILED_TOO_LONG = f"It has failed for {WebhookEndpoint.MAY_FAIL_FOR.days} days."
GONE = "It answered 410 Gone."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what came of it. `reason` is empty if it was a success."""

    at: datetime
    request: dict[str, Any]
    duration_ms: int
    answer: sending.Answer | None
    reason: str

    @property
    def status(self) -> int | None:
        return self.answer.status if self.answer else None

    def came_back(self) -> dict[str, Any]:
        """For the delivery's log."""
        parts = ("headers", "body", "truncated")
        answer = {name: getattr(self.answer, name) for name in parts} if self.answer else {}
        return {"status_code": self.status, "duration_ms": self.duration_ms, **answer}


def deliver(delivery: WebhookDelivery) -> None:
    """Send a claimed delivery, on behalf of the request that caused its event."""
    with logs.on_behalf_of(delivery.event_told.request_id if delivery.event_told else ""):
        send(delivery)


def send(delivery: WebhookDelivery) -> None:
    """No database connection is held meanwhile."""
    now = timezone.now()
    try:
        body = bodies.body_of(delivery)
        secrets = delivery.endpoint.signing_secrets(now)
    except bodies.EventGoneError:
        delivery.end(delivery.State.FAILED, error="The event is kept no longer.")
    except sealing.UnreadableSecretError:
        log.exception("The secret of webhook %s cannot be read", delivery.endpoint_id)
        delivery.put_off(error="The secret cannot be read: rotate it.")
    else:
        headers = sending.signed_headers(str(delivery.event), secrets, body.encode(), now)
        request = {"headers": headers, "body": body}
        # Saved first, so that all attempts send the same, even if this worker is killed.
        if delivery.request or delivery.update_claimed(request=request):
            connections.give_back()
            record(delivery, attempt(delivery.endpoint.url, request, now))


def attempt(url: str, request: dict[str, Any], at: datetime) -> Attempt:
    started = monotonic()
    answer, reason = None, ""
    try:
        answer = sending.post(url, request["headers"], request["body"].encode())
    except sending.SendingError as error:
        reason = str(error)
    else:
        reason = "" if is_success(answer.status) else f"answered {answer.status}"
    return Attempt(at, request, round((monotonic() - started) * 1000), answer, reason)


def is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def record(delivery: WebhookDelivery, made: Attempt) -> None:
    values = {
        "status_code": made.status,
        "error": made.reason,
        "duration_ms": made.duration_ms,
        "request": made.request,
        "response": delivery.with_answer(made.at, made.reason, **made.came_back()),
    }
    metrics.WEBHOOK_ATTEMPTS.labels("failed" if made.reason else "delivered").inc()
    log.info(
        "Webhook delivery %s: %s in %d ms",
        delivery.pk,
        made.reason or made.status,
        made.duration_ms,
        extra=facts_of(delivery, made),
    )
    if not made.reason:
        delivery.end(delivery.State.DELIVERED, delivered_at=timezone.now(), **values)
        delivery.endpoint.succeeded()
    elif made.status == HTTPStatus.GONE:
        delivery.end(delivery.State.FAILED, **values)
        disable_endpoint(delivery.endpoint, GONE)
    else:
        delivery.put_off(requested_wait(made.answer), **values)
        if delivery.type != delivery.PING and delivery.endpoint.failed(made.at):
            disable_endpoint(delivery.endpoint, FAILED_TOO_LONG)


def facts_of(delivery: WebhookDelivery, made: Attempt) -> dict[str, Any]:
    """For the log line."""
    subject = {}
    if event := delivery.event_told:
        subject[f"{event.type.partition('.')[0]}_id"] = event.subject_id
    return {
        **subject,
        "user_id": delivery.endpoint.user_id,
        "webhook_id": delivery.endpoint_id,
        "delivery_id": delivery.pk,
        "status": made.status,
        "duration_ms": made.duration_ms,
    }


def requested_wait(answer: sending.Answer | None) -> timedelta:
    """By Retry-After, in seconds or as a date, where the status gives it a meaning."""
    if answer is None or answer.status not in WAITING_STATUSES:
        return timedelta()
    value = answer.headers.get("retry-after", "")
    if value.isascii() and value.isdecimal():
        return timedelta(seconds=min(int(value[:9]), WebhookDelivery.LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return timedelta()
    return max(timedelta(), moment.replace(tzinfo=moment.tzinfo or UTC) - timezone.now())
