"""One client's stream: first what it missed, then what happens."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from accounts.models import ApiKey, Session
from detections.live import reading
from detections.live.feed import Feed
from detections.live.messages import End, Message
from detections.live.slots import Slot

T = TypeVar("T")

QUIET_SECONDS = 15
RETRY_SECONDS = 1
MOST_UNSENT = 1000
ENDED = ("detection.completed", "detection.failed", "detection.cancelled")


def give_back_later(slot: Slot) -> None:
    """In another thread, since Redis may be slow."""
    with suppress(RuntimeError):  # the process ends
        reading.threads.submit(slot.release)


class Stream:
    """The messages of one user for one client, from `since` on, or from now on.

    Opened in the request's thread, when events that the client causes from then on are not missed; everything
    else happens in the server's loop.
    """

    def __init__(
        self, user_id: UUID, credential: Session | ApiKey, since: datetime | None, slot: Slot
    ) -> None:
        self.user_id = user_id
        self.credential = credential
        self.since = since
        self.slot = slot
        # Called once, at the latest when the stream is forgotten: a client may leave before it has begun.
        self.release = weakref.finalize(self, give_back_later, slot)
        self.opened_at = timezone.now()
        # Events of the last seconds that the client has, or does not ask for.
        self.known: set[UUID] = set()
        if since is None:
            self.known |= set(reading.ids_since([user_id], self.opened_at - reading.OVERLAP))
        self.end: End | None = None
        self.unsent: deque[Message] = deque()
        self.woken = asyncio.Event()
        self.done: dict[UUID, tuple[datetime | None, int]] = {}

    def put(self, message: Message) -> None:
        """Queue a message. A client that reads too slowly loses its stream."""
        if not self.is_ahead(message):
            return
        if len(self.unsent) >= MOST_UNSENT:
            self.close(End.TOO_SLOW)
            return
        self.unsent.append(message)
        self.woken.set()

    def is_ahead(self, message: Message) -> bool:
        """Whether this tells more than the last message about the same run of a detection."""
        if message.event_id:
            if message.type in ENDED:
                self.done.pop(message.subject_id, None)
            return True
        last = self.done.get(message.subject_id)
        if last and last[0] == message.run and message.done <= last[1]:
            return False
        self.done[message.subject_id] = message.run, message.done
        return True

    def first_id(self) -> UUID:
        """Events before this are old: they were told, or are not asked for."""
        return reading.start_of(self.opened_at)

    def is_new(self, message: Message) -> bool:
        pk = message.event_id
        return pk is None or (pk not in self.known and pk >= self.first_id())

    def close(self, end: End) -> None:
        self.end = self.end or end
        self.woken.set()

    async def messages(self) -> AsyncIterator[Message | None]:
        """Messages until the stream has an `end`; None after each `QUIET_SECONDS` without one."""
        feed = Feed.of_this_loop()
        try:
            with feed.checking(self):
                async for message in self.missed():
                    if self.end:
                        return
                    yield message
                with feed.telling(self):
                    async for message in self.caught_up():
                        if self.end:
                            return
                        yield message
                    async for following in self.following():
                        yield following
        finally:
            self.release()

    async def missed(self) -> AsyncIterator[Message]:
        """The events since the time that was asked for, page by page: a client may read slowly.

        Not after the first page that reaches the last seconds, of which events may still be committed.
        """
        if self.since is None:
            return
        page, position = None, reading.start_of(self.since)
        while page is None or (len(page) == reading.PAGE and position < self.first_id()):
            self.opened_at = timezone.now()
            page = await self.read(partial(reading.page_after, self.user_id, position))
            for message in page:
                position = message.event_id or position
                yield message
            last_ids = {message.event_id for message in page if message.event_id}
            self.known = {pk for pk in self.known | last_ids if pk >= self.first_id()}

    async def caught_up(self) -> AsyncIterator[Message]:
        """What has happened between reading and following."""
        moment = self.opened_at - reading.OVERLAP
        late = partial(reading.events_since, [self.user_id], moment, self.known)
        for message in await self.read(late):
            yield message
            if message.event_id:
                self.known.add(message.event_id)
        if self.since is not None:
            for message in await self.read(partial(reading.progress_of, [self.user_id])):
                if self.is_ahead(message):
                    yield message

    async def following(self) -> AsyncIterator[Message | None]:
        while not self.end:
            if self.unsent:
                message = self.unsent.popleft()
                if self.is_new(message):
                    yield message
                continue
            self.woken.clear()
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self.woken.wait()
            except TimeoutError:
                yield None

    async def read(self, read: Callable[[], T]) -> T:
        """What `read` returns, once the database answers."""
        while True:
            try:
                return await reading.in_thread(read)
            except (OperationalError, InterfaceError):
                if self.end:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
