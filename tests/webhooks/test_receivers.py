"""The receivers of docs/webhooks.md: which requests they accept."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from notifications.webhooks import sending
from tests.webhooks.conftest import new_secret

BODY = json.dumps(
    {
        "type": "detection.completed",
        "timestamp": "2026-11-29T16:02:03.104881Z",
        "data": {"name": "Straße 漢字 \N{CAT}", "objects": {"person": 4}},
    },
    ensure_ascii=False,
).encode()


def signed(*secrets, body=BODY, age=timedelta(), event_id=None):
    """The headers that ObjectVision sends."""
    return sending.signed_headers(event_id or str(uuid4()), list(secrets), body, datetime.now(UTC) - age)


def signed_by_library(secret):
    """Those that the library of Standard Webhooks makes."""
    event_id, now = str(uuid4()), datetime.now(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, BODY.decode()),
    }


@pytest.mark.parametrize("sign", [signed, signed_by_library])
def test_a_signed_request_is_accepted_and_stored(receiver, sign):
    headers = sign(receiver.secret)
    assert receiver.post(headers, BODY) == 204
    assert headers["webhook-id"] in receiver.stored()


def printed(receiver):
    return receiver.log().count("detection.completed")


def test_a_request_that_comes_again_is_accepted_and_stored_once(receiver):
    event_id, before = str(uuid4()), printed(receiver)
    for age in (timedelta(), timedelta(minutes=4)):  # each attempt has a signature of its own
        assert receiver.post(signed(receiver.secret, age=age, event_id=event_id), BODY) == 204
    assert receiver.stored().count(event_id) == 1
    assert printed(receiver) - before == receiver.prints


def test_the_same_request_many_times_at_once_is_stored_once(receiver):
    headers, before = signed(receiver.secret), printed(receiver)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: receiver.post(headers, BODY), range(8)))
    assert set(statuses) == {204}
    assert receiver.stored().count(headers["webhook-id"]) == 1
    assert printed(receiver) - before == receiver.prints


def test_during_a_rotation_receivers_with_either_secret_accept(receiver):
    other = new_secret()
    for secrets in ([receiver.secret, other], [other, receiver.secret]):
        assert receiver.post(signed(*secrets), BODY) == 204
    assert receiver.post(signed(other, new_secret()), BODY) == 400


def without(name):
    return lambda headers: {key: value for key, value in headers.items() if key != name}


def with_header(name, value):
    return lambda headers: {**headers, name: value}


CHANGES = {
    "without a signature": without("webhook-signature"),
    "without a time": without("webhook-timestamp"),
    "without an id": without("webhook-id"),
    "with another id": with_header("webhook-id", "01a22f3d-1f7a-7b02-a6c8-2d0cf3b9a9e4"),
    "with a later time": lambda headers: {
        **headers,
        "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1),
    },
    "with a time that is no number": with_header("webhook-timestamp", "soon"),
    "with a time that is not finite": with_header("webhook-timestamp", "nan"),
    "with an empty signature": with_header("webhook-signature", "v1,"),
    "with half a signature": with_header("webhook-signature", "v1"),
    "with a short signature": with_header("webhook-signature", "v1,AAAA"),
    "with a signature of another kind": lambda headers: {
        **headers,
        "webhook-signature": headers["webhook-signature"].replace("v1,", "v2,"),
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_request_with_changed_headers_is_refused(receiver, change):
    before = receiver.stored()
    assert receiver.post(change(signed(receiver.secret)), BODY) == 400
    assert receiver.stored() == before


@pytest.mark.parametrize("body", [BODY.replace(b"4", b"5"), BODY + b" ", b"", b"\xff" + BODY])
def test_a_changed_body_is_refused(receiver, body):
    before = receiver.stored()
    assert receiver.post(signed(receiver.secret), body) == 400
    assert receiver.stored() == before


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)], ids=["old", "from the future"])
def test_a_request_from_over_five_minutes_away_is_refused(receiver, age):
    before = receiver.stored()
    assert receiver.post(signed(receiver.secret, age=age), BODY) == 400
    assert receiver.stored() == before


def test_a_request_signed_by_a_foreign_secret_is_refused(receiver):
    before = receiver.stored()
    assert receiver.post(signed(new_secret()), BODY) == 400
    assert receiver.stored() == before


def test_a_body_that_is_far_too_long_is_not_stored(receiver):
    long = BODY.replace(b"person", b"p" * 3_000_000)
    headers = signed(receiver.secret, body=long)
    assert receiver.post(headers, long) in {400, 413}
    assert headers["webhook-id"] not in receiver.stored()
