"""From an event to a request: who gets one, what it says, and when it is sent again."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from notifications import tasks
from notifications.models import Event, Mail, WebhookDelivery, WebhookEndpoint, first_id_at
from notifications.webhooks import endpoints
from notifications.webhooks.delivery import deliver
from testing.peers.receivers import Answer

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=count) for count in (1, 60, 3600, 86_400))
# Section 7 of the design.
SCHEDULE = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 24))]


@pytest.fixture(autouse=True)
def _clock(clock):
    pass


def states(endpoint):
    return [delivery.state for delivery in endpoint.deliveries.order_by("pk")]


def test_an_event_is_sent_to_its_users_endpoints_alone(user, stranger, receiver, endpoint, happen, send):
    foreign, _ = endpoints.create_endpoint(stranger, None, url=receiver.url, events=["*"])
    second, _ = endpoints.create_endpoint(user, None, url=receiver.url, events=["*"])
    event = happen()
    assert (states(endpoint), states(second), states(foreign)) == (["pending"], ["pending"], [])
    assert (send(endpoint).state, send(second).state) == ("delivered", "delivered")
    assert receiver.ids == [str(event.pk)] * 2


def test_an_endpoint_gets_the_types_that_it_asked_for(user, receiver, happen):
    endpoint, _ = endpoints.create_endpoint(user, None, url=receiver.url, events=["export.completed"])
    happen("export.failed")
    wanted = happen("export.completed")
    assert [delivery.event for delivery in endpoint.deliveries.all()] == [wanted.pk]


def test_deliveries_are_part_of_the_change(user, endpoint, happen):
    with transaction.atomic():
        happen()
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    assert states(endpoint) == []


def test_nothing_is_written_for_endpoints_that_are_not_active(endpoint, happen):
    endpoints.change_endpoint(endpoint, is_active=False)
    happen()
    assert states(endpoint) == []


def test_users_without_webhooks_cost_one_query(user, happen, django_assert_num_queries):
    with django_assert_num_queries(4):  # SAVEPOINT, endpoints, event, RELEASE
        happen()


def test_a_request_is_signed_as_standard_webhooks_says(receiver, endpoint, secret, happen, send):
    event = happen()
    delivery = send(endpoint)
    (body,) = receiver.verified(secret)
    assert body == {
        "type": "export.failed",
        "timestamp": "2026-11-29T12:00:00Z",
        "data": {
            "export_id": str(event.subject_id),
            "status": "failed",
            "url": f"http://localhost:8000/api/v1/detect/exports/{event.subject_id}",
        },
    }
    (asked,) = receiver.asked
    assert asked.headers["content-type"] == "application/json"
    assert (delivery.state, delivery.status_code, delivery.error) == ("delivered", 204, "")
    assert (delivery.attempts, delivery.claim, delivery.delivered_at) == (1, None, timezone.now())
    assert delivery.request["body"].encode() == asked.body
    assert delivery.request["headers"]["webhook-signature"] == asked.headers["webhook-signature"]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(asked.body + b" ", asked.headers)


def test_it_is_sent_once(receiver, endpoint, happen, send):
    happen()
    send(endpoint)
    assert send(endpoint) is None
    assert len(receiver.asked) == 1


def test_failures_are_repeated_by_the_schedule_under_one_id(receiver, endpoint, secret, happen, send, clock):
    receiver.answers = [Answer(500, b"no")] * 10
    event = happen()
    for wait in SCHEDULE:
        delivery = send(endpoint)
        assert (delivery.state, delivery.error) == ("pending", "answered 500")
        assert wait <= delivery.next_at - timezone.now() <= wait * 1.1
        assert send(endpoint) is None
        clock.move_to(delivery.next_at)
        receiver.verified(secret) if delivery.attempts == 1 else None
    assert send(endpoint).state == "failed"
    delivery.refresh_from_db()
    assert receiver.ids == [str(event.pk)] * 10
    assert len({asked.headers["webhook-timestamp"] for asked in receiver.asked}) == 10
    assert len({asked.body for asked in receiver.asked}) == 1
    assert [(each["status_code"], each["body"]) for each in delivery.response] == [(500, "no")] * 10
    assert endpoint.deliveries.get().attempts == 10


def test_what_comes_back_after_failures_is_delivered(receiver, endpoint, happen, send, clock):
    receiver.answers = [Answer(503)]
    happen()
    first = send(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.failing_since == timezone.now()
    clock.move_to(first.next_at)
    delivery = send(endpoint)
    assert (delivery.state, delivery.attempts, delivery.error) == ("delivered", 2, "")
    assert [each["error"] for each in delivery.response] == ["answered 503", ""]
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 400, 401, 404, 500])
def test_all_but_2xx_is_a_failure(status, receiver, endpoint, happen, send):
    receiver.answers = [Answer(status, headers=(("Location", receiver.url),))]
    happen()
    delivery = send(endpoint)
    assert (delivery.state, delivery.status_code) == ("pending", status)
    assert len(receiver.asked) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_a_success(status, receiver, endpoint, happen, send):
    receiver.answers = [Answer(status)]
    happen()
    assert send(endpoint).state == "delivered"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    "value", ["3600", format_datetime(datetime(2026, 11, 29, 13, tzinfo=UTC), usegmt=True)]
)
def test_retry_after_is_honoured(status, value, receiver, endpoint, happen, send):
    receiver.answers = [Answer(status, headers=(("Retry-After", value),))]
    happen()
    assert send(endpoint).next_at == timezone.now() + HOUR


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (500, "3600"),
        (503, "0"),
        (503, "-5"),
        (503, "soon"),
        (503, "Sun, 29 Nov 2020 13:00:00 GMT"),
        (503, "²"),
        (503, "Sun, 29 Nov 99999999999999999999 13:00:00 GMT"),
        (503, "Sun, 29 Nov 2026 13:00:00 +99999999999999"),
    ],
)
def test_retry_after_never_shortens_and_counts_only_where_it_means_something(
    status, value, receiver, endpoint, happen, send
):
    receiver.answers = [Answer(status, headers=(("Retry-After", value.encode().decode("latin-1")),))]
    happen()
    assert 5 * SECOND <= send(endpoint).next_at - timezone.now() <= 5.5 * SECOND


@pytest.mark.parametrize("value", ["999999999999999999999", "Sun, 29 Nov 2099 13:00:00 GMT"])
def test_retry_after_is_bounded_by_a_day(value, receiver, endpoint, happen, send):
    receiver.answers = [Answer(503, headers=(("Retry-After", value),))]
    happen()
    assert send(endpoint).next_at == timezone.now() + DAY


def test_410_disables_the_endpoint_at_once(user, receiver, endpoint, happen, send):
    receiver.answers = [Answer(410)]
    happen()
    happen()
    send(endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "It answered 410 Gone.")
    assert states(endpoint) == ["failed", "failed"]
    event = user.events.get(type="webhook.disabled")
    assert (event.subject_id, event.data["reason"]) == (endpoint.pk, "It answered 410 Gone.")
    assert [(mail.kind, mail.to) for mail in Mail.objects.all()] == [("webhook_disabled", user.email)]
    assert send(endpoint) is None


def test_five_days_without_a_success_disable_it(user, receiver, endpoint, happen, send, clock):
    receiver.answers = [Answer(500)] * 3
    happen()
    send(endpoint)
    clock.shift(5 * DAY - SECOND)
    send(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.is_active
    clock.shift(10 * MINUTE)
    send(endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "It has failed for 5 days.")
    assert states(endpoint) == ["failed"]
    assert Mail.objects.count() == 1


def test_other_webhooks_of_the_user_hear_that_one_was_disabled(user, receiver, endpoint, happen, send):
    other, _ = endpoints.create_endpoint(user, None, url=receiver.url, events=["webhook.disabled"])
    endpoints.disable_endpoint(endpoint, "It answered 410 Gone.")
    endpoints.disable_endpoint(endpoint, "a second time")
    send(other)
    (asked,) = receiver.asked
    data = json.loads(asked.body)["data"]
    assert data == {"webhook_id": str(endpoint.pk), "description": "", "reason": "It answered 410 Gone."}


def test_one_that_is_activated_again_begins_anew(receiver, endpoint, happen, send):
    receiver.answers = [Answer(410)]
    lost = happen()
    send(endpoint)
    endpoints.change_endpoint(endpoint, is_active=True)
    endpoint.refresh_from_db()
    assert (endpoint.disabled_reason, endpoint.failing_since) == ("", None)
    assert send(endpoint) is None  # what failed is sent again when its owner says so
    assert endpoints.replay_failures(endpoint, timezone.now() - DAY, timezone.now()) == 1
    assert (send(endpoint).state, receiver.ids) == ("delivered", [str(lost.pk)] * 2)


def test_a_failure_that_began_before_a_success_or_an_activation_does_not_disable(
    receiver, endpoint, happen, send
):
    WebhookEndpoint.objects.update(failing_since=timezone.now() - 6 * DAY)
    happen()
    happen()
    slower = WebhookDelivery.objects.claim_of(endpoint.pk)
    send(endpoint)
    receiver.answers = [Answer(500)]
    deliver(slower)
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.failing_since) == (True, None)


def test_a_delivery_whose_worker_dies_is_sent_again_under_its_id(receiver, endpoint, happen, send, clock):
    event = happen()
    assert WebhookDelivery.objects.claim_of(endpoint.pk).attempts == 1
    tasks.sweep_notifications()
    assert send(endpoint) is None
    clock.shift(WebhookDelivery.LEASE + SECOND)
    tasks.sweep_notifications()
    clock.shift(6 * SECOND)
    delivery = send(endpoint)
    assert (delivery.state, delivery.attempts, receiver.ids) == ("delivered", 2, [str(event.pk)])
    assert delivery.response[0]["error"] == "The worker that was sending it has not come back."


def test_what_a_killed_worker_had_begun_to_send_is_sent_again_unchanged(
    receiver, endpoint, happen, send, clock, monkeypatch
):
    def die(*_):
        raise SystemExit

    event = happen(data={"status": "failed"})
    with monkeypatch.context() as patched:
        patched.setattr("notifications.webhooks.sending.post", die)
        with pytest.raises(SystemExit):
            send(endpoint)
    Event.objects.filter(pk=event.pk).update(data={"status": "changed meanwhile"})
    clock.shift(WebhookDelivery.LEASE + SECOND)
    tasks.sweep_notifications()
    clock.shift(6 * SECOND)
    assert send(endpoint).state == "delivered"
    assert json.loads(receiver.asked[0].body)["data"]["status"] == "failed"


def test_a_late_worker_writes_nothing(receiver, endpoint, happen, send, clock):
    happen()
    late = WebhookDelivery.objects.claim_of(endpoint.pk)
    clock.shift(WebhookDelivery.LEASE + SECOND)
    tasks.sweep_notifications()
    deliver(late)
    assert late.end("failed", error="late") is False
    assert (states(endpoint), receiver.asked) == (["pending"], [])


def test_at_most_two_of_an_endpoint_are_under_way(user, receiver, endpoint, happen):
    other, _ = endpoints.create_endpoint(user, None, url=receiver.url, events=["*"])
    for _ in range(3):
        happen()
    claimed = [WebhookDelivery.objects.claim_of(endpoint.pk) for _ in range(3)]
    assert [bool(each) for each in claimed] == [True, True, False]
    assert [each.pk for each in WebhookEndpoint.objects.ready(timezone.now())] == [other.pk]
    claimed[0].end("delivered")
    assert WebhookDelivery.objects.claim_of(endpoint.pk)


def test_ready_endpoints_are_active_and_have_a_delivery_that_is_due(user, receiver, happen, clock):
    made = [endpoints.create_endpoint(user, None, url=receiver.url, events=["*"])[0] for _ in range(5)]
    happen()
    made[0].deliveries.update(state="delivered")
    made[1].deliveries.update(next_at=timezone.now() + SECOND)
    WebhookEndpoint.objects.filter(pk=made[2].pk).update(is_active=False)
    WebhookEndpoint.objects.filter(pk=made[4].pk).update(failing_since=timezone.now())

    def ready():
        found = WebhookEndpoint.objects.ready(timezone.now())
        return sorted((made.index(WebhookEndpoint(pk=each.pk)), each.is_failing) for each in found)

    assert ready() == [(3, False), (4, True)]
    clock.shift(SECOND)
    assert ready() == [(1, False), (3, False), (4, True)]


def test_nothing_is_sent_for_a_user_who_is_deactivated_until_they_are_active(user, endpoint, happen, send):
    happen()
    user.is_active = False
    user.save(update_fields=["is_active"])
    assert WebhookEndpoint.objects.ready(timezone.now()) == []
    assert send(endpoint) is None
    user.is_active = True
    user.save(update_fields=["is_active"])
    assert WebhookEndpoint.objects.ready(timezone.now())
    assert send(endpoint).state == "delivered"


def test_what_was_written_for_an_endpoint_as_it_was_deactivated_is_ended(endpoint, happen):
    happen()
    WebhookEndpoint.objects.update(is_active=False)
    tasks.sweep_notifications()
    assert [(each.state, each.error) for each in endpoint.deliveries.all()] == [
        ("failed", "The webhook was deactivated.")
    ]


def test_a_deleted_endpoint_gets_nothing_and_its_rows_go_in_chunks(
    endpoint, happen, send, clock, monkeypatch
):
    monkeypatch.setattr(endpoints, "DELETED_AT_ONCE", 1)
    happen()
    endpoints.remove_endpoint(endpoint)
    happen()
    assert send(endpoint) is None
    assert WebhookDelivery.objects.count() == 1
    clock.shift(2 * MINUTE)
    tasks.sweep_notifications()
    assert not WebhookDelivery.objects.exists()
    tasks.sweep_notifications()
    assert not WebhookEndpoint.objects.exists()


def test_a_ping_is_tried_once(receiver, endpoint, secret, send):
    receiver.answers = [Answer(500)]
    ping = endpoints.ping_endpoint(endpoint)
    with pytest.raises(endpoints.NotNowError):
        endpoints.ping_endpoint(endpoint)
    delivery = send(endpoint)
    assert (delivery.pk, delivery.state, delivery.attempts) == (ping.pk, "failed", 1)
    assert receiver.verified(secret)[0]["type"] == "ping"
    assert receiver.ids == [str(ping.event)]
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


def test_a_redelivery_keeps_the_id_and_has_all_attempts(receiver, endpoint, happen, send, clock):
    event = happen()
    delivery = send(endpoint)
    clock.shift(HOUR)
    endpoints.redeliver(delivery)
    with pytest.raises(endpoints.NotNowError):
        endpoints.redeliver(delivery)
    again = send(endpoint)
    assert (again.state, again.attempts, len(again.response)) == ("delivered", 1, 2)
    assert receiver.ids == [str(event.pk)] * 2


def test_a_replay_takes_the_failures_of_its_time(endpoint, happen, clock):
    start = timezone.now()
    for _ in range(4):
        happen()
        clock.shift(HOUR)
    endpoint.deliveries.update(state="failed")
    WebhookDelivery.objects.filter(pk=endpoint.deliveries.order_by("pk")[1].pk).update(state="delivered")
    assert endpoints.replay_failures(endpoint, start, start + 2 * HOUR) == 2
    assert states(endpoint) == ["pending", "delivered", "pending", "failed"]


def test_during_a_rotation_both_secrets_verify(receiver, endpoint, secret, happen, send, clock):
    new = endpoints.rotate_secret(endpoint)
    happen()
    send(endpoint)
    receiver.verified(secret)
    receiver.verified(new)
    clock.shift(DAY)
    receiver.asked.clear()
    happen()
    send(endpoint)
    receiver.verified(new)
    with pytest.raises(WebhookVerificationError):
        receiver.verified(secret)


def test_secrets_are_sealed_and_survive_a_new_secret_key(receiver, endpoint, secret, happen, send, settings):
    endpoint.refresh_from_db()
    assert secret not in str(vars(endpoint))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key of the server" * 2, [settings.SECRET_KEY]
    happen()
    send(endpoint)
    receiver.verified(secret)
    tasks.delete_old_rows()
    settings.SECRET_KEY_FALLBACKS = []
    happen()
    send(endpoint)
    assert len(receiver.verified(secret)) == 2


def test_a_secret_that_no_key_opens_is_said_in_the_log(receiver, endpoint, happen, send, settings):
    settings.SECRET_KEY = "a new key of the server" * 2
    happen()
    delivery = send(endpoint)
    assert (delivery.state, delivery.error) == ("pending", "The secret cannot be read: rotate it.")
    tasks.delete_old_rows()
    assert receiver.asked == []


def test_an_event_that_was_deleted_meanwhile_fails_its_delivery(receiver, endpoint, happen, send):
    happen()
    Event.objects.all().delete()
    assert send(endpoint).error == "The event is kept no longer."
    assert receiver.asked == []


def test_the_log_is_kept_for_90_days(endpoint):
    for age in (90 * DAY - HOUR, 90 * DAY + HOUR):
        moment = timezone.now() - age
        endpoint.deliveries.create(pk=first_id_at(moment), created_at=moment, event=endpoint.pk, type="ping")
    tasks.delete_old_rows()
    assert endpoint.deliveries.get().created_at > timezone.now() - 90 * DAY


def test_an_endpoint_with_too_much_waiting_is_disabled(endpoint, happen, monkeypatch):
    monkeypatch.setattr(WebhookEndpoint, "MOST_PENDING", 2)
    for _ in range(3):
        happen()
    tasks.delete_old_rows()
    endpoint.refresh_from_db()
    assert endpoint.is_active  # it works, and is only slow
    WebhookEndpoint.objects.update(failing_since=timezone.now())
    tasks.delete_old_rows()
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "Over 2 deliveries waited.")


def test_the_answers_of_the_last_20_attempts_are_kept(endpoint, happen, send):
    happen()
    delivery = send(endpoint)
    for _ in range(25):
        endpoints.redeliver(delivery)
        delivery = send(endpoint)
    assert len(delivery.response) == 20
