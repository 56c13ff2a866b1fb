"""Answers with an ETag: a client that has the answer already gets a 304."""

from datetime import timedelta
from itertools import combinations, product

import pytest
from django.utils import timezone

from accounts import keys
from detections.api import detections as view
from detections.jobs import actions, processing, progress
from detections.jobs.reprocessing import Reprocessing
from detections.models import Detection, DetectionImage
from testing.files.pictures import photo

pytestmark = pytest.mark.django_db(transaction=True)

HISTORY = "/api/v1/detect/history"


@pytest.fixture
def done(submit, user):
    detection = submit(user, photo(), photo())
    processing.process_waiting()
    detection.refresh_from_db()
    return detection


def url(detection):
    return f"/api/v1/detect/{detection.pk}"


def job_url(detection):
    return f"/api/v1/detect/jobs/{detection.pk}"


def addresses(detection):
    return [url(detection), job_url(detection), HISTORY, f"{HISTORY}?limit=1"]


def tag(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return response["ETag"]


def ask(client, address, known, method="get"):
    return getattr(client, method)(address, headers={"If-None-Match": known})


def test_an_answer_that_the_client_has_is_a_304(api, user, done):
    client = api(user)
    ways = product(addresses(done), ("get", "head"), ("{}", "W/{}", '"another", {}', "*"))
    for address, method, known in ways:
        first = client.get(address)
        again = ask(client, address, known.format(first["ETag"]), method)
        assert (again.status_code, again.content) == (304, b"")
        kept = ("ETag", "Cache-Control", "Vary")
        assert [again[name] for name in kept] == [first[name] for name in kept]
        assert first["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "X-API-Key"} <= set(first["Vary"].split(", "))


def test_an_answer_that_the_client_does_not_have_is_sent_whole(api, user, done):
    client = api(user)
    for address in addresses(done):
        whole = client.get(address)
        for known in ('"another"', "", "nonsense"):
            again = ask(client, address, known)
            assert (again.status_code, again.json()) == (200, whole.json())
        head = client.head(address)
        assert (head.status_code, head["ETag"]) == (200, whole["ETag"])


def test_a_compressed_answer_has_the_same_tag(api, user, done):
    client = api(user)
    response = client.get(url(done), headers={"Accept-Encoding": "gzip"})
    assert (response["Content-Encoding"], response["ETag"]) == ("gzip", f"W/{tag(client, url(done))}")
    again = client.get(url(done), headers={"Accept-Encoding": "gzip", "If-None-Match": response["ETag"]})
    assert again.status_code == 304


def test_a_304_costs_few_queries(api, user, done, django_assert_num_queries):
    client = api(user)
    for address, queries in ((url(done), 2), (job_url(done), 1), (HISTORY, 1)):
        known = tag(client, address)
        with django_assert_num_queries(queries):  # the session with its user; the detection
            assert ask(client, address, known).status_code == 304


def steps(detector, detection):
    """All that happens to a detection of two images, and what changes by it."""
    loaded = processing.cached_detector(detector.path, detector.backend)
    claims = []

    def claim():
        claims.append(DetectionImage.objects.claim(detector, 1))

    yield "detection", claim
    yield "all", lambda: progress.begin_detections(claims[0])
    yield "detection", lambda: processing.release_left_out(claims[0], [claims[0].images[0].pk])
    yield "detection", claim
    yield "all", lambda: processing.process_claim(claims[1], loaded)
    yield "all", lambda: actions.cancel(detection.pk)
    yield (
        "detection",
        lambda: Detection.objects.filter(pk=detection.pk).update(
            status="completed", updated_at=timezone.now()
        ),
    )
    reprocessing = Reprocessing(Detection.objects.all(), timezone.now() + timedelta(hours=1))
    yield "all", lambda: reprocessing.put_back([detection.pk])
    yield "all", processing.process_waiting


def test_each_step_of_processing_changes_the_tags(api, user, submit, detector):
    detection = submit(user, photo(), photo())
    client = api(user)
    seen = [{address: tag(client, address) for address in addresses(detection)}]
    answers = [client.get(url(detection)).json()]
    for changed, step in steps(detector, detection):
        step()
        tags = {address: tag(client, address) for address in addresses(detection)}
        answers.append(client.get(url(detection)).json())
        assert answers[-1] != answers[-2]
        expected = [url(detection)] if changed == "detection" else addresses(detection)
        differing = {address for address in tags if tags[address] != seen[-1][address]}
        assert set(expected) <= differing
        seen.append(tags)
    own = [tags[url(detection)] for tags in seen]
    for one, other in combinations(range(len(own)), 2):
        assert (own[one] == own[other]) == (answers[one] == answers[other])


def test_a_new_name_changes_the_tags(api, user, done):
    client = api(user)
    known = {address: tag(client, address) for address in (url(done), HISTORY)}
    assert client.patch(url(done), {"name": "Car park"}).status_code == 200
    for address, before in known.items():
        response = ask(client, address, before)
        assert (response.status_code, b"Car park" in response.content) == (200, True)


def test_a_job_s_place_in_the_queue_changes_its_tag(api, user, stranger, submit, detector):
    submit(stranger, photo())
    waiting = submit(user, photo())
    client = api(user)
    before = client.get(job_url(waiting))
    processing.process_claim(
        DetectionImage.objects.claim(detector, 1),
        processing.cached_detector(detector.path, detector.backend),
    )
    after = ask(client, job_url(waiting), before["ETag"])
    assert [each.json()["queue_position"] for each in (before, after)] == [2, 1]


def test_another_user_s_tag_or_another_question_s_is_not_known(api, user, stranger, done, submit):
    submit(stranger, photo())
    mine, theirs = api(user), api(stranger)
    tags = {tag(client, f"{HISTORY}{query}") for client in (mine, theirs) for query in ("", "?limit=1")}
    assert len(tags) == 4
    assert ask(theirs, HISTORY, tag(mine, HISTORY)).status_code == 200
    assert ask(theirs, url(done), tag(mine, url(done))).status_code == 404
    assert ask(theirs, job_url(done), tag(mine, job_url(done))).status_code == 404


def test_a_tag_opens_nothing_to_a_key_without_the_scope(api, user, done):
    _, raw = keys.issue(user, "Camera", ["detect"], None)
    for address in addresses(done):
        headers = {"If-None-Match": tag(api(user), address), "X-API-Key": raw}
        assert api().get(address, headers=headers).status_code == 403
        assert api().get(address, headers={"If-None-Match": "*"}).status_code == 401


def test_a_tag_of_the_history_lasts_five_minutes_at_most(api, user, done, time_machine, monkeypatch):
    """For a change that could not be told to the cache before its process ended."""
    time_machine.move_to(timezone.now().replace(second=0, microsecond=0), tick=False)
    client = api(user)
    known = tag(client, HISTORY)
    assert ask(client, HISTORY, known).status_code == 304
    time_machine.shift(view.KEPT_SECONDS)
    assert ask(client, HISTORY, known).status_code == 200


def test_within_a_transaction_the_history_has_no_tag(api, user, done):
    from django.db import transaction

    with transaction.atomic():
        response = ask(api(user), HISTORY, "*")
    assert (response.status_code, response.headers.get("ETag")) == (200, None)
    assert response["Cache-Control"] == "no-store"
