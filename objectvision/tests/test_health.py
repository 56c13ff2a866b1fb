import json
import time
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.test import Client

from objectvision import heartbeats
from objectvision.celery import app

PREFIXES = ["", "/api/v1"]


@pytest.fixture(autouse=True)
def no_worker_yet(monkeypatch):
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


def beat(name, age=0.0, queues=("default", "inference")):
    """A worker's heartbeat, written as it writes it itself, some seconds ago."""
    said = {"at": time.time() - age, "name": name, "queues": list(queues)}
    heartbeats.write(f"{name}#1", json.dumps(said))


def test_workers_that_beat_are_listed_with_their_queues():
    beat("one@host", queues=["inference"])
    beat("two@host", queues=["default"], age=20)
    assert ok(get("/celery")) == {
        "workers": [
            {"name": "one@host", "queues": ["inference"]},
            {"name": "two@host", "queues": ["default"]},
        ]
    }


def test_a_worker_that_has_not_beaten_for_long_is_forgotten():
    beat("gone@host", age=heartbeats.GONE_AFTER_SECONDS + 1)
    assert error(get("/celery")) == "No worker serves default and inference."
    beat("here@host")
    assert ok(get("/celery")) == {"workers": [{"name": "here@host", "queues": ["default", "inference"]}]}


def test_a_queue_that_nobody_serves_is_named():
    beat("one@host", queues=["default"])
    assert error(get("/celery")) == "No worker serves inference."


@pytest.fixture
def say_alive(monkeypatch):
    """A heartbeat of this process, as Celery signals it to a worker of both queues."""

    def say(hostname):
        heartbeats.say_alive(SimpleNamespace(eventer=SimpleNamespace(hostname=hostname)))

    monkeypatch.setattr(heartbeats, "_last_said", float("-inf"))
    monkeypatch.setattr(app.amqp.queues, "_consume_from", {"inference": None, "default": None})
    return say


def test_a_heartbeat_is_remembered_beside_the_others(say_alive):
    beat("other@host", queues=["default"])
    say_alive("me@host")
    assert ok(get("/celery")) == {
        "workers": [
            {"name": "other@host", "queues": ["default"]},
            {"name": "me@host", "queues": ["default", "inference"]},
        ]
    }


def test_a_worker_writes_a_heartbeat_every_few_seconds_only(say_alive, monkeypatch):
    say_alive("me@host")
    before = heartbeats.alive()
    say_alive("me@host")
    assert heartbeats.alive() == before
    monkeypatch.setattr(heartbeats, "_last_said", time.monotonic() - heartbeats.EVERY_SECONDS)
    say_alive("me@host")
    (after,) = heartbeats.alive()
    assert after["at"] > before[0]["at"]


def test_without_redis_heartbeats_are_an_error_for_probes_and_a_line_in_the_workers_log(
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
    assert heartbeats._own == {}
    assert ok(get("/celery")) == {"workers": [{"name": "me@host", "queues": ["default", "inference"]}]}


def test_probes_come_from_inside_by_plain_http(settings):
    settings.SECURE_SSL_REDIRECT = True
    for prefix in PREFIXES:
        assert ok(Client().get(f"{prefix}/health")) == {"service": "objectvision"}
    response = Client().get("/api/v1/users/get-profile")
    assert (response.status_code, response["Location"]) == (
        301,
        "https://testserver/api/v1/users/get-profile",
    )
