"""Makes, changes and ends the endpoints of webhooks, and lets deliveries be sent again."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from notifications import outbox
from notifications.mail.outbox import Kind, queue_mail
from notifications.models import Event, WebhookDelivery, WebhookEndpoint, new_secret
from objectvision.lib import doorbell, logs, rows, sealing, tracing, wakeups

log = logging.getLogger(__name__)

DEACTIVATED = "The webhook was deactivated."
DELETED_AT_ONCE = 5000
LONGEST_TRANSACTION = timedelta(minutes=1)


class TooManyEndpointsError(Exception):
    """The user has the largest number of webhooks. The text is for the client."""


class NotNowError(Exception):
    """The state of the webhook or the delivery does not allow it. The text is for the client."""


def create_endpoint(user: Any, by: Any, **values: Any) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret. `by` is the session that asks.

    Raises TooManyEndpointsError; AuthenticationFailed if the session has ended.
    """
    secret = new_secret()
    # One request of a user at a time, so that concurrent ones do not pass the limit.
    with user.locked(by):
        if user.webhook_endpoints.kept().count() >= WebhookEndpoint.MOST_OF_USER:
            most = WebhookEndpoint.MOST_OF_USER
            raise TooManyEndpointsError(f"You have {most} webhooks already; delete one of them first.")
        endpoint = WebhookEndpoint.objects.create(user=user, secret=sealing.seal(secret), **values)
    return endpoint, secret


def change_endpoint(endpoint: WebhookEndpoint, **values: Any) -> None:
    """Save these values. One that is activated begins anew; the deliveries of one that is not are ended."""
    with transaction.atomic():
        row = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        if values.get("is_active") and not row.is_active:
            values = {**values, "disabled_reason": "", "failing_since": None}
        vars(endpoint).update(values)
        WebhookEndpoint.objects.filter(pk=row.pk).update(**values)
        if not endpoint.is_active:
            row.deliveries.fail_pending(DEACTIVATED)


def rotate_secret(endpoint: WebhookEndpoint) -> str:
    """A new secret. The one before signs too for `OLD_SECRET_SIGNS`."""
    secret = new_secret()
    with transaction.atomic():
        row = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        row.previous_secret, row.secret = row.secret, sealing.seal(secret)
        row.rotated_at = timezone.now()
        row.save(update_fields=["previous_secret", "secret", "rotated_at"])
    return secret


def remove_endpoint(endpoint: WebhookEndpoint) -> None:
    """It is gone for its owner at once. The sweep deletes its rows."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).remove()


def remove_all_of(user: Any) -> None:
    user.webhook_endpoints.kept().remove()


def disable_endpoint(endpoint: WebhookEndpoint, reason: str) -> bool:
    """Send nothing any more, and tell its owner by an event and a mail. False if it was not active."""
    with transaction.atomic():
        active = WebhookEndpoint.objects.filter(pk=endpoint.pk, is_active=True)
        if not active.update(is_active=False, disabled_reason=reason):
            return False
        endpoint.deliveries.fail_pending(reason)
        event = Event(
            user_id=endpoint.user_id,
            type=Event.Type.WEBHOOK_DISABLED,
            subject_id=endpoint.pk,
            data={"description": endpoint.description, "reason": reason},
            request_id=logs.current_request(),
            traceparent=tracing.current_traceparent(),
        )
        rows.write(*outbox.rows_of([event]))
        wakeups.publish_after_commit({endpoint.user_id: ""})
        queue_mail(Kind.WEBHOOK_DISABLED, endpoint.user.email)
    return True


def ping_endpoint(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """A delivery that tells nothing, tried once. Raises NotNowError."""
    check_active(endpoint)
    if endpoint.deliveries.under_way().filter(type=WebhookDelivery.PING).exists():
        raise NotNowError("A ping is under way.")
    delivery = WebhookDelivery.objects.create(
        endpoint=endpoint,
        event=uuid7(),
        type=WebhookDelivery.PING,
        traceparent=tracing.current_traceparent(),
    )
    doorbell.ring_after_commit(outbox.SEND_TASK)
    return delivery


def redeliver(delivery: WebhookDelivery) -> None:
    """Send it once more, with as many attempts as a new one. Raises NotNowError."""
    check_active(delivery.endpoint)
    if not send_again(WebhookDelivery.objects.filter(pk=delivery.pk)):
        raise NotNowError("This delivery is under way.")
    delivery.refresh_from_db()


def replay_failures(endpoint: WebhookEndpoint, since: datetime, until: datetime) -> int:
    """Send again what was made in this time and has failed. How many. Raises NotNowError."""
    check_active(endpoint)
    failed = endpoint.deliveries.filter(state=WebhookDelivery.State.FAILED)
    return send_again(failed.filter(created_at__gte=since, created_at__lte=until))


def send_again(deliveries: Any) -> int:
    """Those of active endpoints that have ended. How many."""
    count: int = deliveries.send_again()
    if count:
        doorbell.ring_after_commit(outbox.SEND_TASK)
    return count


def check_active(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_active:
        raise NotNowError("This webhook is not active: set is_active first.")


def end_pending_of_inactive() -> None:
    """For deliveries that were written or put off while their endpoint was deactivated."""
    for endpoint in WebhookEndpoint.objects.inactive_with_pending():
        endpoint.deliveries.fail_pending(endpoint.disabled_reason or DEACTIVATED)


def delete_removed() -> None:
    """Delete the rows of endpoints that their owners have deleted: one chunk of each, the endpoint last."""
    # Transactions that found an endpoint active have ended by then.
    for endpoint in WebhookEndpoint.objects.filter(deleted_at__lt=timezone.now() - LONGEST_TRANSACTION):
        ids = list(endpoint.deliveries.values_list("pk", flat=True)[:DELETED_AT_ONCE])
        WebhookDelivery.objects.filter(pk__in=ids).delete()
        if len(ids) < DELETED_AT_ONCE:
            endpoint.delete()


def disable_flooded() -> None:
    for endpoint in WebhookEndpoint.objects.flooded():
        disable_endpoint(endpoint, f"Over {WebhookEndpoint.MOST_PENDING:,} deliveries waited.")


def seal_anew() -> None:
    """Seal secrets under SECRET_KEY that an earlier key sealed, so that it may be given up."""
    for endpoint in WebhookEndpoint.objects.kept().iterator():
        try:
            seal_under_current_key(endpoint)
        except sealing.UnreadableSecretError:
            log.exception("The secret of webhook %s cannot be read", endpoint.pk)


def seal_under_current_key(endpoint: WebhookEndpoint) -> None:
    for name in ("secret", "previous_secret"):
        sealed = getattr(endpoint, name)
        if sealed and not sealing.is_current(sealed):
            unchanged = WebhookEndpoint.objects.filter(pk=endpoint.pk, **{name: sealed})
            unchanged.update(**{name: sealing.seal(sealing.unseal(sealed))})
