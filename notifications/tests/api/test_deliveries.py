"""The log of what was sent to a webhook, and sending it again."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from uuid_utils.compat import uuid7

from notifications import outbox
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.tests.api.conftest import ANSWER, BEGIN, REQUEST
from notifications.webhooks import endpoints
from testing.api import faults

URL = "/api/v1/webhooks"
NAMES = [
    "id", "event_id", "type", "state", "attempts", "next_at", "status_code", "error", "duration_ms",
    "created_at", "delivered_at",
]  # fmt: skip  # a list to read at a glance


def place(webhook, *rest):
    return "/".join([URL, str(webhook.pk), *map(str, rest)])


def log(webhook, delivery=None, *rest):
    return place(webhook, "deliveries", *([delivery.pk] if delivery else []), *rest)


def ids(response):
    return [item["id"] for item in response.json()["items"]]


def test_the_log_shows_deliveries_newest_first_without_what_was_sent(
    api, user, webhook, make_webhook, make_delivery
):
    first, second = make_delivery(webhook), make_delivery(webhook, "pending", minutes=1)
    make_delivery(make_webhook())
    with CaptureQueriesContext(connection) as queries:
        response = api(user).get(log(webhook))
    assert ids(response) == [str(second.pk), str(first.pk)]
    waiting, failed = response.json()["items"]
    assert list(failed) == NAMES
    assert failed == {
        "id": str(first.pk),
        "event_id": str(first.event),
        "type": "export.failed",
        "state": "failed",
        "attempts": 0,
        "next_at": None,
        "status_code": None,
        "error": "",
        "duration_ms": None,
        "created_at": "2026-11-29T12:00:00Z",
        "delivered_at": None,
    }
    assert (waiting["state"], waiting["next_at"]) == ("pending", "2026-11-29T12:01:00Z")
    reads = [query["sql"] for query in queries if "webhookdelivery" in query["sql"]]
    assert reads
    assert [sql for sql in reads if '"response"' in sql or '"request"' in sql] == []


@pytest.mark.parametrize("state", WebhookDelivery.State.values)
def test_the_log_can_be_narrowed_to_a_state(api, user, webhook, make_delivery, state):
    made = {name: make_delivery(webhook, name) for name in WebhookDelivery.State.values}
    answer = api(user).get(log(webhook), {"state": state})
    assert ids(answer) == [str(made[state].pk)]
    assert answer.json()["total"] == 1


@pytest.mark.parametrize("state", ["", "done", "FAILED", "failed,pending", "failed\0"])
def test_a_state_that_there_is_not_is_refused(api, user, webhook, state):
    (fault,) = faults(api(user).get(log(webhook), {"state": state}))
    assert fault[1] == "state"


def test_the_log_has_pages(api, user, webhook, make_delivery):
    made = [str(make_delivery(webhook, minutes=minutes).pk) for minutes in range(5)]
    answer = api(user).get(log(webhook), {"state": "failed", "limit": 2, "offset": 2})
    assert ids(answer) == [made[2], made[1]]
    assert {name: answer.json()[name] for name in ("total", "limit", "offset")} == {
        "total": 5,
        "limit": 2,
        "offset": 2,
    }


@pytest.mark.parametrize("rows", [1, 3])
def test_the_log_takes_three_queries(api, user, webhook, make_delivery, django_assert_num_queries, rows):
    for _ in range(rows):
        make_delivery(webhook)
    client = api(user)
    with django_assert_num_queries(3):  # the session with its user; the webhook; its deliveries
        assert client.get(log(webhook)).json()["total"] == rows


def test_a_delivery_shows_what_was_sent_and_each_answer(api, user, webhook, make_delivery):
    delivery = make_delivery(webhook)
    response = api(user).get(log(webhook, delivery))
    answer = response.json()
    assert list(answer) == [*NAMES, "request", "responses"]
    assert (answer["request"], answer["responses"]) == (REQUEST, [ANSWER])
    # The receiver's HTML is text in our JSON, which no browser takes for a page.
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_delivery_before_its_first_attempt_shows_no_request(api, user, webhook, make_delivery):
    delivery = make_delivery(webhook, "pending", request={}, response=[])
    answer = api(user).get(log(webhook, delivery)).json()
    assert (answer["request"], answer["responses"]) == (None, [])


def test_an_attempt_whose_worker_was_lost_shows_what_is_known(api, user, webhook, make_delivery):
    delivery = make_delivery(
        webhook, "sending", request={}, response=[], attempts=1, claimed_at=BEGIN, claim=uuid7()
    )
    delivery.lose_worker()
    answer = api(user).get(log(webhook, delivery)).json()
    assert answer["responses"] == [
        {
            "at": "2026-11-29T12:00:00Z",
            "status_code": None,
            "error": "The worker that was sending it has not come back.",
            "duration_ms": None,
            "headers": {},
            "body": "",
            "truncated": False,
        }
    ]


# Ping


def test_a_ping_is_a_delivery_that_waits(api, user, webhook, rings, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = api(user).post(place(webhook, "ping"))
    assert response.status_code == 202
    row = WebhookDelivery.objects.get()
    answer = response.json()
    assert list(answer) == NAMES
    assert (answer["id"], answer["event_id"]) == (str(row.pk), str(row.event))
    assert (answer["type"], answer["state"], answer["attempts"]) == ("ping", "pending", 0)
    assert (row.endpoint, row.type, row.state) == (webhook, "ping", "pending")
    assert rings == [outbox.SEND_TASK]


@pytest.mark.parametrize("state", ["pending", "sending"])
def test_one_ping_goes_at_a_time(api, user, webhook, make_delivery, state):
    make_delivery(webhook, state, type="ping")
    assert faults(api(user).post(place(webhook, "ping")), 409) == [("not_now", None)]
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.postgresql
def test_a_ping_waits_for_another_one_of_its_user(transactional_db, api, user, webhook, rings):
    client = api(user)

    def ping():
        try:
            return client.post(place(webhook, "ping"))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with user.locked():
            endpoints.ping_endpoint(webhook)
            answer = thread.submit(ping)
            with pytest.raises(FutureTimeout):
                answer.result(1)
        assert faults(answer.result(20), 409) == [("not_now", None)]
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.parametrize("deed", ["ping", "replay", "redeliver"])
def test_nothing_is_sent_to_a_webhook_that_is_not_active(api, user, webhook, make_delivery, rings, deed):
    delivery = make_delivery(webhook)
    WebhookEndpoint.objects.update(is_active=False)
    paths = {"redeliver": log(webhook, delivery, "redeliver")}
    body = {"since": "2026-01-01T00:00:00Z"} if deed == "replay" else None
    response = api(user).post(paths.get(deed, place(webhook, deed)), body)
    assert faults(response, 409) == [("not_now", None)]
    assert "is_active" in response.json()["errors"][0]["detail"]
    assert [(row.state, row.attempts) for row in WebhookDelivery.objects.all()] == [("failed", 0)]


# Redeliver


@pytest.mark.parametrize("state", ["delivered", "failed"])
def test_a_delivery_that_has_ended_is_sent_again(
    api, user, webhook, make_delivery, rings, django_capture_on_commit_callbacks, state
):
    delivery, other = make_delivery(webhook, state, attempts=10), make_delivery(webhook, state, attempts=10)
    with django_capture_on_commit_callbacks(execute=True):
        response = api(user).post(log(webhook, delivery, "redeliver"))
    assert response.status_code == 202
    answer = response.json()
    assert (answer["id"], answer["event_id"]) == (str(delivery.pk), str(delivery.event))
    assert (answer["state"], answer["attempts"], answer["delivered_at"]) == ("pending", 0, None)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.response) == ("pending", 0, [ANSWER])
    other.refresh_from_db()
    assert (other.state, other.attempts) == (state, 10)
    assert rings == [outbox.SEND_TASK]


@pytest.mark.parametrize("state", ["pending", "sending"])
def test_a_delivery_that_is_under_way_is_not_sent_a_second_time(api, user, webhook, make_delivery, state):
    delivery = make_delivery(webhook, state, attempts=3)
    assert faults(api(user).post(log(webhook, delivery, "redeliver")), 409) == [("not_now", None)]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (state, 3)


def test_of_two_that_send_a_delivery_again_one_does(api, user, webhook, make_delivery, at_once, rings):
    delivery = make_delivery(webhook)
    clients = [api(user) for _ in range(4)]
    path = log(webhook, delivery, "redeliver")
    asks = [lambda client=client: client.post(path).status_code for client in clients]
    assert sorted(at_once(*asks)) == [202, 409, 409, 409]


# Replay


def test_what_failed_in_a_time_is_sent_again(
    api, user, stranger, make_webhook, make_delivery, rings, django_capture_on_commit_callbacks
):
    webhook, other, foreign = make_webhook(), make_webhook(), make_webhook(stranger)
    within = [make_delivery(webhook, minutes=minutes, attempts=10) for minutes in (10, 15, 20)]
    kept = [make_delivery(webhook, minutes=minutes) for minutes in (9, 21)]
    kept += [make_delivery(webhook, state, minutes=15) for state in ("delivered", "pending", "sending")]
    kept += [make_delivery(each, minutes=15) for each in (other, foreign)]
    before = list(WebhookDelivery.objects.filter(pk__in=[row.pk for row in kept]).values())
    period = {"since": "2026-11-29T12:10:00Z", "until": "2026-11-29T13:20:00+01:00"}
    with django_capture_on_commit_callbacks(execute=True):
        response = api(user).post(place(webhook, "replay"), period)
    assert (response.status_code, response.json()) == (202, {"count": 3})
    for delivery in within:
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts) == ("pending", 0)
    assert list(WebhookDelivery.objects.filter(pk__in=[row.pk for row in kept]).values()) == before
    assert rings == [outbox.SEND_TASK]


def test_a_replay_without_an_end_goes_on_until_now(api, user, webhook, make_delivery):
    make_delivery(webhook, created_at=BEGIN - timedelta(days=300))
    body = {"since": "2025-12-01T00:00:00Z"}
    assert api(user).post(place(webhook, "replay"), body).json() == {"count": 1}
    assert api(user).post(place(webhook, "replay"), body).json() == {"count": 0}


@pytest.mark.parametrize(
    "period",
    [
        {"since": "0001-01-01T00:00:00Z"},
        {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"},
        {"since": "1970-01-01"},
    ],
)
def test_a_replay_takes_any_time(api, user, webhook, make_delivery, period):
    make_delivery(webhook)
    assert api(user).post(place(webhook, "replay"), period).json() == {"count": 1}


@pytest.mark.parametrize(
    ("period", "fault"),
    [
        ({}, ("required", "since")),
        ({"until": "2026-01-01T00:00:00Z"}, ("required", "since")),
        ({"since": None}, ("null", "since")),
        ({"since": "yesterday"}, ("invalid", "since")),
        ({"since": 1e300}, ("invalid", "since")),
        ({"since": ["2026-01-01T00:00:00Z"]}, ("invalid", "since")),
        ({"since": "0001-01-01T00:00:00+14:00"}, ("overflow", "since")),
        ({"since": "9999-12-31T23:59:59-14:00"}, ("overflow", "since")),
        ({"since": "2999-01-01T00:00:00Z"}, ("invalid", "since")),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, ("invalid", "since")),
        ({"since": "2026-01-01T00:00:00Z", "until": None}, ("null", "until")),
        ({"since": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, ("unknown_field", "to")),
    ],
)
def test_a_time_that_there_is_not_is_refused(api, user, webhook, make_delivery, period, fault):
    make_delivery(webhook)
    assert faults(api(user).post(place(webhook, "replay"), period)) == [fault]
    assert WebhookDelivery.objects.get().state == "failed"


# Keys and other users


def test_a_key_with_the_scope_account_reads_the_log_and_sends_again(keyed, webhook, make_delivery, rings):
    delivery = make_delivery(webhook)
    client = keyed("account")
    assert ids(client.get(log(webhook))) == [str(delivery.pk)]
    assert client.get(log(webhook, delivery)).json()["request"] == REQUEST
    assert client.post(log(webhook, delivery, "redeliver")).status_code == 202
    assert client.post(place(webhook, "ping")).status_code == 202
    assert client.post(place(webhook, "replay"), {"since": "2026-01-01T00:00:00Z"}).json() == {"count": 0}


@pytest.mark.parametrize("whose", ["own", "foreign"])
def test_a_delivery_is_found_under_its_own_webhook_alone(
    api, user, stranger, make_webhook, make_delivery, whose
):
    webhook, other = make_webhook(), make_webhook(user if whose == "own" else stranger)
    delivery = make_delivery(other)
    before = WebhookDelivery.objects.values().get()
    client = api(user)
    missing = client.get(log(webhook, webhook)).json()
    for response in (
        client.get(log(webhook, delivery)),
        client.get(f"{log(webhook, delivery)}?nonesuch=1"),
        client.post(log(webhook, delivery, "redeliver")),
        client.post(log(webhook, delivery, "redeliver"), {"nonesuch": 1}),
    ):
        assert (response.status_code, response.json()) == (404, missing)
    assert WebhookDelivery.objects.values().get() == before


def test_no_answer_of_the_log_holds_a_secret(api, user, webhook, make_delivery):
    client = api(user)
    client.post(place(webhook, "rotate-secret"))
    delivery = make_delivery(webhook, "delivered")
    row = WebhookEndpoint.objects.get()
    answers = [
        client.get(log(webhook)),
        client.get(log(webhook, delivery)),
        client.post(log(webhook, delivery, "redeliver")),
        client.post(place(webhook, "ping")),
        client.post(place(webhook, "replay"), {"since": "2026-01-01T00:00:00Z"}),
    ]
    shown = "".join(answer.content.decode() for answer in answers)
    for hidden in ("whsec_", row.secret, row.previous_secret, "secret"):
        assert hidden not in shown
