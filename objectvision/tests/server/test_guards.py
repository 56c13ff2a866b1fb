"""The ASGI middleware before Django."""

import asyncio
import logging
import os
import re
import signal
from io import StringIO

import pytest
from asgiref.testing import ApplicationCommunicator

from objectvision.asgi import application
from objectvision.lib import wakeups
from testing.api import MULTIPART, send_through_asgi

pytestmark = pytest.mark.django_db  # every request looks after the connections

MEGABYTE = 1 << 20


def too_large(megabytes):
    detail = f"The request is too large; at most {megabytes} MB are allowed."
    return {"type": "client_error", "errors": [{"code": "too_large", "detail": detail, "attr": None}]}


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
    response = send_through_asgi("POST", "/api/v1/detect/image", headers, body)
    assert response.status_code == 413
    assert response.json() == too_large(250)
    assert response.headers["Connection"] == "close"
    assert body.read == 0


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(settings):
    settings.MAX_REQUEST_MB = 2
    body = Body(*[b"x" * MEGABYTE] * 10)
    response = send_through_asgi("POST", "/api/v1/detect/image", {"Content-Type": MULTIPART}, body)
    assert response.status_code == 413
    assert response.json() == too_large(2)
    assert body.read == 3


def test_a_body_with_a_length_and_chunks_is_refused_unread():
    """Proxies and servers differ in which of the two they follow."""
    body = Body(*[b" " * MEGABYTE] * 5)
    headers = {"Content-Type": "application/json", "Content-Length": "5", "Transfer-Encoding": "chunked"}
    response = send_through_asgi("POST", "/api/v1/auth/login", headers, body)
    assert (response.status_code, body.read) == (400, 0)


@pytest.mark.parametrize(
    "charset", ["punycode", "utf-7", "idna", "zlib", "utf-16", "rot13", "utf-8-sig", "x" * 99]
)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"]
)
def test_an_unusual_charset_answers_415(kind, charset):
    headers = {"Content-Type": f"{kind}; charset={charset}"}
    response = send_through_asgi(
        "POST", "/api/v1/auth/login", headers, Body(b"x" * 500_000 + b"-" + b"a" * 400_000)
    )
    assert response.status_code == 415
    assert response.json()["errors"][0]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii", "iso-8859-1"])
def test_usual_charsets_are_accepted(charset):
    headers = {"Content-Type": f"application/json; charset={charset}"}
    response = send_through_asgi(
        "POST", "/api/v1/auth/login", headers, Body(b'{"email": "no address", "password": "a"}')
    )
    assert response.json()["errors"][0]["attr"] == "email"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_one_megabyte_is_refused_except_for_uploads(declared):
    body = Body(b'{"email": "', b"x" * MEGABYTE, b'"}')
    headers = {"Content-Type": "application/json"}
    if declared:
        headers["Content-Length"] = str(sum(map(len, body.chunks)))
    response = send_through_asgi("POST", "/api/v1/auth/login", headers, body)
    assert response.status_code == 413
    assert response.json() == too_large(1)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_within_the_limit_reaches_the_view_whole(declared):
    body = Body(b'{"email": "no address", ', b'"password": "' + b"x" * 100_000 + b'"}')
    headers = {"Content-Type": "application/json"}
    if declared:
        headers["Content-Length"] = str(sum(map(len, body.chunks)))
    response = send_through_asgi("POST", "/api/v1/auth/login", headers, body)
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
def test_a_content_type_that_crashes_django_answers_400(content_type):
    response = send_through_asgi("POST", "/api/v1/auth/login", {"Content-Type": content_type}, Body(b"{}"))
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "parse_error"
    assert "X-Request-ID" in response.headers


def test_an_unhandled_exception_answers_500_without_details_and_is_logged(monkeypatch, caplog):
    def fall_over(*_, **__):
        raise KeyError("secret")

    monkeypatch.setattr("objectvision.server.guards.check_head", fall_over)
    response = send_through_asgi("GET", "/health", {"X-Request-ID": "mine"})
    assert response.status_code == 500
    assert response.json()["type"] == "server_error"
    assert "secret" not in response.text
    assert response.headers["X-Request-ID"] == "mine"
    assert "KeyError" in caplog.text


@pytest.mark.parametrize("sane", ["a", "0192f0-Trace_1.2:3", "x" * 64])
def test_a_valid_request_id_is_kept(sane):
    assert send_through_asgi("GET", "/health", {"X-Request-ID": sane}).headers["X-Request-ID"] == sane


@pytest.mark.parametrize("other", [None, "", "x" * 65, "a b", "id\tline", "<script>", "é"])
def test_an_invalid_request_id_is_replaced(other):
    headers = {} if other is None else {"X-Request-ID": other.encode()}
    given = send_through_asgi("GET", "/health", headers).headers.get_list("X-Request-ID")
    assert len(given) == 1
    assert re.fullmatch("[0-9a-f]{32}", given[0])


def test_every_request_without_an_id_gets_a_new_one():
    assert (
        send_through_asgi("GET", "/health").headers["X-Request-ID"]
        != send_through_asgi("GET", "/health").headers["X-Request-ID"]
    )


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
def test_every_answer_has_its_request_id_and_process_time(method, path, headers, status):
    response = send_through_asgi(method, path, {**headers, "X-Request-ID": "mine"}, Body(b""))
    assert response.status_code == status
    assert response.headers["X-Request-ID"] == "mine"
    assert 0 <= float(response.headers["X-Process-Time"]) < 5


@pytest.fixture
def written():
    """The output of the configured log handler."""
    (handler,) = [
        handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler
    ]
    written = StringIO()
    console = handler.setStream(written)
    yield written
    handler.setStream(console)


def test_a_log_line_carries_the_id_of_its_request(closed_redis, settings, written):
    settings.REDIS_URL = closed_redis
    send_through_asgi("GET", "/health/redis", {"X-Request-ID": "find-me"})
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
def test_a_stop_signal_ends_waiting_requests_and_reaches_the_server(stopping, signals, number):
    async def lifespan():
        server = ApplicationCommunicator(application, {"type": "lifespan"})
        await server.send_input({"type": "lifespan.startup"})
        assert await server.receive_output() == {"type": "lifespan.startup.complete"}
        assert not wakeups.stopping.is_set()
        os.kill(os.getpid(), number)
        assert wakeups.stopping.is_set()
        await server.send_input({"type": "lifespan.shutdown"})
        assert await server.receive_output() == {"type": "lifespan.shutdown.complete"}
        await server.wait()

    asyncio.run(lifespan())
    assert signals == [number]
