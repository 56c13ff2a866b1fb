import time
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test import Client

from objectvision import heartbeats

PREFIXES = ["", "/api/v1"]


@pytest.fixture(autouse=True)
def empty_cache(settings):
    own = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "health"}
    settings.CACHES = {"default": own}
    cache.clear()


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
def test_the_service_answers_and_touches_nothing_else(prefix):
    assert ok(Client().get(f"{prefix}/health")) == {"service": "objectvision"}


@pytest.mark.parametrize("part", ["database", "redis", "celery", "storage", "detector"])
def test_each_part_is_served_with_and_without_the_prefix(db, part):
    plain, prefixed = (Client().get(f"{prefix}/health/{part}") for prefix in PREFIXES)
    assert (plain.status_code, plain.json()) == (prefixed.status_code, prefixed.json())
    assert plain.json()["status"] in {"ok", "error"}


def test_health_needs_no_token_and_reads_none(db):
    assert ok(Client(HTTP_AUTHORIZATION="Bearer nonsense").get("/health/database"))


def test_a_database_that_answers_is_connected(db):
    assert ok(get("/database")) == {"database": "connected"}


def test_a_database_that_is_away_is_an_error_without_internals(db):
    def away(*_):
        raise OperationalError("connection to db.internal failed: password for ada")

    with connection.execute_wrapper(away):
        assert error(get("/database")) == "The database does not answer."


def test_without_redis_configured_health_says_so():
    assert ok(get("/redis")) == {"redis": "not used"}


@pytest.mark.services
def test_a_redis_that_answers_is_connected(settings, redis_url):
    settings.REDIS_URL = redis_url
    assert ok(get("/redis")) == {"redis": "connected"}


def test_a_redis_that_is_away_is_an_error_without_its_address(settings, closed_redis):
    settings.REDIS_URL = closed_redis
    assert error(get("/redis")) == "Redis does not answer."


def test_a_storage_that_takes_and_gives_is_writable_and_keeps_nothing(media):
    assert ok(get("/storage")) == {"storage": "writable"}
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_a_storage_that_cannot_be_written_is_an_error_without_its_path(media):
    media.parent.mkdir(exist_ok=True)
    media.write_text("where the folder should be")
    assert error(get("/storage")) == "The storage cannot be written or read."


def test_a_prepared_detector_is_named(detector):
    assert ok(get("/detector")) == {"detector": "standin", "backend": "openvino", "classes": 2}


def test_no_detector_is_an_error(db):
    assert error(get("/detector")) == "No detector is prepared."


def test_a_detector_that_is_not_active_is_none(detector):
    detector.is_active = False
    detector.save(update_fields=["is_active"])
    assert error(get("/detector")) == "No detector is prepared."


def test_a_detector_without_files_is_an_error_without_its_path(detector):
    detector.path = "gone"
    detector.save(update_fields=["path"])
    assert error(get("/detector")) == "The default detector's files are missing."


def beat(age=0.0, queues=("default", "inference")):
    return [time.time() - age, list(queues)]


def test_workers_that_beat_are_listed_with_their_queues():
    workers = {"one@host": beat(queues=["inference"]), "two@host": beat(age=20, queues=["default"])}
    cache.set(heartbeats.KEY, workers)
    assert ok(get("/celery")) == {
        "workers": [
            {"name": "one@host", "queues": ["inference"]},
            {"name": "two@host", "queues": ["default"]},
        ]
    }


def test_a_worker_that_has_not_beaten_for_long_is_forgotten():
    gone = beat(age=heartbeats.GONE_AFTER_SECONDS + 1)
    cache.set(heartbeats.KEY, {"gone@host": gone, "here@host": beat()})
    assert ok(get("/celery")) == {"workers": [{"name": "here@host", "queues": ["default", "inference"]}]}
    cache.set(heartbeats.KEY, {"gone@host": gone})
    assert error(get("/celery")) == "No worker serves default and inference."


def test_a_queue_that_nobody_serves_is_named():
    cache.set(heartbeats.KEY, {"one@host": beat(queues=["default"])})
    assert error(get("/celery")) == "No worker serves inference."


@pytest.fixture
def say_alive(monkeypatch):
    """A worker's heartbeat, as Celery signals it."""

    def say(hostname):
        heartbeats.say_alive(SimpleNamespace(eventer=SimpleNamespace(hostname=hostname)))

    monkeypatch.setattr(heartbeats, "_last_said", float("-inf"))
    return say


def test_a_heartbeat_is_remembered_beside_the_others(say_alive):
    cache.set(heartbeats.KEY, {"other@host": beat(queues=["default"]), "gone@host": beat(age=100)})
    say_alive("me@host")
    assert {worker["name"] for worker in ok(get("/celery"))["workers"]} == {"other@host", "me@host"}


def test_a_worker_writes_a_heartbeat_every_few_seconds_only(say_alive):
    say_alive("me@host")
    cache.clear()
    say_alive("me@host")
    assert heartbeats.alive() == {}


def test_without_the_cache_no_worker_is_known_and_a_heartbeat_is_a_line_in_the_log(
    settings, read_settings, closed_redis, say_alive, caplog
):
    settings.CACHES = read_settings(REDIS_URL=closed_redis)["CACHES"]
    say_alive("me@host")
    assert {(record.name, record.message) for record in caplog.records} == {
        ("django_redis.cache", "Exception ignored")
    }
    assert error(get("/celery")) == "No worker serves default and inference."


@pytest.mark.services
def test_heartbeats_are_shared_through_redis(settings, read_settings, redis_url, say_alive):
    settings.CACHES = read_settings(REDIS_URL=redis_url)["CACHES"]
    say_alive("me@host")
    assert ok(get("/celery")) == {"workers": [{"name": "me@host", "queues": ["default", "inference"]}]}
