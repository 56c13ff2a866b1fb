"""Clients that follow what happens, while servers come and go."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from testing import services, stacks
from testing.clients import UNREACHABLE, Client, closed_with
from testing.files.pictures import photo
from testing.waiting import until

WAYS = ["websocket", "sse"]
BATCH = 100
SLOW = 60  # pictures that are looked at in many tiles


def types(messages):
    return [message["type"] for message in messages]


def first(messages, kind):
    """The messages up to the first of this type."""
    found = []
    for message in messages:
        found.append(message)
        if message["type"] == kind:
            return found
    raise AssertionError(f"The stream ended after {types(found)}")


def send_batch(client, count, content=None, **fields):
    files = [("images", (f"{number}.jpg", content or photo())) for number in range(count)]
    answer = client.post("detect/batch", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["detection_id"]


@pytest.mark.parametrize("way", WAYS)
def test_a_photo_starts_and_completes_before_the_eyes_of_its_owner_alone(stack, way):
    client, stranger = stack.client().sign_up(), stack.client().sign_up()
    with client.following(way) as messages, stranger.following(way) as others:
        detection = client.upload(photo(), name="a.jpg").json()["detection_id"]
        started, *_, completed = first(messages, "detection.completed")
        assert started["type"] == "detection.started"
        assert {started["detection_id"], completed["detection_id"]} == {detection}
        assert (completed["status"], completed["processed"], completed["failed"]) == ("completed", 1, 0)
        assert datetime.fromisoformat(started["at"]) <= datetime.fromisoformat(completed["at"])
        own = stranger.upload(photo()).json()["detection_id"]
        assert {message["detection_id"] for message in first(others, "detection.completed")} == {own}


@pytest.mark.parametrize("way", WAYS)
def test_a_cancelled_job_and_an_export_are_told(stack, way):
    client = stack.client().sign_up()
    with client.following(way) as messages:
        job = send_batch(client, SLOW, photo(400, 400), tile=64)
        assert client.post(f"detect/jobs/{job}/cancel").json()["status"] == "cancelled"
        assert types(first(messages, "detection.cancelled"))[-1] == "detection.cancelled"
        export = client.post("detect/exports", json={"format": "csv"}).json()["id"]
        [told] = first(messages, "export.completed")
        assert (told["export_id"], told["status"]) == (export, "completed")


@pytest.mark.parametrize("way", WAYS)
def test_progress_goes_forward_and_ends_before_the_end_is_told(stack, way):
    client = stack.client().sign_up()
    with client.following(way) as messages:
        job = send_batch(client, SLOW, photo(400, 400), tile=64)
        told = first(messages, "detection.completed")
    progress = [message for message in told if message["type"] == "detection.progress"]
    done = [message["processed"] + message["failed"] for message in progress]
    assert done == sorted(set(done))
    assert done
    assert {message["id"] for message in progress} == {f"{job}:{number}" for number in done}
    assert [message["percent"] for message in progress] == [number * 100 // SLOW for number in done]


@pytest.mark.parametrize("way", WAYS)
def test_what_happened_before_is_told_since_a_time_and_not_without_one(stack, way):
    client = stack.client().sign_up()
    before = datetime.now(UTC) - timedelta(seconds=1)
    earlier = client.upload(photo(), wait=30).json()["id"]
    with client.following(way) as messages:
        later = client.upload(photo()).json()["detection_id"]
        assert {each["detection_id"] for each in first(messages, "detection.completed")} == {later}
    with client.following(way, since=before.isoformat()) as messages:
        told = [next(messages) for _ in range(4)]
    assert types(told) == ["detection.started", "detection.completed"] * 2
    assert [each["detection_id"] for each in told] == [earlier] * 2 + [later] * 2


def test_a_ticket_opens_one_stream_of_either_kind(stack):
    client = stack.client().sign_up()
    with client.socket(headers={}, ticket=client.ticket()) as socket:
        client.upload(photo())
        assert "detection.started" in socket.recv(timeout=30)
    ticket = client.ticket()
    with client.stream(headers={}, ticket=ticket) as response:
        assert response.status_code == 200
    assert client.stream(headers={}, ticket=ticket).status_code == 401


def test_an_api_key_opens_streams_if_it_may_read(stack):
    client = stack.client().sign_up()
    keys = {
        scope: client.post("users/api-keys", json={"name": scope, "scopes": [scope]}).json()["key"]
        for scope in ("read", "detect")
    }
    with client.socket(headers={"X-API-Key": keys["read"]}) as socket:
        client.upload(photo())
        assert "detection.started" in socket.recv(timeout=30)
    assert code_of(client, headers={"X-API-Key": keys["detect"]}) == 4401
    assert client.stream(headers={"X-API-Key": keys["detect"]}).status_code == 403


def code_of(client, **options):
    with client.socket(**options) as socket:
        return closed_with(socket)


def session_ends(client):
    client.post("auth/logout")


def account_ends(client):
    client.http.delete(
        f"{client.api}/users/{client.get('users/get-profile').json()['id']}",
        json={"password": "a-long-passphrase"},
    )


@pytest.mark.parametrize("end", [session_ends, account_ends])
def test_streams_end_within_5_seconds_after_their_session_or_account(stack, end):
    client = stack.client().sign_up()
    with client.socket() as socket, client.stream() as response, ThreadPoolExecutor(2) as threads:
        ends = threads.submit(closed_with, socket), threads.submit(lambda: len(response.content))
        end(client)
        begun = time.monotonic()
        assert ends[0].result(30) == 4401
        ends[1].result(30)
        assert time.monotonic() - begun < 5
    assert code_of(client) == 4401


def test_streams_of_a_revoked_key_end_within_5_seconds(stack):
    client = stack.client().sign_up()
    key = client.post("users/api-keys", json={"name": "k", "scopes": ["read"]}).json()
    with client.socket(headers={"X-API-Key": key["key"]}) as socket:
        client.http.delete(f"{client.api}/users/api-keys/{key['id']}")
        begun = time.monotonic()
        assert closed_with(socket) == 4401
        assert time.monotonic() - begun < 5


class Follower:
    """A client that connects again whenever a stream ends, and keeps what it has not had."""

    def __init__(self, client, way):
        self.client, self.way = client, way
        self.messages, self.ids, self.streams = [], set(), 0
        self.since = datetime.now(UTC).isoformat()

    def until(self, kind):
        while not self.messages or self.messages[-1]["type"] != kind:
            try:
                self.follow(kind)
            except UNREACHABLE:
                time.sleep(0.1)
        return self

    def follow(self, kind):
        with self.client.following(self.way, since=self.since) as messages:
            self.streams += 1
            for message in messages:
                if message["id"] not in self.ids:
                    self.ids.add(message["id"])
                    self.messages.append(message)
                if message["type"] != "detection.progress":
                    self.since = message["at"]
                if message["type"] == kind:
                    return


@pytest.mark.services
def test_a_batch_is_followed_to_its_end_while_the_server_restarts_and_redis_is_flushed(
    tmp_path, standin_folder
):
    """It is uploaded at one web process, and followed at another."""
    with stacks.production(tmp_path, standin_folder) as production, ThreadPoolExecutor(2) as threads:
        production.web()
        port = services.free_port()
        other = Client(f"http://127.0.0.1:{port}")

        def start_other():
            bind = ["--bind", f"127.0.0.1:{port}"]
            arguments = ["objectvision.asgi:application", "-k", "uvicorn_worker.UvicornWorker", *bind]
            production.start("other", stacks.BIN / "gunicorn", *arguments)

        start_other()
        client = production.client().sign_up()
        other.http.headers = client.http.headers
        followers = [Follower(other, way) for way in WAYS]
        ends = [threads.submit(follower.until, "detection.completed") for follower in followers]
        until(lambda: all(follower.streams for follower in followers))
        job = send_batch(client, BATCH)
        production.worker("inference")
        until(lambda: all(follower.messages for follower in followers))
        production.kill("other")
        production.redis_cli("FLUSHALL")
        start_other()
        production.background()
        for end in ends:
            messages = end.result(120).messages
            assert messages[-1]["processed"] == BATCH
            assert {message["detection_id"] for message in messages} == {job}
            kinds = [kind for kind in types(messages) if kind != "detection.progress"]
            assert kinds == ["detection.started", "detection.completed"]
        assert all(follower.streams > 1 for follower in followers)


@pytest.mark.parametrize("way", ["embedded", pytest.param("production", marks=pytest.mark.services)])
def test_a_server_that_stops_closes_streams_within_its_grace_period(tmp_path, standin_folder, way):
    with stacks.running(way, tmp_path, standin_folder) as stack:
        client = stack.client().sign_up()
        with client.socket() as socket, client.stream() as response, ThreadPoolExecutor(2) as threads:
            ends = threads.submit(closed_with, socket), threads.submit(lambda: response.content)
            assert stack.stop("serve" if way == "embedded" else "web", seconds=10) == 0
            assert ends[0].result(5) == 1012
            assert ends[1].result(5).startswith(b"retry: ")


@pytest.mark.services
def test_streams_tell_what_happened_while_the_database_or_redis_was_away(tmp_path, standin_folder):
    with stacks.running("production", tmp_path, standin_folder) as production:
        client = production.client().sign_up()
        with client.following("websocket") as messages:
            production.kill("redis")
            production.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            until(lambda: client.upload(photo()).status_code == 202)
            production.redis()
            assert types(first(messages, "detection.completed"))[0] == "detection.started"
