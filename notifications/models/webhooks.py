import random
import secrets
from base64 import b64encode
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

from notifications.models.events import Event, delete_aged
from objectvision.lib import leases, rows, sealing

URL_LENGTH = 2000
DESCRIPTION_LENGTH = 200
REASON_LENGTH = 300
SECRET_BYTES = 32

NO_ANSWER: dict[str, Any] = {
    "status_code": None,
    "duration_ms": None,
    "headers": {},
    "body": "",
    "truncated": False,
}

# Endpoints with a delivery that is due, and fewer than `MOST_AT_ONCE` under way. It steps from endpoint to
# endpoint along an index: a long queue of one costs no more than a short one.
READY = """
WITH RECURSIVE waiting (endpoint_id) AS (
    SELECT (SELECT endpoint_id FROM notifications_webhookdelivery
            WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT endpoint_id FROM notifications_webhookdelivery
            WHERE state = 'pending' AND endpoint_id > waiting.endpoint_id ORDER BY endpoint_id LIMIT 1)
    FROM waiting WHERE waiting.endpoint_id IS NOT NULL
)
SELECT * FROM (
    SELECT endpoint.id, endpoint.failing_since IS NOT NULL,
        (SELECT count(*) FROM notifications_webhookdelivery
         WHERE endpoint_id = endpoint.id AND state = 'sending') AS under_way
    FROM waiting JOIN notifications_webhookendpoint endpoint ON endpoint.id = waiting.endpoint_id
    JOIN accounts_user owner ON owner.id = endpoint.user_id
    WHERE endpoint.is_active AND owner.is_active AND EXISTS (
        SELECT 1 FROM notifications_webhookdelivery
        WHERE endpoint_id = endpoint.id AND state = 'pending' AND next_at <= %s)
) AS ready WHERE under_way < %s
"""
# Locked against deletion, so that the deliveries that are inserted next find their endpoint.
LISTENING = """
SELECT {endpoint} FROM notifications_webhookendpoint endpoint
WHERE endpoint.user_id IN (%s) AND endpoint.is_active FOR KEY SHARE
"""


def new_secret() -> str:
    """As Standard Webhooks spells secrets."""
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


class Ready(NamedTuple):
    """An endpoint with a delivery that is due, and how many requests to it are under way."""

    pk: UUID
    is_failing: bool
    under_way: int


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def kept(self) -> Self:
        return self.filter(deleted_at=None)

    def owned_by(self, user: Any) -> Self:
        """The user's, without those that they have deleted, newest first."""
        return self.kept().filter(user=user).order_by("-pk")

    def remove(self) -> None:
        """For their owners they are deleted."""
        self.update(is_active=False, deleted_at=timezone.now())

    def listening(self, users: Collection[UUID]) -> "list[WebhookEndpoint]":
        """The active endpoints of these users. Inside a transaction, to whose end they are not deleted."""
        found = rows.read(LISTENING, [list(users)], endpoint=WebhookEndpoint) if users else []
        return [endpoint for (endpoint,) in found]

    def ready(self, now: datetime) -> list[Ready]:
        """The endpoints to which something may be sent now."""
        found = rows.read(READY, [now, WebhookEndpoint.MOST_AT_ONCE])
        return [Ready(rows.as_id(pk), bool(is_failing), under_way) for pk, is_failing, under_way in found]

    def inactive_with_pending(self) -> Self:
        pending = WebhookDelivery.objects.filter(endpoint=OuterRef("pk"), state=WebhookDelivery.State.PENDING)
        return self.filter(Exists(pending), is_active=False)

    def flooded(self) -> "list[WebhookEndpoint]":
        """The active endpoints for which more deliveries wait than may."""
        return [
            endpoint
            for endpoint in self.filter(is_active=True).exclude(failing_since=None)
            if endpoint.deliveries.pending()[WebhookEndpoint.MOST_PENDING :].exists()
        ]


class WebhookEndpoint(models.Model):
    """Where a user's events are sent. The deliveries of one that is deleted are deleted first, in chunks."""

    MOST_OF_USER = 20
    MOST_AT_ONCE = 2
    """Requests to one endpoint, over all workers."""
    MOST_PENDING = 100_000
    ALL = "*"
    OLD_SECRET_SIGNS = timedelta(hours=24)
    MAY_FAIL_FOR = timedelta(days=5)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="webhook_endpoints")
    url = models.CharField(max_length=URL_LENGTH)
    secret = models.CharField(max_length=200, help_text="Sealed.")
    previous_secret = models.CharField(max_length=200, blank=True, help_text="Sealed.")
    rotated_at = models.DateTimeField(null=True, blank=True)
    events = models.JSONField(default=list, help_text="Types of events, or * for all.")
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    is_active = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    failing_since = models.DateTimeField(
        null=True, blank=True, help_text="The first failure after the last success."
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = WebhookEndpointQuerySet.as_manager()

    def __str__(self) -> str:
        return str(self.pk)

    def wants(self, event_type: str) -> bool:
        return self.ALL in self.events or event_type in self.events

    def signing_secrets(self, now: datetime) -> list[str]:
        """The secret and, within `OLD_SECRET_SIGNS` of a rotation, the one before.

        Raises sealing.UnreadableSecretError.
        """
        sealed = [self.secret]
        if self.previous_secret and self.rotated_at and now < self.rotated_at + self.OLD_SECRET_SIGNS:
            sealed.append(self.previous_secret)
        return [sealing.unseal(secret) for secret in sealed]

    def succeeded(self) -> None:
        if self.failing_since:
            WebhookEndpoint.objects.filter(pk=self.pk).update(failing_since=None)

    def failed(self, now: datetime) -> bool:
        """Whether it has failed for longer than it may."""
        unchanged = WebhookEndpoint.objects.filter(pk=self.pk, failing_since=self.failing_since)
        if self.failing_since is None:
            unchanged.update(failing_since=now)
            return False
        # Another attempt may have succeeded, or its owner activated it again, while this one was under way.
        return now - self.failing_since > self.MAY_FAIL_FOR and unchanged.exists()


class WebhookDeliveryQuerySet(leases.LeasedQuerySet["WebhookDelivery"]):
    def for_list(self) -> Self:
        """Newest first, without what was sent and answered."""
        return self.defer("request", "response").order_by("-pk")

    def pending(self) -> Self:
        return self.filter(state=WebhookDelivery.State.PENDING)

    def under_way(self) -> Self:
        """By one OR, for which PostgreSQL reads the small indexes of these states and not the whole log."""
        return self.filter(Q(state=WebhookDelivery.State.PENDING) | Q(state=WebhookDelivery.State.SENDING))

    def due(self) -> Self:
        return self.pending().filter(next_at__lte=timezone.now())

    def claimable(self) -> Self:
        return self.due().order_by("next_at", "pk")

    def claim_of(self, endpoint_id: UUID) -> "WebhookDelivery | None":
        """Claim the endpoint's delivery that has been due for longest.

        None if none is due, if another worker is claiming one, or as many are under way as may be.
        """
        with transaction.atomic():
            active = WebhookEndpoint.objects.filter(pk=endpoint_id, is_active=True, user__is_active=True)
            endpoint = active.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
            own = self.filter(endpoint=endpoint_id)
            under_way = own.filter(state=WebhookDelivery.State.SENDING)
            if endpoint is None or under_way.count() >= WebhookEndpoint.MOST_AT_ONCE:
                return None
            delivery = own.claimable().first()
            if delivery is None or not delivery.take():
                return None
        delivery.endpoint = endpoint
        return delivery

    def release_lapsed(self) -> None:
        """Let deliveries whose worker is gone wait again; fail those that have had all of their attempts."""
        lapsed = self.filter(
            leases.lapsed(timezone.now(), WebhookDelivery.LEASE), state=WebhookDelivery.State.SENDING
        )
        for delivery in lapsed:
            delivery.lose_worker()

    def delete_outdated(self) -> int:
        return delete_aged(self)

    def fail_pending(self, error: str) -> int:
        return self.pending().update(state=WebhookDelivery.State.FAILED, error=error)

    def send_again(self) -> int:
        """Let deliveries that have ended wait as if never tried; what was answered stays. How many."""
        now = timezone.now()
        values = {"state": WebhookDelivery.State.PENDING, "attempts": 0, "next_at": now, "delivered_at": None}
        # No join: of two that come at once, the later one reads the state again.
        active = WebhookEndpoint.objects.filter(is_active=True)
        return self.filter(state__in=WebhookDelivery.ENDED, endpoint__in=active).update(**values)


class WebhookDelivery(leases.Leased):
    """One event, for one endpoint: `pending → sending → delivered | failed`, or pending again.

    `event` is the event's id, or a ping's own, and becomes the `webhook-id`, the same at all attempts and for
    all endpoints. `response` has an object for each of the last attempts.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        FAILED = "failed"

    PING = "ping"
    ENDED = (State.DELIVERED, State.FAILED)
    # Several times as long as a request may take.
    LEASE = timedelta(seconds=45)
    DELAYS: ClassVar[Sequence[timedelta]] = (
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
    )
    """After each failed attempt. The attempt after the last delay is the last one."""
    JITTER = 0.1
    LONGEST_WAIT = timedelta(hours=24)
    MOST_ATTEMPTS = len(DELAYS) + 1
    ANSWERS_KEPT = 20
    KEPT = timedelta(days=90)
    DELETED_AT_ONCE = 500

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries", db_index=False)
    event = models.UUIDField()
    type = models.CharField(max_length=30)
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    next_at = models.DateTimeField(default=timezone.now)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=REASON_LENGTH, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    request = models.JSONField(default=dict, help_text="Headers and body of the last attempt.")
    response = models.JSONField(default=list, help_text="What came back at each attempt.")
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes: ClassVar = [
            # Of an endpoint, newest first; the first column serves the foreign key.
            models.Index(fields=["endpoint", "id"], name="notifications_delivery_log"),
            models.Index(
                fields=["endpoint", "next_at"],
                name="notifications_delivery_due",
                condition=Q(state="pending"),
            ),
            models.Index(
                fields=["endpoint", "claimed_at"],
                name="notifications_delivery_sending",
                condition=Q(state="sending"),
            ),
            models.Index(
                fields=["endpoint", "id"], name="notifications_delivery_failed", condition=Q(state="failed")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event}"

    @cached_property
    def event_told(self) -> Event | None:
        """None for a ping, and once the event was deleted."""
        return Event.objects.filter(pk=self.event).first()

    @property
    def is_under_way(self) -> bool:
        return self.state not in self.ENDED

    def values_of_claimed(self) -> dict[str, Any]:
        return {"state": self.State.SENDING}

    def end(self, state: State, **values: Any) -> bool:
        """False, and nothing saved, if its claim was taken away meanwhile."""
        return self.update_claimed(state=state, claim=None, **values)

    def put_off(self, at_least: timedelta = timedelta(), **values: Any) -> bool:
        """Try again later, no sooner than after `at_least`; fail if this was the last attempt."""
        if self.attempts >= self.MOST_ATTEMPTS or self.type == self.PING:
            return self.end(self.State.FAILED, **values)
        delay = self.DELAYS[self.attempts - 1] * random.uniform(1, 1 + self.JITTER)  # noqa: S311  # no secret
        self.next_at = timezone.now() + max(delay, min(at_least, self.LONGEST_WAIT))
        return self.end(self.State.PENDING, next_at=self.next_at, **values)

    def with_answer(self, at: datetime, error: str, **came_back: Any) -> list[dict[str, Any]]:
        """What came back at each attempt, this one added."""
        answer = {"at": at.isoformat().replace("+00:00", "Z"), "error": error, **NO_ANSWER, **came_back}
        return [*self.response, answer][-self.ANSWERS_KEPT :]

    def lose_worker(self) -> None:
        """Try again soon: the receiver is not at fault. Fail if this was the last attempt."""
        error = "The worker that was sending it has not come back."
        answers = self.with_answer(self.claimed_at or timezone.now(), error)
        state = self.State.FAILED if self.attempts >= self.MOST_ATTEMPTS else self.State.PENDING
        soon = timezone.now() + self.DELAYS[0]
        self.end(state, next_at=soon, error=error, status_code=None, duration_ms=None, response=answers)

    def give_back(self) -> None:
        """Wait again, as if this attempt had not begun."""
        self.end(self.State.PENDING, attempts=self.attempts - 1, next_at=timezone.now())
