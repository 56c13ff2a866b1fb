"""Wakes the requests that wait for a row, from the process that changed it.

A wake-up may carry the row as a text, which spares the request reading it. It may be lost: waiting requests
look at the row every second as well.
"""

import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
ID_LENGTH = 36
MOST_REMEMBERED = 256  # wake-ups that came before their request waited

# Set once, when the process has been told to stop: no request waits any longer.
stopping = threading.Event()


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that waits, and what the last wake-up told."""

    woken: threading.Event = field(default_factory=threading.Event)
    text: str = ""


_waiting: dict[UUID, set[Waiter]] = defaultdict(set)
_recent: OrderedDict[UUID, str] = OrderedDict()
_lock = threading.Lock()
# Since when this process hears all wake-ups; None while it may miss some.
_hearing: dict[str, float | None] = {"since": None}


def publish(texts: Mapping[UUID, str]) -> None:
    """Wake the requests that wait for these rows, in every process.

    An empty text tells them to read the row. Call it after the commit.
    """
    client = shared_client()
    if client is None:
        _wake(texts)
        return
    try:
        with client.pipeline(transaction=False) as pipeline:
            for row_id, text in texts.items():
                pipeline.publish(CHANNEL, f"{row_id}{text}")
            pipeline.execute()
    except redis.RedisError as error:
        log.warning("Wake-ups not published, waiting requests look for themselves: %s", error)


def wait_for(
    row_id: UUID,
    look: Callable[[], T | None],
    seconds: float,
    *,
    read: Callable[[str], T | None] | None = None,
    unchanged_at: float | None = None,
) -> T | None:
    """The first result of `look` that is not None; None after `seconds` or at a stop.

    `read` makes the result of a wake-up's text. If the row is known to have been unfinished at `unchanged_at`
    (monotonic) and no wake-up was missed since then, it is first looked at after a wake-up. `look` must hold
    no database connection between calls.
    """
    if settings.REDIS_URL:
        _listener()
    waiter = Waiter()
    with _lock:
        _waiting[row_id].add(waiter)
        if unchanged_at is not None and row_id in _recent:
            _tell(waiter, _recent[row_id])
    try:
        found = None if _heard_all_since(unchanged_at) else look()
        return _look_until(monotonic() + seconds, waiter, look, read) if found is None else found
    finally:
        with _lock:
            _waiting[row_id].discard(waiter)
            if not _waiting[row_id]:
                del _waiting[row_id]


def stop() -> None:
    """Let every waiting request go. Only sets flags: a signal handler may call it."""
    stopping.set()


def _heard_all_since(moment: float | None) -> bool:
    if moment is None:
        return False
    since = _hearing["since"]
    return not settings.REDIS_URL or (since is not None and since < moment)


def _look_until(
    deadline: float, waiter: Waiter, look: Callable[[], T | None], read: Callable[[str], T | None] | None
) -> T | None:
    found = None
    while found is None and not stopping.is_set() and (remaining := deadline - monotonic()) > 0:
        waiter.woken.wait(min(remaining, LOOK_AGAIN_SECONDS))
        waiter.woken.clear()
        found = read(waiter.text) if read and waiter.text else look()
    return found


def _wake(texts: Mapping[UUID, str]) -> None:
    with _lock:
        for row_id, text in texts.items():
            _recent[row_id] = text
            _recent.move_to_end(row_id)
            for waiter in _waiting.get(row_id, ()):
                _tell(waiter, text)
        while len(_recent) > MOST_REMEMBERED:
            _recent.popitem(last=False)


def _tell(waiter: Waiter, text: str) -> None:
    waiter.text = text
    waiter.woken.set()


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
        finally:
            _hearing["since"] = None


def _receive() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
    with client, client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # redis
        subscription.subscribe(CHANNEL)
        while not stopping.is_set():
            message = subscription.get_message(timeout=LOOK_AGAIN_SECONDS)
            if message and message["type"] == "subscribe":
                _hearing["since"] = monotonic()
            elif message:
                _hear(message["data"])


def _hear(message: bytes) -> None:
    with suppress(ValueError):  # not ours
        text = message.decode()
        _wake({UUID(text[:ID_LENGTH]): text[ID_LENGTH:]})
