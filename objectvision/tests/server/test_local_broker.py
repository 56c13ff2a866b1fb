"""The broker of a single process delivers a message when it is sent, not when it is next looked for."""

import threading
import time

import pytest
from kombu import Connection

from objectvision.server import local_broker

TRANSPORT = "objectvision.server.local_broker:Transport"


@pytest.fixture
def queue(monkeypatch):
    """A queue of its own, the connection that listens to it, and what that has got."""
    monkeypatch.setattr(local_broker, "LOOK_SECONDS", 60)
    got = []
    with Connection("memory://localhost/", transport=TRANSPORT) as listening:
        queue = listening.SimpleQueue("test_local_broker", no_ack=True)
        queue.consumer.callbacks = [lambda body, _: got.append(body)]
        queue.consumer.consume()
        yield queue, listening, got
        queue.close()


def test_a_message_wakes_a_connection_that_waits(queue):
    queue, listening, got = queue
    later = threading.Timer(0.2, queue.put, ["ring"])
    later.start()
    listening.drain_events(timeout=20)
    later.join()
    assert got == ["ring"]


def test_each_message_is_delivered_once_and_in_order(queue):
    queue, listening, got = queue
    for number in range(3):
        queue.put(number)
    for _ in range(3):
        listening.drain_events(timeout=20)
    with pytest.raises(TimeoutError):
        listening.drain_events(timeout=0.01)
    assert got == [0, 1, 2]


def test_a_connection_without_messages_gives_up_after_its_time(queue):
    _, listening, got = queue
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        listening.drain_events(timeout=0.3)
    assert 0.3 <= time.monotonic() - begun < 10
    assert got == []
