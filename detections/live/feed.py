"""Follows the rows for all streams of a web process: one reader, however many streams there are."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from detections.live import reading, slots
from detections.live.messages import End
from objectvision.lib import connections, wakeups

if TYPE_CHECKING:
    from detections.live.streams import Stream

log = logging.getLogger(__name__)

# Wake-ups may be lost, and commands of another process do not reach the embedded one: it looks this often.
LOOK_SECONDS = 1.0
TOGETHER_SECONDS = 0.02  # wake-ups that are read together
PROGRESS_SECONDS = 0.25  # at least, between two reads of progress
CHECK_SECONDS = 2.0
RENEW_SECONDS = slots.LAPSES_SECONDS / 3
STOPPING_SECONDS = 0.25


class Feed:
    """The streams of one event loop. Its reader runs while there are any."""

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Self]] = WeakKeyDictionary()

    @classmethod
    def of_this_loop(cls) -> Self:
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loops:
            cls._of_loops[loop] = cls(loop)
        return cls._of_loops[loop]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.streams: set[Stream] = set()
        self.followers: dict[UUID, set[Stream]] = {}
        self.woken: set[UUID] = set()
        self.behind: set[UUID] = set()
        """Users whose progress is still to be read."""
        self.wake = asyncio.Event()
        self.seen: set[UUID] = set()
        self.looked_at = timezone.now()
        self.reader: asyncio.Task[None] | None = None
        self.last = dict.fromkeys(("look", "progress", "check", "renew"), 0.0)

    @contextmanager
    def checking(self, stream: "Stream") -> Iterator[None]:
        """Until the block ends, the stream is closed as soon as its credential has ended."""
        self.streams.add(stream)
        if self.reader is None or self.reader.done():
            self.looked_at, self.last["check"] = timezone.now(), monotonic()
            self.reader = self.loop.create_task(self.run())
        try:
            yield
        finally:
            self.streams.discard(stream)

    @contextmanager
    def telling(self, stream: "Stream") -> Iterator[None]:
        """Until the block ends, the stream gets its user's messages."""
        user_id = stream.user_id
        self.followers.setdefault(user_id, set()).add(stream)
        try:
            with wakeups.telling(user_id, partial(self.notice_from_thread, user_id)):
                yield
        finally:
            self.followers[user_id].discard(stream)
            if not self.followers[user_id]:
                del self.followers[user_id]

    def notice_from_thread(self, user_id: UUID, _text: str) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.notice, user_id)

    def notice(self, user_id: UUID) -> None:
        self.woken.add(user_id)
        self.behind.add(user_id)
        self.wake.set()

    async def run(self) -> None:
        try:
            while self.streams and not wakeups.stopping.is_set():
                await self.wait()
                await self.look()
        finally:
            self.close_all()

    async def wait(self) -> None:
        """Until a user is woken, or something is due."""
        due = {
            "look": self.last["look"] + LOOK_SECONDS,
            "check": self.last["check"] + CHECK_SECONDS,
            "stop": monotonic() + STOPPING_SECONDS,
        }
        if self.behind:
            due["progress"] = self.last["progress"] + PROGRESS_SECONDS
        self.wake.clear()
        if not self.woken:
            try:
                async with asyncio.timeout(max(0.0, min(due.values()) - monotonic())):
                    await self.wake.wait()
            except TimeoutError:
                return
        await asyncio.sleep(TOGETHER_SECONDS)

    async def look(self) -> None:
        try:
            if self.is_due("check", CHECK_SECONDS):
                await self.check()
            if self.is_due("renew", RENEW_SECONDS):
                await reading.in_thread(partial(slots.renew, [stream.slot for stream in self.streams]))
            if self.is_due("look", LOOK_SECONDS):
                self.behind |= self.followers.keys()
                await self.read_all_events()
            elif self.woken:
                await self.read_events(self.woken)
            if self.behind and self.is_due("progress", PROGRESS_SECONDS):
                await self.read_progress()
        except (OperationalError, InterfaceError) as error:
            connections.drop_broken()
            log.warning("Streams wait for the database: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    def is_due(self, name: str, seconds: float) -> bool:
        now = monotonic()
        if now - self.last[name] < seconds:
            return False
        self.last[name] = now
        return True

    async def read_all_events(self) -> None:
        """As `read_events`, for all streams: no event before this is looked for again."""
        began = timezone.now()
        await self.read_events(set(self.followers))
        self.looked_at = began
        oldest = reading.start_of(began)
        self.seen = {pk for pk in self.seen if pk >= oldest}

    async def read_events(self, users: set[UUID]) -> None:
        """Put these users' new events into their streams. A later read finds the events of a failed one."""
        self.woken = self.woken - users
        users = users & self.followers.keys()
        since = self.looked_at - reading.OVERLAP
        found = (
            await reading.in_thread(partial(reading.events_since, users, since, self.seen)) if users else []
        )
        for message in found:
            for stream in self.followers.get(message.user_id, ()):
                stream.put(message)
        self.seen |= {message.event_id for message in found if message.event_id}

    async def read_progress(self) -> None:
        users, self.behind = self.behind & self.followers.keys(), set()
        for message in await reading.in_thread(partial(reading.progress_of, users)) if users else ():
            for stream in self.followers.get(message.user_id, ()):
                if message.done:
                    stream.put(message)

    async def check(self) -> None:
        """Close the streams whose sessions, keys or accounts have ended."""
        streams = list(self.streams)
        alive = await reading.in_thread(partial(reading.alive, [stream.credential for stream in streams]))
        for stream in streams:
            if stream.credential.pk not in alive:
                stream.close(End.INVALID)

    def close_all(self) -> None:
        for stream in self.streams:
            stream.close(End.RESTART)
