"""Streams of one process: what they tell, in which order, and what it costs to read it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone

from accounts import browsers
from accounts.models import Session
from detections.live import feed, reading, slots
from detections.live.feed import Feed
from detections.live.messages import End, of_event, of_progress
from detections.live.sockets import RefusedHandshakeError, open_stream
from detections.live.streams import MOST_UNSENT, Stream
from detections.models import Detection
from notifications.models import Event, first_id_at
from objectvision.lib import connections, wakeups

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened():
    """Opens a stream: `opened(user)`."""

    def opened(user, since=None):
        session = Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))
        return Stream(user.pk, session, since, slots.take(user.pk, "sse"))

    return opened


def event(user, age=0, **values):
    """Saved, and its owner's streams are woken."""
    made_at = timezone.now() - timedelta(seconds=age)
    pk = first_id_at(made_at).int + int(user.pk) % 2**60
    made = Event.objects.create(
        pk=first_id_at(made_at).__class__(int=pk), user=user, type="detection.started", subject_id=user.pk
    )
    wakeups.publish({user.pk: ""})
    return made


async def told(stream, count, seconds=10):
    """The texts of the next messages."""
    texts = []
    async with asyncio.timeout(seconds):
        async for message in stream.messages():
            texts.append(message.text)
            if len(texts) == count:
                break
    return texts


async def in_thread(act):
    return await reading.in_thread(act)


async def until(look):
    for _ in range(1000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


def followers():
    return sum(map(len, Feed.of_this_loop().followers.values()))


def text(made):
    return of_event(made).text


@pytest.fixture
def reads(monkeypatch):
    """The users of each read of events."""
    made = []
    read = reading.events_since

    def noted(users, *arguments):
        made.append(set(users))
        return read(users, *arguments)

    monkeypatch.setattr(reading, "events_since", noted)
    return made


def test_one_read_serves_all_streams_of_a_user(user, stranger, opened, reads, monkeypatch):
    monkeypatch.setattr(feed, "LOOK_SECONDS", 60)
    streams = [opened(user), opened(user), opened(user), opened(stranger)]

    async def follow():
        tasks = [asyncio.create_task(told(stream, 1)) for stream in streams]
        await until(lambda: followers() == 4)
        await asyncio.sleep(0.2)
        reads.clear()
        mine = await in_thread(lambda: event(user))
        found = [await task for task in tasks[:3]]
        assert reads == [{user.pk}]
        theirs = await in_thread(lambda: event(stranger))
        assert found == [[text(mine)]] * 3
        assert await tasks[3] == [text(theirs)]
        assert reads == [{user.pk}, {stranger.pk}]

    asyncio.run(follow())


def test_reading_what_is_new_takes_two_statements_and_nothing_new_one(
    user, stranger, django_assert_num_queries
):
    since = timezone.now() - timedelta(seconds=3)
    made = [event(user), event(stranger)]
    with django_assert_num_queries(2):
        found = reading.events_since([user.pk, stranger.pk], since, set())
    with django_assert_num_queries(1):
        assert reading.events_since([user.pk, stranger.pk], since, {each.pk for each in made}) == []
    assert {message.event_id for message in found} == {each.pk for each in made}


def test_an_event_that_commits_late_is_told_though_its_id_is_older(user, opened):
    stream = opened(user)

    async def follow():
        task = asyncio.create_task(told(stream, 2))
        await until(followers)
        newer = await in_thread(lambda: event(user))
        await asyncio.sleep(1.5)
        older = await in_thread(lambda: event(user, age=3))
        assert await task == [text(newer), text(older)]

    asyncio.run(follow())


def test_a_lost_wake_up_delays_an_event_by_a_second(user, opened, monkeypatch):
    monkeypatch.setattr(wakeups, "publish", lambda _: None)
    stream = opened(user)

    async def follow():
        task = asyncio.create_task(told(stream, 1, seconds=5))
        await until(followers)
        made = await in_thread(lambda: event(user))
        assert await task == [text(made)]

    asyncio.run(follow())


def test_events_between_the_request_and_the_first_message_are_told_once(user, opened):
    event(user, age=2)  # before the request: not asked for
    stream = opened(user)
    between = event(user)

    async def follow():
        task = asyncio.create_task(told(stream, 2))
        await until(followers)
        then = await in_thread(lambda: event(user))
        assert await task == [text(between), text(then)]

    asyncio.run(follow())


def test_a_replay_of_many_pages_misses_nothing_and_repeats_nothing(user, opened, monkeypatch):
    monkeypatch.setattr(reading, "PAGE", 3)
    made = [event(user, age=100 - number) for number in range(10)]
    late = event(user)
    stream = opened(user, since=timezone.now() - timedelta(seconds=93.5))
    expected = [text(each) for each in [*made[2:], late]]  # from 5 s before the time
    assert asyncio.run(told(stream, len(expected))) == expected


def test_a_late_event_is_told_to_a_client_that_reads_the_last_page_of_a_replay_slowly(
    user, opened, monkeypatch
):
    """As the page is read, the event has an id within it and is not committed."""
    monkeypatch.setattr(reading, "PAGE", 3)
    made = [event(user, age=4), event(user, age=2), event(user)]
    stream = opened(user, since=timezone.now() - timedelta(seconds=5))
    late = []

    def commit_late():
        late.append(event(user, age=1))
        moved = timezone.now() + timedelta(seconds=60)
        monkeypatch.setattr(timezone, "now", lambda: moved)

    async def follow():
        found = []
        async with asyncio.timeout(10):
            async for message in stream.messages():
                found.append(message.text)
                if len(found) == 1:
                    await in_thread(commit_late)
                if len(found) == 4:
                    break
        assert found == [text(each) for each in [*made, *late]]

    asyncio.run(follow())


def test_a_stream_without_a_time_tells_nothing_old_that_the_reader_finds_for_others(user, opened):
    """The reader looks back from its last look, which was before the stream was opened."""
    old = event(user, age=5.5)
    stream = opened(user)
    stream.put(of_event(old))

    async def follow():
        task = asyncio.create_task(told(stream, 1))
        await until(followers)
        new = await in_thread(lambda: event(user))
        assert await task == [text(new)]

    asyncio.run(follow())


def test_a_replay_may_begin_in_the_year_1(user, opened):
    made = event(user, age=100)
    assert asyncio.run(told(opened(user, since=datetime(1, 1, 1, tzinfo=UTC)), 1)) == [text(made)]


def test_a_stream_with_a_time_begins_with_the_running_jobs(user, opened, detector):
    running = Detection.objects.create(
        user=user, detector=detector, total=4, processed=1, failed=1, status="processing"
    )
    Detection.objects.create(user=user, detector=detector, total=4, processed=4, status="completed")
    assert asyncio.run(told(opened(user, since=timezone.now()), 1)) == [of_progress(running).text]
    assert '"percent": 50' in of_progress(running).text


def test_progress_is_told_four_times_a_second_at_most_and_with_its_last_state(user, opened, detector):
    running = Detection.objects.create(
        user=user, detector=detector, total=1000, status="processing", started_at=timezone.now()
    )
    stream = opened(user)

    def advance():
        Detection.objects.filter(pk=running.pk).update(processed=Detection.objects.get().processed + 1)
        wakeups.publish({user.pk: ""})

    async def follow():
        found = []

        async def collect():
            async for message in stream.messages():
                found[len(found) :] = [message.done]

        task = asyncio.create_task(collect())
        await until(followers)
        loop = asyncio.get_running_loop()
        end = loop.time() + 2
        while loop.time() < end:
            await in_thread(advance)
            await asyncio.sleep(0.01)
        last = await in_thread(lambda: Detection.objects.get().processed)
        await until(lambda: found and found[-1] == last)
        task.cancel()
        assert found == sorted(set(found))
        assert 4 < len(found) <= 2 / feed.PROGRESS_SECONDS + 3

    asyncio.run(follow())


def test_progress_never_goes_back_within_a_run(user, detector, opened):
    stream = opened(user)
    began = timezone.now()
    running = Detection(user=user, detector=detector, total=9, status="processing", updated_at=began)

    def is_told(done, started_at=began):
        running.processed, running.started_at = done, started_at
        stream.unsent.clear()
        stream.put(of_progress(running))
        return bool(stream.unsent)

    assert [is_told(done) for done in (3, 3, 2, 4)] == [True, False, False, True]
    again = began + timedelta(minutes=1)
    assert [is_told(done, again) for done in (1, 1, 2)] == [True, False, True]


def test_a_stream_whose_messages_are_not_read_ends_as_too_slow(user, opened):
    stream = opened(user)
    message = of_event(event(user))
    for _ in range(MOST_UNSENT):
        stream.put(message)
    assert (stream.end, len(stream.unsent)) == (None, MOST_UNSENT)
    stream.put(message)
    assert (stream.end, len(stream.unsent)) == (End.TOO_SLOW, MOST_UNSENT)

    async def rest():
        return [message async for message in stream.messages()]

    assert asyncio.run(rest()) == []


def test_streams_that_begin_while_the_server_stops_end_at_once(user, opened, stopping):
    wakeups.stop()
    stream = opened(user)

    async def messages():
        return [message async for message in stream.messages()]

    assert asyncio.run(messages()) == []
    assert stream.end is End.RESTART


def test_a_slot_is_given_back_by_the_end_of_a_stream_and_by_one_that_never_began(user, opened):
    asyncio.run(told(opened(user, since=event(user).created_at - timedelta(minutes=1)), 1))
    for _ in range(slots.MOST_STREAMS + 5):
        stream = opened(user)
        del stream
        reading.threads.submit(connections.give_back).result()
        while slots._held:
            pass
    with_all = [opened(user) for _ in range(slots.MOST_STREAMS)]
    with pytest.raises(slots.TooManyStreams):
        opened(user)
    del with_all


@pytest.mark.parametrize(
    ("scheme", "origin", "is_own"),
    [
        ("wss", b"https://testserver", True),
        ("ws", b"http://testserver", True),
        ("wss", b"http://testserver", False),  # a page that came by plain HTTP may be forged
        ("ws", b"http://testserver:8080", False),
    ],
)
def test_a_cookie_opens_a_socket_for_pages_of_the_same_scheme_host_and_port(user, scheme, origin, is_own):
    response = HttpResponse()
    browsers.log_in(response, user, "pytest")
    cookie = response.cookies[settings.CONSOLE_COOKIE_NAME].output(header="").partition(";")[0].strip()
    headers = [(b"host", b"testserver"), (b"origin", origin), (b"cookie", cookie.encode())]
    scope = {"type": "websocket", "scheme": scheme, "path": "/ws/", "query_string": b"", "headers": headers}
    if is_own:
        open_stream(scope).release()
        return
    with pytest.raises(RefusedHandshakeError) as refused:
        open_stream(scope)
    assert refused.value.end == End.INVALID
