"""News that something changed, from the process that changed it to the requests that wait for it.

News may be lost: whoever waits looks at the row now and then as well.
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

from objectvision import shared_redis

log = logging.getLogger(__name__)
T = TypeVar("T")

CHANNEL = "objectvision:news"
LOOK_AGAIN_SECONDS = 1.0

# Set once, when the process has been told to stop: no request waits any longer.
stopping = threading.Event()

_waiting: dict[UUID, set[threading.Event]] = defaultdict(set)
_lock = threading.Lock()


def publish(subjects: Iterable[UUID]) -> None:
    """Wake whoever waits for these rows, in every process. Call it after the commit."""
    client = shared_redis.shared()
    if client is None:
        _wake(subjects)
        return
    try:
        with client.pipeline(transaction=False) as pipeline:
            for subject in subjects:
                pipeline.publish(CHANNEL, str(subject))
            pipeline.execute()
    except redis.RedisError as error:
        log.warning("News not published, waiters will look for themselves: %s", error)


def wait_for(subject: UUID, look: Callable[[], T | None], seconds: float) -> T | None:
    """What `look` returns as soon as that is not None; None after `seconds`, or when the process stops.

    `look` must hold no database connection between calls.
    """
    if settings.REDIS_URL:
        _listener()
    woken = threading.Event()
    with _lock:
        _waiting[subject].add(woken)
    try:
        return _look_until(monotonic() + seconds, woken, look)
    finally:
        with _lock:
            _waiting[subject].discard(woken)
            if not _waiting[subject]:
                del _waiting[subject]


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


def _wake(subjects: Iterable[UUID]) -> None:
    with _lock:
        for subject in subjects:
            for woken in _waiting.get(subject, ()):
                woken.set()


@cache
def _listener() -> threading.Thread:
    """One subscription a process, started by the first request that waits."""
    thread = threading.Thread(target=_listen, name="news", daemon=True)
    thread.start()
    return thread


def _listen() -> None:
    while not stopping.is_set():
        try:
            _hear()
        except (redis.RedisError, OSError) as error:
            log.warning("No news for the moment: %s", error)
            stopping.wait(LOOK_AGAIN_SECONDS)


def _hear() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
    with client, client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]  # redis
        subscription.subscribe(CHANNEL)
        while not stopping.is_set():
            message = subscription.get_message(timeout=LOOK_AGAIN_SECONDS)
            if message:
                with suppress(ValueError):  # not ours
                    _wake([UUID(message["data"].decode())])
