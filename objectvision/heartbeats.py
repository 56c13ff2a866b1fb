"""Workers and beat say that they are alive, for the health page. Kept in Redis, or in the one process."""

import json
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import redis
from celery import current_app
from celery.signals import after_task_publish, beat_init, heartbeat_sent

from objectvision import shared_redis

log = logging.getLogger(__name__)

KEY = "objectvision:heartbeats"
EVERY_SECONDS = 5
# Longer than the ten seconds that a one-threaded worker may be too busy to beat, and between two sweeps.
GONE_AFTER_SECONDS = 30

_own: dict[str, str] = {}
_last_said = 0.0


@heartbeat_sent.connect
def say_alive(sender: Any, **_: Any) -> None:
    global _last_said  # noqa: PLW0603  # one worker a process
    if time.monotonic() - _last_said < EVERY_SECONDS:
        return
    _last_said = time.monotonic()
    name = sender.eventer.hostname
    queues = sorted(current_app.amqp.queues.consume_from)
    # With the process: two workers of one machine may have the same name.
    write(f"{name}#{os.getpid()}", json.dumps({"at": time.time(), "name": name, "queues": queues}))


@beat_init.connect
@after_task_publish.connect(sender="detections.sweep")
def say_beat_alive(**_: Any) -> None:
    write("beat", json.dumps({"at": time.time()}))


def write(who: str, heartbeat: str) -> None:
    client = shared_redis.shared()
    if client is None:
        _own[who] = heartbeat
        return
    try:
        client.hset(KEY, who, heartbeat)
    except redis.RedisError as error:
        log.warning("Heartbeat not written: %s", error)


@dataclass(frozen=True, slots=True)
class Alive:
    """Each worker's `name`, `queues` and time (`at`, seconds since the epoch); whether beat is."""

    workers: list[dict[str, Any]]
    beat: bool


def alive() -> Alive:
    """Who has said so lately. Forgets the others. Raises redis.RedisError."""
    client = shared_redis.shared()
    written = _own if client is None else client.hgetall(KEY)
    heartbeats = {who: json.loads(heartbeat) for who, heartbeat in written.items()}
    oldest = time.time() - GONE_AFTER_SECONDS
    gone = [who for who, heartbeat in heartbeats.items() if heartbeat["at"] <= oldest]
    if client is not None and gone:
        client.hdel(KEY, *gone)
    living = [heartbeat for heartbeat in heartbeats.values() if heartbeat["at"] > oldest]
    workers = [heartbeat for heartbeat in living if "queues" in heartbeat]
    return Alive(workers, beat=len(living) > len(workers))
