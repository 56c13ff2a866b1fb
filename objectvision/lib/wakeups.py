"""Wakes the requests that wait for a row, from the process that changed it.

A wake-up may be lost: waiting requests look at the row every second as well.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import TypeVar
from uuid import UUID

import redis
from django.conf import settings

from objectvision.lib.redis import shared_client

log = logging.getLogger(__name__)
T = TypeVar("T")

CHANNEL = "objectvision:wakeups"
LOOK_AGAIN_SECONDS = 1.0

# Set once, when the process has been told to stop: no request waits any longer.
stopping = threading.Event()

_waiting: dict[UUID, set[threading.Event]] = defaultdict(set)
_lock = threading.Lock()


def publish(row_ids: Iterable[UUID]) -> None:
    """Wake the requests that wait for these rows, in every process.

    Call it after the commit.
    """
    client = shared_client()
    if client is None:
        _wake(row_ids)
        return
    try:
        with client.pipeline(transaction=False) as pipeline:
            for row_id in row_ids:
                pipeline.publish(CHANNEL, str(row_id))
            pipeline.execute()
    except redis.RedisError as error:
        log.warning("Wake-ups not published, waiting requests look for themselves: %s", error)


def wait_for(row_id: UUID, look: Callable[[], T | None], seconds: float) -> T | None:
    """The first result of `look` that is not None; None after `seconds` or at a stop.

    `look` must hold no database connection between calls.
    """
    if settings.REDIS_URL:
        _listener()
    woken = threading.Event()
    with _lock:
        _waiting[row_id].add(woken)
    try:
        return _look_until(monotonic() + seconds, woken, look)
    finally:
        with _lock:
            _waiting[row_id].discard(woken)
            if not _waiting[row_id]:
                del _waiting[row_id]


def stop() -> None:
    """Let every waiting request go. Only sets flags: a signal handler may call it."""
    stopping.set()


def _look_until(deadline: float, woken: threading.Event, look: Callable[[], T | None]) -> T | None:
    while (found := look()) is None and not stopping.is_set():
        remaining = deadline - monotonic()
        if remaining <= 0:
            return None
        woken.wait(min(remaining, LOOK_AGAIN_SECONDS))
        woken.clear()
    return found


def _wake(row_ids: Iterable[UUID]) -> None:
    with _lock:
        for row_id in row_ids:
            for woken in _waiting.get(row_id, ()):
                woken.set()


@cache
def _listener() -> threading.Thread:
    """One subscription a process, started by the first request that waits."""
    thread = threading.Thread(target=_listen, name="wakeups", daemon=True)
    thread.start()
    return thread


def _listen() -> None:
    while not stopping.is_set():
        try:
            _receive()
        except (redis.RedisError, OSError) as error:
            log.warning("No wake-ups for the moment: %s", error)
            stopping.wait(LOOK_AGAIN_SECONDS)


def _receive() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
    with client, client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]  # redis
        subscription.subscribe(CHANNEL)
        while not stopping.is_set():
            message = subscription.get_message(timeout=LOOK_AGAIN_SECONDS)
            if message:
                with suppress(ValueError):  # not ours
                    _wake([UUID(message["data"].decode())])
