"""Heartbeats of workers and beat, for the health pages. Kept in Redis, or in the embedded process."""

import json
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

import redis
from celery import current_app
from celery.signals import after_task_publish, beat_init, heartbeat_sent

from objectvision.lib import metrics
from objectvision.lib.redis import shared_client

log = logging.getLogger(__name__)

KEY = "objectvision:heartbeats"
EVERY_SECONDS = 5
# Longer than a task of a one-threaded worker (10 s) and the time between two sweeps.
GONE_AFTER_SECONDS = 30

_own: dict[str, str] = {}
_last_beat = 0.0


@heartbeat_sent.connect
def record_worker(sender: Any, **_: Any) -> None:
    global _last_beat  # noqa: PLW0603  # one worker a process
    if time.monotonic() - _last_beat < EVERY_SECONDS:
        return
    _last_beat = time.monotonic()
    name = sender.eventer.hostname
    queues = sorted(current_app.amqp.queues.consume_from)
    # With the process id: two workers of one machine may have the same name.
    record_heartbeat(f"{name}#{os.getpid()}", json.dumps({"at": time.time(), "name": name, "queues": queues}))


@beat_init.connect
@after_task_publish.connect(sender="detections.sweep")
def record_beat(**_: Any) -> None:
    record_heartbeat("beat", json.dumps({"at": time.time()}))


def record_heartbeat(sender: str, heartbeat: str) -> None:
    metrics.measure_process()
    client = shared_client()
    if client is None:
        _own[sender] = heartbeat
        return
    try:
        client.hset(KEY, sender, heartbeat)
    except redis.RedisError as error:
        log.warning("Heartbeat not written: %s", error)


@dataclass(frozen=True, slots=True)
class Alive:
    """Each worker's `name`, `queues` and heartbeat (`at`, seconds since the epoch); whether beat runs."""

    workers: list[dict[str, Any]]
    beat: bool


def alive() -> Alive:
    """Workers and beat with a recent heartbeat; deletes the other heartbeats. Raises redis.RedisError."""
    client = shared_client()
    written = _own if client is None else client.hgetall(KEY)
    heartbeats = {sender: json.loads(heartbeat) for sender, heartbeat in written.items()}
    now = time.time()
    # A heartbeat from the future was written before the clock was put back.
    gone = [each for each, beat in heartbeats.items() if abs(now - beat["at"]) >= GONE_AFTER_SECONDS]
    if client is not None and gone:
        client.hdel(KEY, *gone)
    living = [heartbeat for sender, heartbeat in heartbeats.items() if sender not in gone]
    workers = [heartbeat for heartbeat in living if "queues" in heartbeat]
    return Alive(workers, beat=len(living) > len(workers))
