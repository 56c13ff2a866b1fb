"""An upload repeated with the same Idempotency-Key makes one detection."""

import pytest

from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage
from testing.api import BATCH, IMAGE, faults, send_batch
from testing.files.pictures import photo

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


KEY = {"Idempotency-Key": "order-66"}


def test_repeating_a_request_with_its_key_answers_with_the_same_detection(api, user, detector):
    client = api(user)
    first = send_batch(client, photo(), name="Once", headers=KEY)
    process_waiting()
    again = send_batch(client, photo(), name="Once", headers=KEY)
    assert first.status_code == again.status_code == 202
    assert again.json()["detection_id"] == first.json()["detection_id"]
    assert (first.json()["status"], again.json()["status"]) == ("pending", "completed")
    assert Detection.objects.count() == DetectionImage.objects.count() == 1
    waited = send_batch(client, photo(), name="Once", headers={**KEY, "Prefer": "wait=5"})
    assert (waited.status_code, waited.json()["id"]) == (200, first.json()["detection_id"])


@pytest.mark.parametrize(
    "other",
    [
        {"contents": [photo(colour=BLACK)], "name": "Once"},
        {"contents": [photo()], "name": "Twice"},
        {"contents": [photo(), photo()], "name": "Once"},
        {"contents": [photo()]},
        {"contents": [b"no picture"], "name": "Once"},
    ],
)
def test_a_different_request_with_the_same_key_is_refused(api, user, detector, other):
    client = api(user)
    send_batch(client, photo(), name="Once", headers=KEY)
    response = send_batch(client, *other.pop("contents"), headers=KEY, **other)
    assert faults(response, 422) == [("idempotency_key_reused", None)]
    assert Detection.objects.count() == 1


def test_a_refused_request_leaves_its_key_free(api, user, detector):
    assert send_batch(api(user), b"no picture", headers=KEY).status_code == 400
    assert send_batch(api(user), photo(), headers=KEY).status_code == 202


def test_two_users_may_use_the_same_key(api, user, stranger, detector):
    first, second = (
        send_batch(api(who), photo(), headers=KEY).json()["detection_id"] for who in (user, stranger)
    )
    assert first != second


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "schlüssel"])
def test_a_malformed_key_is_refused(api, user, detector, nothing_stored, key):
    response = send_batch(api(user), photo(), headers={"Idempotency-Key": key})
    assert faults(response) == [("invalid", "Idempotency-Key")]


@pytest.mark.parametrize("path", [BATCH, IMAGE])
def test_a_key_without_a_body_answers_400(api, user, detector, nothing_stored, path):
    response = api(user).generic("POST", path, headers=KEY)
    assert response.status_code == 400
    assert {error["code"] for error in response.json()["errors"]} == {"required"}


@pytest.mark.postgresql
def test_twenty_concurrent_requests_with_one_key_make_one_detection(api, user, detector, at_once, media):
    clients = [api(user) for _ in range(20)]
    answers = at_once(
        *[lambda client=client: send_batch(client, photo(), photo(), headers=KEY) for client in clients]
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["detection_id"] for answer in answers}) == 1
    assert (Detection.objects.count(), DetectionImage.objects.count()) == (1, 2)
    assert len([path for path in media.rglob("*") if path.is_file()]) == 2
