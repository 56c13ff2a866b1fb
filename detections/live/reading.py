"""Reads for streams what the rows say. Each function gives its database connection back."""

import asyncio
from collections.abc import Callable, Collection, Container
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from accounts.models import ApiKey, Session
from detections.live.messages import Message, of_event, of_progress
from detections.models import Detection
from notifications.models import Event, first_id_at
from objectvision.lib import connections

T = TypeVar("T")

# Rows commit out of the order of their ids, and clocks of hosts differ: events are looked for again so long.
OVERLAP = timedelta(seconds=5)
PAGE = 200
MOST_RUNNING = 1000  # detections of all users that are asked for together

# In threads of their own: files that are sent, and requests, have the others. A flood of handshakes holds up
# no stream.
threads = ThreadPoolExecutor(4, "live")
handshakes = ThreadPoolExecutor(4, "handshakes")


async def in_thread(read: Callable[[], T], pool: ThreadPoolExecutor = threads) -> T:
    def read_and_give_back() -> T:
        try:
            return read()
        finally:
            connections.give_back()

    in_context = partial(copy_context().run, read_and_give_back)  # its log lines carry the request's id
    return await asyncio.get_running_loop().run_in_executor(pool, in_context)


def ids_since(user_ids: Collection[UUID], moment: datetime) -> list[UUID]:
    """The ids of these users' events since a time, oldest first: they are in the index."""
    events = Event.objects.filter(user__in=user_ids).since(moment)
    return list(events.values_list("pk", flat=True))


def events_since(user_ids: Collection[UUID], moment: datetime, known: Container[UUID]) -> list[Message]:
    """These users' events since a time, oldest first, without the known ones."""
    ids = [pk for pk in ids_since(user_ids, moment) if pk not in known]
    return [of_event(event) for event in Event.objects.filter(pk__in=ids).order_by("pk")] if ids else []


def page_after(user_id: UUID, position: UUID) -> list[Message]:
    """A page of the user's events behind this id, oldest first."""
    events = Event.objects.filter(user=user_id, pk__gt=position).order_by("pk")
    return [of_event(event) for event in events[:PAGE]]


def progress_of(user_ids: Collection[UUID]) -> list[Message]:
    """How far these users' running detections have come, the latest first."""
    running = Detection.objects.filter(user__in=user_ids, status=Detection.Status.PROCESSING)
    needed = running.only("user_id", "processed", "failed", "total", "status", "started_at", "updated_at")
    return [of_progress(detection) for detection in needed.order_by("-created_at")[:MOST_RUNNING]]


def alive(credentials: Collection[Session | ApiKey]) -> set[UUID]:
    """The ids of the credentials that have not ended, and whose accounts are open."""
    found: set[UUID] = set()
    for model in (Session, ApiKey):
        ids = [each.pk for each in credentials if isinstance(each, model)]
        if ids:
            found |= set(model.objects.alive().filter(pk__in=ids).values_list("pk", flat=True))
    return found


def start_of(moment: datetime) -> UUID:
    """An id before those of all events that clients may miss who have seen everything up to this time."""
    # Times before all events are as good as their first, also the year 1, before which there is none.
    return first_id_at(max(moment, datetime.fromtimestamp(OVERLAP.total_seconds(), tz=UTC)) - OVERLAP)
