"""Answers are kept until one of their owner's detections changes, without Redis and with it."""

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from itertools import product
from types import SimpleNamespace
from uuid import uuid4

import pytest
import redis
from django.core.cache import caches
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from accounts import closing, keys
from accounts.models import User
from detections import caching, erasure
from detections.caching import Question
from detections.jobs import actions, processing, progress, sweep
from detections.jobs.reprocessing import Reprocessing
from detections.models import Detection, DetectionImage, DetectionResult
from detections.operations import seeding
from testing.api import change_job, send_batch
from testing.files.pictures import photo
from testing.outages import Gate
from testing.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("unthrottled")]

HISTORY, RESULTS, STATISTICS = "/api/v1/detect/history", "/api/v1/detect/results", "/api/v1/users/statistics"
# Each shows what is kept: a page of the history, totals, statistics.
PAGES = [HISTORY, f"{HISTORY}?limit=1&offset=1", f"{RESULTS}?limit=1", STATISTICS]
QUESTION = Question("test", "What?", 60)


@pytest.fixture(autouse=True)
def present(monkeypatch):
    """No outage of another test is remembered."""
    monkeypatch.setitem(caching._away, "until", 0.0)


@pytest.fixture
def use_redis(settings, read_settings):
    """Uses the Redis of this address, as deployed."""

    def use(url):
        settings.REDIS_URL, settings.CACHES = url, read_settings(REDIS_URL=url)["CACHES"]

    return use


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.services)])
def store(request):
    """Both ways to run."""
    if request.param == "redis":
        request.getfixturevalue("use_redis")(request.getfixturevalue("redis_url"))
    caches["answers"].clear()


@pytest.fixture
def server(use_redis, redis_url):
    """A Redis that a test may shut off: it accepts connections, and answers nothing."""
    target = SimpleNamespace(host="127.0.0.1", port=int(redis_url.rsplit(":")[-1].split("/")[0]))
    with Gate(target) as gate:
        use_redis(f"redis://127.0.0.1:{gate.port}/0")
        yield gate
        gate.open()
        until(lambda: not caching._undropped)


@pytest.fixture
def detect(submit):
    def detect(user, *photos):
        detection = submit(user, *photos or [photo()])
        processing.process_waiting()
        detection.refresh_from_db()
        return detection

    return detect


def answer(client, page):
    response = client.get(page)
    assert response.status_code == 200, response.content
    return response.json()


def answers(client):
    return [answer(client, page) for page in PAGES]


def version(user):
    return caching.find(user.pk, QUESTION)[0]


def flush():
    caches["answers"].clear()


# What is kept


# Queries of the first answer and of the second.
QUERIES = {
    HISTORY: (2, 1),
    f"{HISTORY}?limit=1": (3, 1),
    f"{HISTORY}?limit=1&offset=1": (2, 1),  # the total is known by now
    f"{RESULTS}?limit=1": (5, 4),
    STATISTICS: (7, 1),
    f"{STATISTICS}?days=7": (7, 1),
}


def test_a_second_answer_saves_its_queries(store, api, user, detect, django_assert_num_queries):
    detect(user)
    detect(user)
    client = api(user)
    for page, (first, second) in QUERIES.items():
        with django_assert_num_queries(first):
            made = answer(client, page)
        with django_assert_num_queries(second):
            assert answer(client, page) == made


def test_a_second_status_of_a_job_saves_a_query(store, api, user, submit, django_assert_num_queries):
    detection = submit(user, photo())
    client, path = api(user), f"/api/v1/detect/jobs/{detection.pk}"
    for queries in (3, 2):  # the session, the detection, its place
        with django_assert_num_queries(queries):
            assert answer(client, path)["queue_position"] == 1
    processing.process_waiting()
    for queries in (2, 1):
        with django_assert_num_queries(queries):
            assert answer(client, path)["status"] == "completed"


def test_the_place_in_the_queue_is_never_an_old_one(store, api, user, stranger, submit, detector):
    submit(stranger, photo())
    detection = submit(user, photo())
    client, path = api(user), f"/api/v1/detect/jobs/{detection.pk}"
    assert [answer(client, path)["queue_position"] for _ in range(2)] == [2, 2]
    record(client, detector, detection, count=1)
    assert answer(client, path)["queue_position"] == 1


def test_a_kept_job_is_its_owners_alone_and_gone_once_deleted(store, api, user, stranger, detect):
    detection = detect(user)
    path = f"/api/v1/detect/jobs/{detection.pk}"
    for _ in range(2):
        assert answer(api(user), path)["status"] == "completed"
        assert api(stranger).get(path).status_code == 404
    assert api(user).delete(f"/api/v1/detect/{detection.pk}").status_code == 204
    assert api(user).get(path).status_code == 404


def test_all_pages_of_a_list_share_one_count(store, api, user, detect, django_assert_num_queries):
    detection = detect(user, *[photo()] * 3)
    path = f"/api/v1/detect/{detection.pk}/results"
    client = api(user)
    answer(client, f"{path}?limit=2")
    for offset in (0, 2, 4):
        with django_assert_num_queries(4):  # session, detection, page, its images
            assert answer(client, f"{path}?limit=2&offset={offset}")["total"] == 6
    image = detection.images.first().pk
    with django_assert_num_queries(6):  # and the image, and another count
        assert answer(client, f"{path}?limit=1&image_id={image}")["total"] == 2


def test_other_conditions_have_other_answers(store, api, user, detect):
    detection = detect(user)
    Detection.objects.filter(pk=detection.pk).update(name="Car park")
    client = api(user)
    for search, total in (("park", 1), ("nothing", 0), ("park", 1)):
        assert answer(client, f"{HISTORY}?limit=1&search={search}")["total"] == total
    assert answer(client, f"{RESULTS}?limit=1&object_class=alpha")["total"] == 1
    assert answer(client, f"{RESULTS}?limit=1")["total"] == 2


def test_statistics_of_yesterday_are_not_those_of_today(store, api, user, detect, time_machine):
    time_machine.move_to(timezone.now().replace(hour=23, minute=59, second=59), tick=False)
    detect(user)
    client, path = api(user), f"{STATISTICS}?days=1"
    assert len(answer(client, path)["per_day"]) == 1
    time_machine.shift(timedelta(seconds=1))
    assert answer(client, path)["per_day"] == []


# What drops it


def upload(client, detector, detection):
    assert send_batch(client, photo(), photo()).status_code == 202


def reuse(client, detector, detection):
    assert send_batch(client, photo(), reuse="true").status_code == 202


def begin(client, detector, detection):
    progress.begin_detections(DetectionImage.objects.claim(detector, 1))


def record(client, detector, detection, count=9):
    processing.process_claim(
        DetectionImage.objects.claim(detector, count),
        processing.cached_detector(detector.path, detector.backend),
    )


def cancel(client, detector, detection):
    assert change_job(client, Detection.objects.get(status="pending", user=detection.user), "cancel")


def retry(client, detector, detection):
    assert change_job(client, detection, "retry").json()["status"] == "pending"


def rename(client, detector, detection):
    assert client.patch(f"/api/v1/detect/{detection.pk}", {"name": "Car park"}).status_code == 200


def delete(client, detector, detection):
    assert client.delete(f"/api/v1/detect/{detection.pk}").status_code == 204


def expire(client, detector, detection):
    client.patch("/api/v1/users/settings", {"retention_days": 1})
    Detection.objects.filter(pk=detection.pk).update(created_at=timezone.now() - timedelta(days=2))
    assert erasure.delete_expired_detections() == 1


def reprocess(client, detector, detection):
    run = Reprocessing(Detection.objects.filter(user=detection.user), timezone.now())
    run.put_back([detection.pk])
    assert run.images == 1


def release(client, detector, detection):
    DetectionImage.objects.claim(detector, 1)
    DetectionImage.objects.exclude(claim=None).update(attempts=3, claimed_at=timezone.now() - timedelta(1))
    sweep.sweep_detections()


EVENTS = [upload, reuse, begin, record, cancel, retry, rename, delete, expire, reprocess, release]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_each_change_drops_the_answers_of_its_owner_alone(
    api, user, stranger, detect, submit, detector, event
):
    detection = submit(user, photo(), photo())
    default_storage.delete(detection.images.first().image_path)
    detect(stranger)
    submit(user, photo())
    client = api(user)
    jobs = [f"/api/v1/detect/jobs/{row.pk}" for row in Detection.objects.filter(user=user)]
    for job in jobs:
        answer(client, job)
    earlier, theirs, other = answers(client), answers(api(stranger)), version(stranger)
    before = version(user)
    assert (answers(client), version(user)) == (earlier, before)
    event(client, detector, detection)
    later = answers(client)
    assert (later != earlier, version(user) != before) == (True, True)
    assert version(stranger) == other
    statuses = [client.get(job).content for job in jobs]
    flush()
    assert answers(client) == later
    assert [client.get(job).content for job in jobs] == statuses
    assert answers(api(stranger)) == theirs


def test_each_chunk_of_seeding_drops_the_answers_of_its_owners(detector, monkeypatch):
    monkeypatch.setattr(seeding, "CHUNK", 1)
    versions = set()
    for _ in seeding.Seeding(1, timezone.now(), detector, users=1, detections=3, with_files=0).run():
        versions.add(version(User.objects.get()))
    assert len(versions) == 3


def test_nothing_is_kept_of_an_erased_account(store, api, user, settings):
    answers(api(user))
    closing.close(user)
    before = version(user)
    erasure.erase_closed_accounts()
    assert not (settings.DATA_DIR / "versions" / str(user.pk)).exists()
    assert version(user) != before


def test_a_change_that_is_rolled_back_drops_nothing(store, user, detect):
    detection = detect(user)
    before = version(user)
    with transaction.atomic():
        actions.retry(detection.pk)
        transaction.set_rollback(True)
    assert version(user) == before


def test_an_answer_made_before_a_change_is_not_found_after_it(store, user, submit):
    def made_of_old_rows():
        submit(user, photo())
        return "old"

    assert caching.kept(user.pk, QUESTION, made_of_old_rows) == "old"
    assert caching.find(user.pk, QUESTION)[1] is None
    assert caching.kept(user.pk, QUESTION, lambda: "new") == "new"
    assert caching.kept(user.pk, QUESTION, lambda: "newer") == "new"


def test_an_old_answer_that_arrives_late_does_not_hide_the_new_one(store, user):
    early, _ = caching.find(user.pk, QUESTION)
    caching.drop({user.pk})
    assert caching.kept(user.pk, QUESTION, lambda: "new") == "new"
    caching.keep(user.pk, early, QUESTION, "old")
    assert caching.kept(user.pk, QUESTION, lambda: "new again") == "new again"


def test_readers_at_once_agree_on_one_version(store, user, at_once):
    for _ in range(20):
        caching.drop({user.pk})
        found = at_once(*[lambda: version(user)] * 4)
        assert len({each for each in found if each}) == 1


def test_within_a_transaction_nothing_is_kept_or_found(store, user, submit):
    with transaction.atomic():
        submit(user, photo())
        assert caching.kept(user.pk, QUESTION, lambda: "uncommitted") == "uncommitted"
        assert caching.find(user.pk, QUESTION) == (None, None)
        transaction.set_rollback(True)
    assert caching.find(user.pk, QUESTION)[1] is None


def test_an_answer_that_another_version_of_the_program_kept_is_not_found(store, user, monkeypatch):
    assert caching.kept(user.pk, QUESTION, lambda: "old form") == "old form"
    monkeypatch.setattr(caching, "__version__", "9.9.9")
    assert caching.kept(user.pk, QUESTION, lambda: "new form") == "new form"


# Who sees it


def test_two_users_with_the_same_question_get_their_own_answers(
    store, api, user, stranger, detect, django_assert_num_queries
):
    detect(user)
    detect(user)
    detect(stranger)
    clients = api(user), api(stranger)
    for queries in (33, 14):
        with django_assert_num_queries(queries):
            mine, theirs = map(answers, clients)
        assert [each.get("total", each.get("detections")) for each in mine] == [2, 2, 4, 2]
        assert [each.get("total", each.get("detections")) for each in theirs] == [1, 1, 2, 1]


def test_a_kept_answer_is_only_for_credentials_that_may_read(store, api, user, detect):
    detect(user)
    answers(api(user))
    _, raw = keys.issue(user, "Camera", ["detect"], None)
    refused = [api().get(page, headers={"X-API-Key": raw}).status_code for page in PAGES]
    assert refused == [403] * 4


# How much is kept, and how


def test_one_user_fills_a_few_places_however_much_they_ask(store, user):
    for number in range(200):
        question = Question("test", str(number), 60)
        assert caching.kept(user.pk, question, lambda n=number: n) == number
    found = {Question("test", str(number), 60).key(user.pk) for number in range(200)}
    assert len(found) == QUESTION.slots


@pytest.mark.services
def test_redis_holds_json_that_expires(use_redis, redis_url, api, user, detect):
    use_redis(redis_url)
    flush()
    detect(user)
    answers(api(user))
    answer(api(user), f"/api/v1/detect/jobs/{Detection.objects.get().pk}")
    with redis.Redis.from_url(redis_url) as client:
        found = {key.decode(): (json.loads(client.get(key)), client.ttl(key)) for key in client.keys("*")}
    kept = {name.split(":")[3]: ttl for name, (_, ttl) in found.items() if name.startswith("answers:")}
    assert set(kept) == {"version", "history", "total", "statistics", "job"}
    assert min(kept.values()) > 0
    assert kept["history"] <= 300 >= kept["total"]
    assert kept["statistics"] <= 600 >= kept["version"]
    assert kept["job"] <= 60


@pytest.mark.services
def test_values_that_others_wrote_fail_no_request(use_redis, redis_url, api, user, detect):
    use_redis(redis_url)
    detect(user)
    expected = answers(api(user))
    with redis.Redis.from_url(redis_url) as client:
        for value in (b"\x80\x04K*.", b"{}", b"[1]", b'["x", "y", "z"]', b"null", b"\xff"):
            for key in client.keys("answers:*"):
                client.set(key, value)
            assert answers(api(user)) == expected


def test_without_redis_another_process_drops_answers(user):
    before = version(user)
    script = f"import django; django.setup(); from detections import caching; caching.drop({{'{user.pk}'}})"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
    assert version(user) != before


# Without the cache


@pytest.mark.services
def test_answers_are_correct_after_a_flush_and_kept_again(
    use_redis, redis_url, api, user, detect, django_assert_num_queries
):
    use_redis(redis_url)
    detect(user)
    client = api(user)
    earlier, before = answers(client), version(user)
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()
    assert answers(client) == earlier
    assert version(user) != before
    with django_assert_num_queries(1):
        answer(client, STATISTICS)


@pytest.mark.services
def test_answers_are_correct_while_redis_is_away(
    use_redis, closed_redis, api, user, detect, submit, caplog, monkeypatch
):
    monkeypatch.setattr(caching, "PAUSE_SECONDS", 0)
    for once_a_minute in caching.log.filters:
        once_a_minute.silent_until = 0.0
    use_redis(closed_redis)
    detect(user)
    client = api(user)
    for total in (2, 3, 4):
        submit(user, photo())
        history, _, _, statistics = answers(client)
        assert (history["total"], statistics["detections"]) == (total, total)
    lines = [record for record in caplog.records if record.name == "detections.caching"]
    assert len(lines) == 1
    caching._undropped.clear()


@pytest.mark.services
def test_a_redis_that_hangs_costs_one_time_out_and_hides_no_change(server, api, user, submit, detect):
    detect(user)
    client = api(user)
    earlier = answers(client)
    server.shut()
    started = time.monotonic()
    caching.drop({uuid4()})
    for _ in range(10):
        assert answers(client) == earlier
    assert time.monotonic() - started < 3
    caching.drop({user.pk})
    Detection.objects.update(name="Renamed")
    assert answer(client, HISTORY)["items"][0]["name"] == "Renamed"


@pytest.mark.services
def test_rows_are_read_until_a_change_is_dropped(
    use_redis, redis_url, closed_redis, api, user, detect, monkeypatch
):
    use_redis(redis_url)
    detect(user)
    client, before = api(user), version(user)
    answers(client)
    Detection.objects.update(name="Renamed")
    use_redis(closed_redis)
    caching.drop({user.pk})
    use_redis(redis_url)
    monkeypatch.setitem(caching._away, "until", 0.0)
    assert version(user) is None
    assert answer(client, HISTORY)["items"][0]["name"] == "Renamed"
    until(lambda: not caching._undropped)
    assert version(user) not in {None, before}


@pytest.mark.services
def test_what_changed_while_redis_hung_is_dropped_once_it_answers(server, api, user, stranger, detect):
    detect(user)
    client, theirs = api(user), version(stranger)
    earlier, before = answers(client), version(user)
    server.shut()
    Detection.objects.update(name="Renamed")
    caching.drop({user.pk})
    server.open()
    until(lambda: not caching._undropped)
    assert version(user) != before
    assert version(stranger) == theirs
    assert answer(client, HISTORY)["items"][0]["name"] == "Renamed"
    assert earlier[0]["items"][0]["name"] == ""


@pytest.mark.services
def test_a_change_is_dropped_at_once_also_after_a_read_that_failed(use_redis, redis_url, user, monkeypatch):
    use_redis(redis_url)
    before = version(user)
    monkeypatch.setitem(caching._away, "until", time.monotonic() + 60)
    caching.drop({user.pk})
    monkeypatch.setitem(caching._away, "until", 0.0)
    assert version(user) not in {None, before}


@pytest.mark.services
def test_nothing_is_found_in_a_redis_that_refuses_writes(use_redis, redis_url, api, user, detect):
    use_redis(redis_url)
    detection = detect(user)
    client = api(user)
    answers(client)
    with redis.Redis.from_url(redis_url) as server:
        server.replicaof("127.0.0.1", "1")
        try:  # another process changes it, and cannot drop what is kept
            Detection.objects.update(name="Renamed", error="Changed")
            assert answer(client, HISTORY)["items"][0]["name"] == "Renamed"
            assert answer(client, f"/api/v1/detect/jobs/{detection.pk}")["error"] == "Changed"
        finally:
            server.replicaof("NO", "ONE")


# Counting


def test_every_page_has_the_right_total(api, user, submit):
    for _ in range(3):
        submit(user, photo())
    client = api(user)
    for limit, offset in product((1, 2, 3, 4), (0, 1, 3, 4)):
        found = answer(client, f"{HISTORY}?limit={limit}&offset={offset}")
        assert (found["total"], len(found["items"])) == (3, len(range(3)[offset : offset + limit]))
        flush()


@pytest.fixture
def public(user, detect):
    detection = detect(user)
    Detection.objects.filter(pk=detection.pk).update(is_public=True, moderation="approved")
    return f"/api/v1/detect/public/{detection.pk}"


def test_what_visitors_see_is_kept_as_of_its_row(store, api, public, django_assert_num_queries):
    first = api().get(public).json()
    with django_assert_num_queries(1):
        assert api().get(public).json() == first
    DetectionResult.objects.update(reviewed_class="tram")
    assert api().get(public).json() == first  # code that changes what is shown changes the row's version
    Detection.objects.get().change()
    assert api().get(public).json()["objects"] == [{"object_class": "tram", "objects": 2}]
    Detection.objects.get().change(is_public=False)
    assert api().get(public).status_code == 404


def test_redis_holds_what_visitors_see_as_json_for_an_hour(use_redis, redis_url, api, public):
    use_redis(redis_url)
    flush()
    shown = api().get(public).json()
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("answers:*shown:*")
        _, kept = json.loads(client.get(key))
        assert kept["objects"] == shown["objects"]
        assert 3500 < client.ttl(key) <= 3600


def test_visitors_see_the_rows_while_redis_is_away(server, api, public):
    shown = api().get(public).json()
    server.shut()
    Detection.objects.get().change(moderation="hidden")
    assert api().get(public).status_code == 404
    Detection.objects.get().change(moderation="approved")
    assert api().get(public).json() == shown
