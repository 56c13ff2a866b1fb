"""What stands before Django, tried as a server runs it: through ASGI."""

import asyncio
import logging
import os
import re
import signal
from io import StringIO

import httpx
import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator

from notifications import news
from objectvision.asgi import application

pytestmark = pytest.mark.django_db  # every request looks after the connections

MEGABYTE = 1 << 20
MULTIPART = "multipart/form-data; boundary=edge"


def too_large(megabytes):
    detail = f"The request is too large; at most {megabytes} MB are allowed."
    return {"type": "client_error", "errors": [{"code": "too_large", "detail": detail, "attr": None}]}


@async_to_sync
async def send(method, path, headers=None, content=None):
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers=headers, content=content)


class Body:
    """A body sent in chunks, which knows how many of them were asked for."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.read = 0

    async def __aiter__(self):
        for chunk in self.chunks:
            self.read += 1
            yield chunk


def test_a_body_declared_too_large_is_refused_without_reading_it():
    body = Body(b"x" * MEGABYTE)
    headers = {"Content-Type": MULTIPART, "Content-Length": str(300 * MEGABYTE)}
    response = send("POST", "/api/v1/detect/image", headers, body)
    assert response.status_code == 413
    assert response.json() == too_large(250)
    assert response.headers["Connection"] == "close"
    assert body.read == 0


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large(settings):
    settings.MAX_REQUEST_MB = 2
    body = Body(*[b"x" * MEGABYTE] * 10)
    response = send("POST", "/api/v1/detect/image", {"Content-Type": MULTIPART}, body)
    assert response.status_code == 413
    assert response.json() == too_large(2)
    assert body.read == 3


def test_a_declared_length_hides_no_longer_body_that_comes_in_chunks():
    """HTTP has the chunks hold, and some servers hand both headers on."""
    body = Body(*[b" " * MEGABYTE] * 5)
    headers = {"Content-Type": "application/json", "Content-Length": "5", "Transfer-Encoding": "chunked"}
    response = send("POST", "/api/v1/auth/login", headers, body)
    assert (response.status_code, body.read) == (413, 2)


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_no_upload_has_one_megabyte(declared):
    body = Body(b'{"email": "', b"x" * MEGABYTE, b'"}')
    headers = {"Content-Type": "application/json"}
    if declared:
        headers["Content-Length"] = str(sum(map(len, body.chunks)))
    response = send("POST", "/api/v1/auth/login", headers, body)
    assert response.status_code == 413
    assert response.json() == too_large(1)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_within_the_limit_reaches_the_view_whole(declared):
    body = Body(b'{"email": "no address", ', b'"password": "' + b"x" * 100_000 + b'"}')
    headers = {"Content-Type": "application/json"}
    if declared:
        headers["Content-Length"] = str(sum(map(len, body.chunks)))
    response = send("POST", "/api/v1/auth/login", headers, body)
    assert response.status_code == 400
    faults = [(error["code"], error["attr"]) for error in response.json()["errors"]]
    assert faults == [("invalid", "email"), ("max_length", "password")]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=foo''bar",
        "multipart/form-data; boundary*=foo''B",
    ],
)
def test_a_content_type_that_django_falls_over_is_refused_in_the_apis_form(content_type):
    response = send("POST", "/api/v1/auth/login", {"Content-Type": content_type}, Body(b"{}"))
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "parse_error"
    assert "X-Request-ID" in response.headers


def test_what_gets_past_every_handler_is_logged_and_shows_nothing(monkeypatch, caplog):
    def fall_over(*_, **__):
        raise KeyError("secret")

    monkeypatch.setattr("objectvision.guards.is_malformed", fall_over)
    response = send("GET", "/health", {"X-Request-ID": "mine"})
    assert response.status_code == 500
    assert response.json()["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["X-Request-ID"] == "mine"
    assert "KeyError" in caplog.text


@pytest.mark.parametrize("sane", ["a", "0192f0-Trace_1.2:3", "x" * 64])
def test_a_sane_request_id_is_taken_over(sane):
    assert send("GET", "/health", {"X-Request-ID": sane}).headers["X-Request-ID"] == sane


@pytest.mark.parametrize("other", [None, "", "x" * 65, "a b", "id\tline", "<script>", "é"])
def test_any_other_request_id_is_replaced(other):
    headers = {} if other is None else {"X-Request-ID": other.encode()}
    given = send("GET", "/health", headers).headers.get_list("X-Request-ID")
    assert len(given) == 1
    assert re.fullmatch("[0-9a-f]{32}", given[0])


def test_every_request_without_an_id_gets_its_own():
    assert send("GET", "/health").headers["X-Request-ID"] != send("GET", "/health").headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("GET", "/api/v1/users/get-profile", {}, 401),
        ("GET", "/nowhere", {}, 404),
        (
            "POST",
            "/api/v1/detect/image",
            {"Content-Type": MULTIPART, "Content-Length": str(300 * MEGABYTE)},
            413,
        ),
    ],
)
def test_every_reply_carries_its_id_and_how_long_it_took(method, path, headers, status):
    response = send(method, path, {**headers, "X-Request-ID": "mine"}, Body(b""))
    assert response.status_code == status
    assert response.headers["X-Request-ID"] == "mine"
    assert 0 <= float(response.headers["X-Process-Time"]) < 5


@pytest.fixture
def written():
    """What the configured handler writes to the console."""
    (handler,) = [
        handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler
    ]
    written = StringIO()
    console = handler.setStream(written)
    yield written
    handler.setStream(console)


def test_a_log_line_carries_the_id_of_its_request(closed_redis, settings, written):
    settings.REDIS_URL = closed_redis
    send("GET", "/health/redis", {"X-Request-ID": "find-me"})
    assert "WARNING objectvision.health [find-me] Health: Redis does not answer." in written.getvalue()


@pytest.fixture
def signals():
    """The test's own handlers, restored afterwards; the numbers that reached them."""
    numbers = signal.SIGTERM, signal.SIGINT
    seen = []
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in numbers}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_told_to_stop_lets_waiting_requests_go_and_stops_as_it_would(stopping, signals, number):
    async def lifespan():
        server = ApplicationCommunicator(application, {"type": "lifespan"})
        await server.send_input({"type": "lifespan.startup"})
        assert await server.receive_output() == {"type": "lifespan.startup.complete"}
        assert not news.stopping.is_set()
        os.kill(os.getpid(), number)
        assert news.stopping.is_set()
        await server.send_input({"type": "lifespan.shutdown"})
        assert await server.receive_output() == {"type": "lifespan.shutdown.complete"}
        await server.wait()

    asyncio.run(lifespan())
    assert signals == [number]
