import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext

from objectvision import health
from objectvision.celery import app
from objectvision.lib import heartbeats, migrations
from testing import services
from testing.waiting import until

PREFIXES = ["", "/api/v1"]
QUEUES = ["default", "inference", "webhooks"]
# Checks run in threads and so use other connections.
seen_by_checks = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_heartbeats(monkeypatch):
    app.loader.import_default_modules()  # tasks are registered by their import
    monkeypatch.setattr(heartbeats, "_own", {})


def get(part=""):
    return Client().get(f"/health{part}")


def ok(response):
    assert response.status_code == 200
    facts = response.json()
    assert facts.pop("status") == "ok"
    return facts


def error(response):
    assert response.status_code == 503
    facts = response.json()
    assert facts.pop("status") == "error"
    assert list(facts) == ["message"]
    return facts["message"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_health_answers_without_the_database(prefix):
    assert ok(Client().get(f"{prefix}/health")) == {"service": "objectvision"}


@pytest.mark.parametrize("part", ["ready", "database", "redis", "celery", "storage", "detector"])
def test_every_part_is_served_with_and_without_the_prefix(db, part):
    plain, prefixed = (Client().get(f"{prefix}/health/{part}") for prefix in PREFIXES)
    assert (plain.status_code, plain.json()) == (prefixed.status_code, prefixed.json())
    assert plain.json()["status"] in {"ok", "error"}


def test_health_needs_no_token_and_reads_none(db):
    assert ok(Client(HTTP_AUTHORIZATION="Bearer nonsense").get("/health/database"))


def test_a_database_that_answers_is_connected(db):
    assert ok(get("/database")) == {"database": "connected"}


@pytest.mark.postgresql
@pytest.mark.parametrize("part", ["/database", "/detector", "/ready"])
def test_an_unreachable_database_is_an_error_without_its_address(db, monkeypatch, part):
    monkeypatch.setitem(connection.settings_dict, "PORT", services.free_port())
    monkeypatch.setitem(
        connection.settings_dict, "OPTIONS", {}
    )  # without the pool, which has a connection already
    assert error(get(part)) == "The database does not answer."


def test_without_redis_configured_health_says_so():
    assert ok(get("/redis")) == {"redis": "not used"}


@pytest.mark.services
def test_a_redis_that_answers_is_connected(settings, redis_url):
    settings.REDIS_URL = redis_url
    assert ok(get("/redis")) == {"redis": "connected"}


def test_an_unreachable_redis_is_an_error_without_its_address(settings, closed_redis):
    settings.REDIS_URL = closed_redis
    assert error(get("/redis")) == "Redis does not answer."


def test_a_working_storage_is_writable_and_keeps_no_file(media):
    assert ok(get("/storage")) == {"storage": "writable"}
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_an_unwritable_storage_is_an_error_without_its_path(media):
    media.parent.mkdir(exist_ok=True)
    media.write_text("where the folder should be")
    assert error(get("/storage")) == "The storage cannot be written or read."


@seen_by_checks
def test_a_prepared_detector_is_named(detector):
    assert ok(get("/detector")) == {"detector": "standin", "backend": "openvino", "classes": 2}


def test_no_detector_is_an_error(db):
    assert error(get("/detector")) == "No detector is prepared."


@seen_by_checks
def test_an_inactive_detector_counts_as_none(detector):
    detector.is_active = False
    detector.save(update_fields=["is_active"])
    assert error(get("/detector")) == "No detector is prepared."


@seen_by_checks
def test_a_detector_without_files_is_an_error_without_its_path(detector):
    detector.path = "gone"
    detector.save(update_fields=["path"])
    assert error(get("/detector")) == "The default detector's files are missing."


def beat(name, age=0.0, queues=QUEUES):
    """A worker's heartbeat, written as it writes it itself, some seconds ago."""
    said = {"at": time.time() - age, "name": name, "queues": queues}
    heartbeats.record_heartbeat(f"{name}#1", json.dumps(said))


@pytest.fixture
def beat_runs():
    app.tasks["detections.sweep"].delay()


def test_workers_with_a_recent_heartbeat_are_listed_with_their_queues(beat_runs):
    beat("one@host", queues=["inference"])
    beat("two@host", queues=["default", "webhooks"], age=20)
    assert ok(get("/celery")) == {
        "workers": [
            {"name": "one@host", "queues": ["inference"]},
            {"name": "two@host", "queues": ["default", "webhooks"]},
        ],
        "beat": "alive",
    }


@pytest.mark.parametrize("age", [heartbeats.GONE_AFTER_SECONDS + 1, -3600], ids=["old", "clock put back"])
def test_a_worker_without_a_recent_heartbeat_is_not_listed(beat_runs, age):
    beat("gone@host", age=age)
    assert error(get("/celery")) == "No worker serves default, inference, webhooks."
    beat("here@host")
    (worker,) = ok(get("/celery"))["workers"]
    assert worker == {"name": "here@host", "queues": QUEUES}


@pytest.mark.parametrize("missing", QUEUES)
def test_a_queue_without_a_worker_is_named(missing):
    beat("one@host", queues=[queue for queue in QUEUES if queue != missing])
    assert error(get("/celery")) == f"No worker serves {missing}."


def test_beat_is_missing_if_it_has_sent_no_sweep_for_long(monkeypatch):
    beat("one@host")
    missed = "Beat has not sent its sweep for long: lost work is not found."
    assert error(get("/celery")) == missed
    app.tasks["detections.process_images"].delay()  # a worker rings as well
    assert error(get("/celery")) == missed
    app.tasks["detections.sweep"].delay()
    assert ok(get("/celery"))["beat"] == "alive"
    beat("one@host", age=-20)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + heartbeats.GONE_AFTER_SECONDS)
    assert error(get("/celery")) == missed


@pytest.fixture
def say_alive(monkeypatch):
    """A heartbeat of this process, as Celery signals it to a worker of all queues."""

    def say(hostname):
        heartbeats.record_worker(SimpleNamespace(eventer=SimpleNamespace(hostname=hostname)))

    monkeypatch.setattr(heartbeats, "_last_beat", float("-inf"))
    monkeypatch.setattr(app.amqp.queues, "_consume_from", dict.fromkeys(QUEUES))
    return say


def test_a_new_heartbeat_keeps_those_of_other_workers(say_alive, beat_runs):
    beat("other@host", queues=["default"])
    say_alive("me@host")
    assert ok(get("/celery")) == {
        "workers": [
            {"name": "other@host", "queues": ["default"]},
            {"name": "me@host", "queues": QUEUES},
        ],
        "beat": "alive",
    }


def test_a_worker_writes_a_heartbeat_only_every_few_seconds(say_alive, monkeypatch):
    say_alive("me@host")
    before = heartbeats.alive().workers
    say_alive("me@host")
    assert heartbeats.alive().workers == before
    monkeypatch.setattr(heartbeats, "_last_beat", time.monotonic() - heartbeats.EVERY_SECONDS)
    say_alive("me@host")
    (after,) = heartbeats.alive().workers
    assert after["at"] > before[0]["at"]


def test_without_redis_heartbeats_are_an_error_in_health_and_a_log_line(
    settings, closed_redis, say_alive, caplog
):
    settings.REDIS_URL = closed_redis
    say_alive("me@host")
    assert [record.message.split(":")[0] for record in caplog.records] == ["Heartbeat not written"]
    assert error(get("/celery")) == "The workers' heartbeats cannot be read."


@pytest.mark.services
def test_heartbeats_are_shared_through_redis(settings, redis_url, say_alive):
    settings.REDIS_URL = redis_url
    beat("gone@host", age=heartbeats.GONE_AFTER_SECONDS + 1)
    say_alive("me@host")
    heartbeats.record_beat()
    assert heartbeats._own == {}
    assert ok(get("/celery")) == {
        "workers": [{"name": "me@host", "queues": QUEUES}],
        "beat": "alive",
    }


READY = {"database": "connected", "migrations": "applied", "storage": "writable"}


@seen_by_checks
def test_a_service_with_tables_and_storage_is_ready(media):
    assert ok(get("/ready")) == READY
    assert [path for path in media.rglob("*") if path.is_file()] == []


@seen_by_checks
def test_being_ready_costs_one_query():
    migrations.known_migrations()
    with CaptureQueriesContext(connection) as queries:
        assert health.migrations()
    assert len(queries) == 1


@pytest.fixture
def unapplied(transactional_db):
    """A migration that is on the disk, and not in the table."""
    row = MigrationRecorder.Migration.objects.get(app="accounts", name="0002_ticket")
    row.delete()
    yield "accounts.0002_ticket"
    row.save()


def test_a_service_whose_tables_are_old_is_not_ready_and_the_log_says_what_is_missing(unapplied, caplog):
    assert error(get("/ready")) == "The tables are not up to date."
    assert f"Migrations that are not applied: {unapplied}" in caplog.messages


@seen_by_checks
def test_a_migration_of_a_newer_release_does_not_matter():
    MigrationRecorder.Migration.objects.create(app="accounts", name="9999_of_tomorrow")
    assert ok(get("/ready")) == READY


def test_a_database_without_any_table_is_not_ready(transactional_db, monkeypatch):
    monkeypatch.setattr(MigrationRecorder.Migration._meta, "db_table", "not_made_yet")
    assert error(get("/ready")) == "The tables are not up to date."


@seen_by_checks
def test_a_service_without_storage_is_not_ready(media):
    media.parent.mkdir(exist_ok=True)
    media.write_text("where the folder should be")
    assert error(get("/ready")) == "The storage cannot be written or read."


class HangingStorage(FileSystemStorage):
    """A storage whose file system hangs: saving waits until it is back."""

    back = threading.Event()

    def _save(self, name, content):
        self.back.wait(30)
        return super()._save(name, content)


@seen_by_checks
def test_a_hanging_storage_is_checked_once_at_a_time_and_recovers(settings, media, monkeypatch):
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    hanging = f"{__name__}.{HangingStorage.__qualname__}"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": hanging, "OPTIONS": {"location": media}},
    }
    threads = threading.active_count()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: get("/storage"), range(20)))
    assert {error(answer) for answer in answers} == {"The storage does not answer."}
    assert threading.active_count() <= threads + 1
    assert error(get("/ready")) == "The storage does not answer."
    HangingStorage.back.set()
    until(lambda: get("/storage").status_code == 200, 5)
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_requests_during_a_check_share_its_result():
    asked, answer = [], threading.Event()

    def check():
        asked.append(1)
        answer.wait(30)
        return {"part": "there"}

    part = health.Part(check, "Silence.")
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(part) for _ in range(5)]
        until(lambda: part._running and len(part._running._condition._waiters) == 5)
        answer.set()
        assert {result.result()["part"] for result in answers} == {"there"}
    assert len(asked) == 1
    part()
    assert len(asked) == 2


def test_health_is_not_redirected_to_https(settings):
    settings.SECURE_SSL_REDIRECT = True
    for prefix in PREFIXES:
        assert ok(Client().get(f"{prefix}/health")) == {"service": "objectvision"}
    response = Client().get("/api/v1/users/get-profile")
    assert (response.status_code, response["Location"]) == (
        301,
        "https://testserver/api/v1/users/get-profile",
    )
