import threading
import time
from uuid import uuid4

import pytest

from objectvision.lib import wakeups
from objectvision.lib.redis import shared_client
from testing.waiting import until


@pytest.fixture(autouse=True)
def without_polling(monkeypatch, stopping):
    """A waiting thread polls so rarely that the test would fail without a wakeup."""
    monkeypatch.setattr(wakeups, "LOOK_AGAIN_SECONDS", 60)


class Row:
    """A row that one process reads and another changes."""

    def __init__(self):
        self.id = uuid4()
        self.state = self.found = None
        self.looks = 0

    def look(self):
        self.looks += 1
        return self.state

    def wait(self, seconds=30, **options):
        self.found = wakeups.wait_for(self.id, self.look, seconds, **options)


@pytest.fixture
def waiting():
    """Starts a thread that waits for a row, and returns it once it has looked at the row."""
    threads = []

    def start(row, seconds=30, **options):
        thread = threading.Thread(target=row.wait, args=[seconds], kwargs=options)
        thread.start()
        threads.append(thread)
        until(lambda: row.looks)
        return thread

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_row_that_is_done_is_returned_without_waiting():
    row = Row()
    row.state = "done"
    row.wait()
    assert (row.found, row.looks) == ("done", 1)


def test_waiting_returns_none_after_its_time():
    row = Row()
    started = time.monotonic()
    row.wait(0.05)
    assert row.found is None
    assert 0.05 <= time.monotonic() - started < 5


def test_publish_wakes_the_waiting_threads(waiting):
    rows = [Row(), Row()]
    threads = [waiting(row) for row in rows]
    for row in rows:
        row.state = "done"
    wakeups.publish({row.id: "" for row in rows})
    for thread in threads:
        thread.join(10)
    assert [row.found for row in rows] == ["done", "done"]


def test_a_wake_up_with_a_text_is_read_instead_of_the_row(waiting):
    row = Row()
    waiting(row, read=str.upper)
    wakeups.publish({row.id: "done"})
    until(lambda: row.found)
    assert (row.found, row.looks) == ("DONE", 1)


def test_a_wake_up_that_came_first_is_read_where_the_row_is_new():
    row, asked_at = Row(), time.monotonic()
    wakeups.publish({row.id: "done"})
    row.wait(read=str.upper, unchanged_at=asked_at)
    assert (row.found, row.looks) == ("DONE", 0)


def test_a_wake_up_that_came_first_is_not_read_where_the_row_may_have_changed():
    row = Row()
    row.state = "changed again"
    wakeups.publish({row.id: "done"})
    row.wait(read=str.upper)
    assert (row.found, row.looks) == ("changed again", 1)


def test_only_the_latest_wake_ups_are_remembered(monkeypatch):
    monkeypatch.setattr(wakeups, "MOST_REMEMBERED", 2)
    ids = [uuid4() for _ in range(3)]
    wakeups.publish(dict.fromkeys(ids, "done"))
    assert list(wakeups._recent)[-2:] == ids[1:]
    assert len(wakeups._recent) == 2


def test_publishing_another_row_wakes_no_thread(waiting):
    row, other = Row(), Row()
    waiting(row)
    waiting(other)
    row.state = other.state = "done"
    wakeups.publish({other.id: ""})
    until(lambda: other.looks == 2)
    assert row.looks == 1
    wakeups.publish({row.id: ""})


def test_a_thread_waits_on_if_the_row_is_unchanged(waiting):
    row = Row()
    thread = waiting(row)
    wakeups.publish({row.id: ""})
    until(lambda: row.looks == 2)
    row.state = "done"
    wakeups.publish({row.id: ""})
    thread.join(10)
    assert row.found == "done"


def test_the_row_is_polled_without_a_wakeup(monkeypatch, waiting):
    monkeypatch.setattr(wakeups, "LOOK_AGAIN_SECONDS", 0.02)
    row = Row()
    thread = waiting(row)
    row.state = "done"
    thread.join(10)
    assert row.found == "done"


def test_waiting_threads_return_when_the_process_stops(monkeypatch, waiting):
    monkeypatch.setattr(wakeups, "LOOK_AGAIN_SECONDS", 0.1)
    row = Row()
    thread = waiting(row)
    wakeups.stop()
    thread.join(10)
    assert row.found is None
    another = Row()
    another.wait()
    assert (another.found, another.looks) == (None, 1)


def test_a_row_is_forgotten_after_the_wait():
    row = Row()
    row.wait(0.01)
    assert row.id not in wakeups._told


def test_a_failed_publish_is_logged(settings, closed_redis, caplog):
    settings.REDIS_URL = closed_redis
    wakeups.publish({uuid4(): ""})
    assert [record.message.split(",")[0] for record in caplog.records] == ["Wake-ups not published"]


@pytest.fixture
def through_redis(settings, redis_url):
    """The process listens on Redis, and no longer after the test."""
    settings.REDIS_URL = redis_url
    yield
    wakeups.stop()
    wakeups.publish({uuid4(): ""})  # the listener looks up
    wakeups._listener().join(10)
    assert not wakeups._listener().is_alive()
    wakeups._listener.cache_clear()


@pytest.mark.services
def test_wakeups_are_published_through_redis(through_redis, waiting):
    row = Row()
    thread = waiting(row)
    row.state = "done"
    until(
        lambda: wakeups.publish({row.id: ""}) or not thread.is_alive()
    )  # the subscription begins in its own time
    assert row.found == "done"


@pytest.mark.services
def test_a_text_comes_through_redis_to_a_new_row_that_is_never_looked_at(through_redis, waiting):
    first = Row()
    waiting(first)  # the listener begins
    until(lambda: wakeups._hearing["since"])
    row, asked_at = Row(), time.monotonic()
    wakeups.publish({row.id: "häßlich"})
    row.wait(read=str.upper, unchanged_at=asked_at)
    assert (row.found, row.looks) == ("HÄSSLICH", 0)
    wakeups.publish({first.id: ""})
    until(lambda: first.looks == 2)
    first.state = "done"
    wakeups.publish({first.id: ""})


@pytest.mark.services
def test_a_new_row_is_looked_at_while_wake_ups_may_be_missed(settings, closed_redis):
    settings.REDIS_URL = closed_redis
    row, asked_at = Row(), time.monotonic()
    row.state = "done"
    row.wait(unchanged_at=asked_at)
    wakeups.stop()
    wakeups._listener().join(10)
    wakeups._listener.cache_clear()
    assert (row.found, row.looks) == ("done", 1)


@pytest.mark.services
def test_invalid_messages_on_the_redis_channel_are_ignored(through_redis, waiting):
    row = Row()
    thread = waiting(row)
    until(lambda: shared_client().publish(wakeups.CHANNEL, b"nonsense"))
    shared_client().publish(wakeups.CHANNEL, b"\xff")  # no UTF-8
    row.state = "done"
    until(lambda: wakeups.publish({row.id: ""}) or not thread.is_alive())
    assert row.found == "done"
