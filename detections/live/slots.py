"""How many streams one user may have open, in all web processes together."""

import logging
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from uuid import UUID, uuid4

import redis

from objectvision.lib import metrics
from objectvision.lib.limits import TooMany
from objectvision.lib.redis import shared_client

log = logging.getLogger(__name__)

MOST_STREAMS = 10
LAPSES_SECONDS = 30.0  # a slot of a process that is gone
RETRY_SECONDS = 5

_held: Counter[UUID] = Counter()
_lock = Lock()


class TooManyStreams(TooMany):
    def __init__(self) -> None:
        super().__init__(f"You have {MOST_STREAMS} streams open already; close one of them.", RETRY_SECONDS)


@dataclass(eq=False)
class Slot:
    user_id: UUID
    name: str
    kind: str
    is_held: bool = True

    def release(self) -> None:
        """Does nothing the second time."""
        with _lock:
            was_held, self.is_held = self.is_held, False
            if was_held:
                metrics.STREAMS.labels(self.kind).dec()
                _held[self.user_id] -= 1
                if not _held[self.user_id]:
                    del _held[self.user_id]
        client = shared_client()
        if client is not None and was_held:
            try:
                client.zrem(key_of(self.user_id), self.name)
            except redis.RedisError as error:
                log.warning("The slot of a stream lapses by itself: %s", error)


def take(user_id: UUID, kind: str) -> Slot:
    """A slot for one more stream of the user, of kind `sse` or `websocket`. Raises TooManyStreams.

    While Redis is away, each process counts its own.
    """
    with _lock:
        if _held[user_id] >= MOST_STREAMS:
            raise TooManyStreams
        _held[user_id] += 1
        metrics.STREAMS.labels(kind).inc()
    slot = Slot(user_id, uuid4().hex, kind)
    try:
        is_within = place_of(slot) < MOST_STREAMS
    except redis.RedisError as error:
        log.warning("Streams of other processes are not counted: %s", error)
        is_within = True
    if not is_within:
        slot.release()
        raise TooManyStreams
    return slot


def place_of(slot: Slot) -> int:
    """The slot's place among the user's slots in all processes, from 0. Raises redis.RedisError."""
    client = shared_client()
    if client is None:
        return 0
    now, key = time.time(), key_of(slot.user_id)
    with client.pipeline() as pipeline:
        pipeline.zremrangebyscore(key, "-inf", now - LAPSES_SECONDS)
        pipeline.zadd(key, {slot.name: now})
        pipeline.expire(key, int(LAPSES_SECONDS))
        pipeline.zcard(key)
        *_, count = pipeline.execute()
    return int(count) - 1


def renew(slots: Collection[Slot]) -> None:
    """Keep these slots from lapsing, also after Redis has lost them."""
    client, now = shared_client(), time.time()
    if client is None:
        return
    try:
        with client.pipeline(transaction=False) as pipeline:
            for slot in slots:
                pipeline.zadd(key_of(slot.user_id), {slot.name: now})
                pipeline.expire(key_of(slot.user_id), int(LAPSES_SECONDS))
            pipeline.execute()
            for slot in slots:
                if not slot.is_held:  # it was released meanwhile
                    pipeline.zrem(key_of(slot.user_id), slot.name)
            pipeline.execute()
    except redis.RedisError as error:
        log.warning("The slots of streams are not renewed: %s", error)


def key_of(user_id: UUID) -> str:
    return f"objectvision:streams:{user_id}"
