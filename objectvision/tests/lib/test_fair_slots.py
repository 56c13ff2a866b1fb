"""Slots for expensive requests: a few at once, one for each user, users take turns."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest

from objectvision.lib import fair_slots
from objectvision.lib.fair_slots import FairSlots
from objectvision.lib.limits import Busy, TooMany
from testing.waiting import until

ADA, EVE, BOB = uuid4(), uuid4(), uuid4()


class Visits:
    """Threads that each take a slot, record it, and keep it until they are told to end."""

    def __init__(self, threads, slots):
        self.threads, self.slots = threads, slots
        self.inside, self.ends = [], {}

    def begin(self, name, user):
        self.ends[name] = threading.Event()
        before = self.count(user)
        future = self.threads.submit(self.visit, name, user)
        until(lambda: self.count(user) > before)
        return future

    def count(self, user):
        here = [*self.slots._waiting, *self.slots._inside.values()]
        return sum(waiter.user_id == user for waiter in here)

    def visit(self, name, user):
        with self.slots.slot(user):
            self.inside.append(name)
            self.ends[name].wait(10)

    def end_at_once(self, name, user):
        visit = self.begin(name, user)
        self.end(name)
        visit.result()

    def end(self, *names):
        for name in names:
            self.ends[name].set()


@pytest.fixture
def visits():
    with ThreadPoolExecutor(10) as threads:
        visits = Visits(threads, FairSlots(2, "Much is going on"))
        yield visits
        visits.end(*visits.ends)


def test_a_request_waits_until_a_slot_is_free(visits):
    for name, user in (("first", ADA), ("second", EVE), ("third", BOB)):
        visits.begin(name, user)
    until(lambda: visits.inside == ["first", "second"])
    visits.end("first")
    until(lambda: visits.inside == ["first", "second", "third"])


def test_a_user_has_one_slot_at_a_time(visits):
    for number in range(5):
        visits.begin(f"ada {number}", ADA)
    visits.begin("eve", EVE)
    until(lambda: visits.inside == ["ada 0", "eve"])
    visits.end("eve")
    visits.begin("bob", BOB)
    until(lambda: visits.inside == ["ada 0", "eve", "bob"])
    visits.end("ada 0")
    until(lambda: visits.inside[3:] == ["ada 1"])


def test_new_users_are_admitted_in_order_of_arrival(visits):
    for name, user in (("ada", ADA), ("eve", EVE)):
        visits.begin(name, user)
    users = [uuid4() for _ in range(6)]
    for number, user in enumerate(users):
        visits.begin(number, user)
    visits.end("ada", *range(6))
    until(lambda: len(visits.inside) == 8)
    assert visits.inside[2:] == [0, 1, 2, 3, 4, 5]


def test_a_request_without_a_slot_in_time_raises_busy_and_leaves_no_trace(visits, monkeypatch):
    monkeypatch.setattr(fair_slots, "LONGEST_WAIT_SECONDS", 0)
    with visits.slots.slot(ADA), pytest.raises(Busy), visits.slots.slot(ADA):
        pass
    assert (visits.slots._waiting, visits.slots._inside, visits.slots._queued) == ([], {}, {})


def test_waiting_requests_end_when_the_server_stops(visits, stopping):
    with visits.slots.slot(ADA):
        waiting = visits.begin("ada", ADA)
        stopping[1].set()
        assert isinstance(waiting.exception(5), Busy)


def test_an_exception_frees_the_slot():
    slots = FairSlots(1, "Much is going on")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), slots.slot(ADA):
            raise ZeroDivisionError
    with ExitStack() as stack:
        stack.enter_context(slots.slot(ADA))
    assert (slots._inside, slots._queued) == ({}, {})


def test_users_take_turns_regardless_of_their_waiting_requests(visits):
    for name in ("ada 0", "eve 0", "ada 1", "ada 2", "eve 1", "eve 2"):
        visits.begin(name, {"ada": ADA, "eve": EVE}[name[:3]])
    visits.begin("bob", BOB)
    visits.end("ada 0")
    until(lambda: visits.inside[2:] == ["bob"])
    visits.end("bob")
    until(lambda: visits.inside[3:] == ["ada 1"])
    visits.end("ada 1")
    until(lambda: visits.inside[4:] == ["ada 2"])  # eve has a slot
    visits.end("eve 0")
    until(lambda: visits.inside[5:] == ["eve 1"])


def test_the_user_admitted_least_recently_is_next(visits):
    visits.end_at_once("ada 0", ADA)
    visits.begin("first", uuid4())
    visits.begin("second", uuid4())
    visits.begin("ada 1", ADA)
    visits.begin("bob", BOB)
    visits.end("first", "bob")
    until(lambda: visits.inside[3:] == ["bob", "ada 1"])


def test_a_request_over_the_queue_limit_of_a_user_is_refused(visits, monkeypatch):
    monkeypatch.setattr(fair_slots, "MOST_QUEUED", 3)
    for number in range(3):
        visits.begin(f"ada {number}", ADA)
    with (
        pytest.raises(TooMany, match="3 requests of yours are in line") as caught,
        visits.slots.slot(ADA),
    ):
        pass
    assert caught.value.retry_after == 1
    visits.begin("eve", EVE)
    until(lambda: visits.inside == ["ada 0", "eve"])
    visits.end("ada 0")
    until(lambda: visits.slots._queued[ADA] == 2)
    visits.begin("ada 3", ADA)


def test_a_request_that_takes_several_slots_counts_once_in_the_queue(monkeypatch):
    monkeypatch.setattr(fair_slots, "MOST_QUEUED", 1)
    slots = FairSlots(2, "Much is going on")
    with slots.queue(ADA) as slot:
        for _ in range(3):
            with slot():
                pass
            with pytest.raises(TooMany), slots.slot(ADA):
                pass
            with slots.slot(EVE):
                pass
    with slots.slot(ADA):
        pass


def test_only_the_most_recent_users_are_remembered(monkeypatch):
    monkeypatch.setattr(fair_slots, "MOST_REMEMBERED", 2)
    slots = FairSlots(2, "Much is going on")
    for user in (ADA, EVE, ADA, BOB):
        with slots.slot(user):
            pass
    assert list(slots._last_turns) == [ADA, BOB]
