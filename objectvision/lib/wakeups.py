"""Wakes the requests that wait for a row, and the streams of its owner, from the process that changed it.

A wake-up names the id of a detection or of a user. It may carry the row as a text, which spares a request
reading it. It may be lost: requests and streams look at the rows every second as well.
"""

import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from time import monotonic
from typing import TypeVar
from uuid import UUID

import redis
from django.conf import settings
from django.db import transaction

from objectvision.lib.redis import shared_client

log = logging.getLogger(__name__)
T = TypeVar("T")

CHANNEL = "objectvision:wakeups"
LOOK_AGAIN_SECONDS = 1.0
ID_LENGTH = 36
MOST_REMEMBERED = 512  # wake-ups that came before their request waited

# Set once, when the process has been told to stop: no request waits any longer.
stopping = threading.Event()


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that waits, and the text of the last wake-up."""

    woken: threading.Event = field(default_factory=threading.Event)
    text: str = ""

    def tell(self, text: str) -> None:
        self.text = text
        self.woken.set()


_told: dict[UUID, set[Callable[[str], None]]] = defaultdict(set)
_recent: OrderedDict[UUID, str] = OrderedDict()
_lock = threading.Lock()
# Since when this process hears all wake-ups; None while it may miss some.
_hearing: dict[str, float | None] = {"since": None}


def publish(texts: Mapping[UUID, str]) -> None:
    """Wake those who wait for these ids, in every process.

    An empty text tells them to read the rows. Call it after the commit.
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
        log.warning("Wake-ups not published, requests and streams look for themselves: %s", error)


def publish_after_commit(texts: Mapping[UUID, str]) -> None:
    """As `publish`, after the commit."""

    def publish_changes() -> None:  # Django logs the name of a hook that fails: a partial has none
        publish(texts)

    transaction.on_commit(publish_changes, robust=True)


@contextmanager
def telling(topic: UUID, tell: Callable[[str], None]) -> Iterator[None]:
    """Until the block ends, call `tell` with the text of each wake-up for this id, from any thread."""
    if settings.REDIS_URL:
        _listener()
    with _lock:
        _told[topic].add(tell)
    try:
        yield
    finally:
        with _lock:
            _told[topic].discard(tell)
            if not _told[topic]:
                del _told[topic]


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
    waiter = Waiter()
    with telling(row_id, waiter.tell):
        with _lock:
            if unchanged_at is not None and row_id in _recent:
                waiter.tell(_recent[row_id])
        found = None if _heard_all_since(unchanged_at) else look()
        return _look_until(monotonic() + seconds, waiter, look, read) if found is None else found


def stop() -> None:
    """Let every waiting request and stream go. Only sets flags: a signal handler may call it."""
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
            for tell in _told.get(row_id, ()):
                tell(text)
        while len(_recent) > MOST_REMEMBERED:
            _recent.popitem(last=False)


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
