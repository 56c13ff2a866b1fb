"""Workers say that they are alive; the health page reads it. Kept in Redis, or in the only process."""

import json
import logging
import os
import time
from typing import Any

import redis
from celery import current_app
from celery.signals import heartbeat_sent

from objectvision import shared_redis

log = logging.getLogger(__name__)

KEY = "objectvision:workers"
EVERY_SECONDS = 5
# Longer than the ten seconds that a one-threaded worker may be too busy to beat.
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


def write(worker: str, beat: str) -> None:
    client = shared_redis.shared()
    if client is None:
        _own[worker] = beat
        return
    try:
        client.hset(KEY, worker, beat)
    except redis.RedisError as error:
        log.warning("Heartbeat not written: %s", error)


def alive() -> list[dict[str, Any]]:
    """The workers that beat lately: `name`, `queues` and when (`at`, seconds since the epoch).

    Forgets the others. Raises redis.RedisError.
    """
    client = shared_redis.shared()
    beats = _own if client is None else client.hgetall(KEY)
    workers = {worker: json.loads(beat) for worker, beat in beats.items()}
    oldest = time.time() - GONE_AFTER_SECONDS
    gone = [worker for worker, beat in workers.items() if beat["at"] <= oldest]
    if client is not None and gone:
        client.hdel(KEY, *gone)
    return [beat for beat in workers.values() if beat["at"] > oldest]
