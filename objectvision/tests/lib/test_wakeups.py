import threading
import time
from uuid import uuid4

import pytest

from notifications import news
from objectvision import shared_redis
from objectvision.tests.stack import until


@pytest.fixture(autouse=True)
def only_news_wakes(monkeypatch, stopping):
    """Whoever waits looks again by itself so late that the test would fail."""
    monkeypatch.setattr(news, "LOOK_AGAIN_SECONDS", 60)


class Row:
    """Something that a process looks at, and another one changes."""

    def __init__(self):
        self.id = uuid4()
        self.state = None
        self.looks = 0

    def look(self):
        self.looks += 1
        return self.state

    def wait(self, seconds=30):
        self.found = news.wait_for(self.id, self.look, seconds)


@pytest.fixture
def waiting():
    """Starts a thread that waits for a row, once it has looked in vain."""
    threads = []

    def start(row, seconds=30):
        thread = threading.Thread(target=row.wait, args=[seconds])
        thread.start()
        threads.append(thread)
        until(lambda: row.looks)
        return thread

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_what_is_there_already_is_answered_without_waiting():
    row = Row()
    row.state = "done"
    row.wait()
    assert (row.found, row.looks) == ("done", 1)


def test_nothing_is_answered_once_the_time_is_over():
    row = Row()
    started = time.monotonic()
    row.wait(0.05)
    assert row.found is None
    assert 0.05 <= time.monotonic() - started < 5


def test_news_wakes_whoever_waits(waiting):
    rows = [Row(), Row()]
    threads = [waiting(row) for row in rows]
    for row in rows:
        row.state = "done"
    news.publish([row.id for row in rows])
    for thread in threads:
        thread.join(10)
    assert [row.found for row in rows] == ["done", "done"]


def test_news_of_another_row_wakes_nobody(waiting):
    row, other = Row(), Row()
    waiting(row)
    waiting(other)
    row.state = other.state = "done"
    news.publish([other.id])
    until(lambda: other.looks == 2)
    assert row.looks == 1
    news.publish([row.id])


def test_news_that_changes_nothing_yet_lets_the_wait_go_on(waiting):
    row = Row()
    thread = waiting(row)
    news.publish([row.id])
    until(lambda: row.looks == 2)
    row.state = "done"
    news.publish([row.id])
    thread.join(10)
    assert row.found == "done"


def test_without_news_the_row_is_looked_at_again_all_the_same(monkeypatch, waiting):
    monkeypatch.setattr(news, "LOOK_AGAIN_SECONDS", 0.02)
    row = Row()
    thread = waiting(row)
    row.state = "done"
    thread.join(10)
    assert row.found == "done"


def test_a_process_told_to_stop_lets_whoever_waits_go(monkeypatch, waiting):
    monkeypatch.setattr(news, "LOOK_AGAIN_SECONDS", 0.1)
    row = Row()
    thread = waiting(row)
    news.stop()
    thread.join(10)
    assert row.found is None
    another = Row()
    another.wait()
    assert (another.found, another.looks) == (None, 1)


def test_nothing_is_kept_of_who_has_waited():
    row = Row()
    row.wait(0.01)
    assert row.id not in news._waiting


def test_news_that_cannot_be_published_is_a_line_in_the_log(settings, closed_redis, caplog):
    settings.REDIS_URL = closed_redis
    news.publish([uuid4()])
    assert [record.message.split(",")[0] for record in caplog.records] == ["News not published"]


@pytest.fixture
def through_redis(settings, redis_url):
    """The process listens on Redis, and no longer after the test."""
    settings.REDIS_URL = redis_url
    yield
    news.stop()
    news.publish([uuid4()])  # the listener looks up
    news._listener().join(10)
    assert not news._listener().is_alive()
    news._listener.cache_clear()


@pytest.mark.services
def test_news_goes_through_redis(through_redis, waiting):
    row = Row()
    thread = waiting(row)
    row.state = "done"
    until(lambda: news.publish([row.id]) or not thread.is_alive())  # the subscription begins in its own time
    assert row.found == "done"


@pytest.mark.services
def test_what_else_is_said_on_the_channel_is_not_heard(through_redis, waiting):
    row = Row()
    thread = waiting(row)
    until(lambda: shared_redis.shared().publish(news.CHANNEL, b"nonsense"))
    row.state = "done"
    until(lambda: news.publish([row.id]) or not thread.is_alive())
    assert row.found == "done"
