"""The threads that send: none waits for another endpoint's receiver, and none outlives its process."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from notifications import outbox
from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from notifications.webhooks import endpoints, senders
from objectvision.lib import doorbell, rows, wakeups
from testing.peers.receivers import Answer, Receiver, listening
from testing.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def threads():
    """Those of a worker. None is left after the test."""
    running = senders.Senders()
    yield running
    running.stop(0)
    until(lambda: not any(thread.name == "webhooks" for thread in threading.enumerate()), seconds=20)
    connection.close()


@pytest.fixture
def hanging(threads):
    """A receiver that answers when the test ends, or after 10 s."""
    receiver, end = Receiver(), threading.Event()

    def respond(asked):
        receiver.asked.append(asked)
        end.wait(10)
        return Answer(204)

    with listening(respond) as receiver.url:
        yield receiver
        end.set()


def delivered():
    return WebhookDelivery.objects.filter(state="delivered").count()


def happen(user, count=1):
    with transaction.atomic():
        events = [Event(type="export.failed", user=user, subject_id=uuid7()) for _ in range(count)]
        rows.write(*outbox.rows_of(events))
    return events


def test_everything_that_is_due_is_sent_once(user, receiver, made, threads):
    events = happen(user, 60)
    threads.wake()
    until(lambda: delivered() == 60)
    assert sorted(receiver.ids) == sorted(str(event.pk) for event in events)


def test_all_endpoints_are_served_after_one_message(user, receiver, threads):
    for number in range(10):
        endpoints.create_endpoint(user, None, url=f"{receiver.url}/{number}", events=["*"])
    happen(user, 3)
    threads.wake()
    until(lambda: delivered() == 30)


def test_receivers_that_hang_hold_up_nobody_else(user, receiver, hanging, made, threads):
    for _ in range(10):
        endpoints.create_endpoint(user, None, url=hanging.url, events=["*"])
    happen(user, 5)
    threads.wake()
    until(lambda: delivered() == 5, seconds=5)
    until(lambda: len(hanging.asked) == 20, seconds=5)
    assert WebhookDelivery.objects.filter(state="sending").count() == 20  # two of each


def test_endpoints_that_fail_leave_threads_for_others(user, receiver, hanging, made, threads, monkeypatch):
    monkeypatch.setattr(senders, "MOST", 4)
    monkeypatch.setattr(senders, "MOST_FOR_TROUBLED", 2)
    for _ in range(5):
        failing, _ = endpoints.create_endpoint(user, None, url=hanging.url, events=["*"])
        WebhookEndpoint.objects.filter(pk=failing.pk).update(failing_since=timezone.now())
    happen(user, 5)
    threads.wake()
    until(lambda: delivered() == 5, seconds=5)
    assert WebhookDelivery.objects.filter(state="sending").count() == 2


def test_endpoints_that_answer_slowly_leave_threads_for_others(
    user, receiver, hanging, made, threads, monkeypatch
):
    monkeypatch.setattr(senders, "MOST", 4)
    monkeypatch.setattr(senders, "MOST_FOR_TROUBLED", 2)
    monkeypatch.setattr(senders, "SLOW", timezone.timedelta(seconds=0.2))
    receiver.answers = [Answer(204, delay=0.5)] * 5
    endpoints.change_endpoint(made[0], is_active=False)
    slow = [endpoints.create_endpoint(user, None, url=receiver.url, events=["*"])[0] for _ in range(5)]
    happen(user)
    threads.wake()
    until(lambda: delivered() == 5, seconds=5)
    WebhookEndpoint.objects.filter(pk__in=[endpoint.pk for endpoint in slow]).update(url=hanging.url)
    endpoints.change_endpoint(made[0], is_active=True)
    happen(user, 5)
    threads.wake()
    until(lambda: delivered() == 10, seconds=5)
    assert WebhookDelivery.objects.filter(state="sending").count() == 2


def test_a_first_failure_is_repeated_without_another_message(user, receiver, made, threads, monkeypatch):
    monkeypatch.setattr(WebhookDelivery, "DELAYS", [timezone.timedelta(seconds=0.5)] * 9)
    receiver.answers = [Answer(500)]
    happen(user)
    threads.wake()
    until(lambda: delivered() == 1, seconds=5)
    assert len(receiver.asked) == 2


def test_a_stop_gives_back_what_is_under_way(user, hanging, settings, threads):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    endpoints.create_endpoint(user, None, url=hanging.url, events=["*"])
    happen(user, 3)
    threads.wake()
    until(lambda: len(hanging.asked) == 2)
    threads.stop(0.1)
    assert set(WebhookDelivery.objects.values_list("state", "attempts", "claim")) == {("pending", 0, None)}
    threads.wake()
    assert len(hanging.asked) == 2


def test_a_second_stop_does_not_wait_for_what_the_first_gave_back(user, hanging, settings, threads):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    endpoints.create_endpoint(user, None, url=hanging.url, events=["*"])
    happen(user)
    threads.wake()
    until(lambda: len(hanging.asked) == 1)
    stopping = threading.Thread(target=threads.stop, args=(9,))
    started = time.monotonic()
    stopping.start()
    threads.stop(0.1)
    stopping.join()
    assert time.monotonic() - started < 5
    assert WebhookDelivery.objects.get().state == "pending"


@pytest.mark.postgresql
def test_no_connection_is_held_while_a_receiver_is_waited_for(user, hanging, settings, threads):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    for _ in range(5):
        endpoints.create_endpoint(user, None, url=hanging.url, events=["*"])
    happen(user, 2)
    threads.wake()
    until(lambda: len(hanging.asked) == 10)

    connection.close()

    def all_idle():
        stats = connection.pool.get_stats()
        return stats["pool_available"] == stats["pool_size"]

    until(all_idle, seconds=5)  # the receivers hang for longer


def test_senders_are_told_of_an_event_once_it_is_committed(user, made, monkeypatch):
    found = []
    monkeypatch.setitem(doorbell._answers, outbox.SEND_TASK, lambda: found.append(made[0].deliveries.count()))
    with transaction.atomic():
        happen(user)
        assert found == []
    assert found == [1]


def test_the_owner_of_a_disabled_webhook_is_woken_once_it_is_committed(user, made):
    woken = []
    with wakeups.telling(user.pk, lambda _: woken.append(user.events.count())):
        endpoints.disable_endpoint(made[0], "It answered 410 Gone.")
    assert woken == [1]


@pytest.mark.postgresql
def test_an_endpoint_that_is_about_to_get_deliveries_is_not_deleted_meanwhile(user, made):
    def lock_for_deletion():
        try:
            with transaction.atomic():
                return WebhookEndpoint.objects.select_for_update(nowait=True).get()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            assert WebhookEndpoint.objects.listening([user.pk]) == [made[0]]
            with pytest.raises(OperationalError):
                thread.submit(lock_for_deletion).result()
        assert thread.submit(lock_for_deletion).result() == made[0]
