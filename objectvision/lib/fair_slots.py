"""Slots for costly work: few at once, one of a user, users in turn.

The work is Python's own, which holds up the whole process, or takes much memory.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from threading import Event, Lock
from time import monotonic
from uuid import UUID

from objectvision.lib import wakeups
from objectvision.lib.limits import Busy, TooMany

LONGEST_WAIT_SECONDS = 20
MOST_QUEUED = 10  # requests of one user, the one in the slot included
MOST_REMEMBERED = 1000  # users; a forgotten one counts as never admitted
RETRY_SECONDS = 1

Slot = Callable[[], AbstractContextManager[None]]


class _Waiter:
    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.admitted = Event()


class FairSlots:
    """`work` says what the slots are for, as in "Many pictures are being drawn"."""

    def __init__(self, slots: int, work: str, most_queued: int | None = None) -> None:
        self._lock = Lock()
        self._slots = slots
        self._work = work
        self._most_queued = most_queued
        self._queued: Counter[UUID] = Counter()
        self._waiting: list[_Waiter] = []
        self._inside: dict[UUID, _Waiter] = {}
        self._last_turns: dict[UUID, int] = {}  # least recent first
        self._turns = count(1)

    @contextmanager
    def slot(self, user_id: UUID, most_queued: int | None = None) -> Iterator[None]:
        """Hold a slot.

        Enter it without a database connection in hand: other requests need that one. Raises Busy if no slot
        is free in time, TooMany if too many requests of the user are queued.
        """
        with self.queue(user_id, most_queued) as slot, slot():
            yield

    @contextmanager
    def queue(self, user_id: UUID, most_queued: int | None = None) -> Iterator[Slot]:
        """Queue a request that takes slot after slot, and counts once. Raises as `slot`."""
        with self._lock:
            most = most_queued or self._most_queued or MOST_QUEUED
            if self._queued[user_id] >= most:
                raise TooMany(
                    f"{self._work}: {most} requests of yours are in line already, the most allowed.",
                    RETRY_SECONDS,
                )
            self._queued[user_id] += 1
        try:
            yield partial(self._held, user_id)
        finally:
            with self._lock:
                self._queued[user_id] -= 1
                if not self._queued[user_id]:
                    del self._queued[user_id]

    @contextmanager
    def _held(self, user_id: UUID) -> Iterator[None]:
        waiter = _Waiter(user_id)
        with self._lock:
            self._waiting.append(waiter)
            self._admit()
        try:
            self._wait(waiter)
            yield
        finally:
            with self._lock:
                self._leave(waiter)
                self._admit()

    def _wait(self, waiter: _Waiter) -> None:
        deadline = monotonic() + LONGEST_WAIT_SECONDS
        while not waiter.admitted.wait(0.5):
            if wakeups.stopping.is_set() or monotonic() > deadline:
                raise Busy(f"{self._work}; try again shortly.")

    def _admit(self) -> None:
        """While slots are free, admit users without one, least recently admitted first."""
        while len(self._inside) < self._slots:
            waiters = [waiter for waiter in self._waiting if waiter.user_id not in self._inside]
            if not waiters:
                return
            waiter = min(waiters, key=lambda waiter: self._last_turns.get(waiter.user_id, 0))
            self._waiting.remove(waiter)
            self._inside[waiter.user_id] = waiter
            self._remember(waiter.user_id)
            waiter.admitted.set()

    def _remember(self, user_id: UUID) -> None:
        self._last_turns.pop(user_id, None)
        self._last_turns[user_id] = next(self._turns)
        if len(self._last_turns) > MOST_REMEMBERED:
            del self._last_turns[next(iter(self._last_turns))]

    def _leave(self, waiter: _Waiter) -> None:
        if self._inside.get(waiter.user_id) is waiter:
            del self._inside[waiter.user_id]
        else:  # it gave up before a slot was free
            self._waiting.remove(waiter)
