"""Django releases files and connections of a request, also when it or its answer breaks off."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from tempfile import SpooledTemporaryFile

import pytest
import uvicorn
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from uvicorn.server import ServerState

from objectvision.asgi import application
from objectvision.server.handler import Handler
from objectvision.server.protocol import Protocol
from testing.waiting import until


def scope_of(method="GET", path="/health", headers=()):
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"localhost"), *headers],
    }  # fmt: skip


@pytest.fixture
def finished():
    """One item for each `request_finished` signal, at which connections are closed."""
    seen = []

    def note(**_):
        seen.append(1)

    request_finished.connect(note)
    yield seen
    request_finished.disconnect(note)


def client_of(*messages):
    waiting = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if not waiting:
            await asyncio.Event().wait()  # the client stays connected
        return waiting.pop(0)

    return receive


def serve(app, scope, send, *messages):
    asyncio.run(app(scope, client_of(*messages), send))


def test_a_response_that_cannot_be_sent_is_closed(finished, caplog):
    async def send(message):
        raise RuntimeError("the handler is closed")

    serve(application, scope_of(), send)
    assert finished == [1]
    assert "An answer broke off" in caplog.text


def test_a_response_whose_stream_fails_is_closed(monkeypatch, finished):
    async def pieces():
        yield b"a"
        raise OSError("the storage is away")

    sent, closed = [], []
    response = StreamingHttpResponse(pieces())
    response._resource_closers.append(lambda: closed.append(1))

    async def get_response_async(self, request):
        return response

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(Handler, "get_response_async", get_response_async)
    serve(application, scope_of(), send)
    assert closed == finished == [1]
    assert [message.get("more_body") for message in sent] == [None, True]  # no end: the server breaks it off


class CountedThread(ThreadPoolExecutor):
    """Counts the calls that run in it."""

    def __init__(self):
        super().__init__(1)
        self.calls = 0

    def submit(self, *arguments, **options):
        self.calls += 1
        return super().submit(*arguments, **options)


def test_a_request_begins_answers_and_ends_by_three_calls_in_an_idle_thread():
    handler, thread, sent = Handler(), CountedThread(), []

    async def send(message):
        sent.append(message)

    handler.idle.append(thread)
    serve(handler, scope_of(), send)
    assert sent[0]["status"] == 200
    assert thread.calls == 3
    assert handler.idle == [thread]


def test_8_threads_stay_idle_after_many_requests_at_once_and_the_others_end(monkeypatch):
    handler, all_began, sent = Handler(), threading.Barrier(12), []
    before = set(threading.enumerate())

    def get_response(self, request):
        all_began.wait(10)
        return HttpResponse()

    async def send(message):
        sent.append(message)

    async def serve_all():
        await asyncio.gather(*(handler(scope_of(), client_of(), send) for _ in range(12)))

    monkeypatch.setattr(Handler, "get_response", get_response)
    asyncio.run(serve_all())
    assert [message["status"] for message in sent if "status" in message] == [200] * 12
    assert len(handler.idle) == 8
    until(lambda: len(set(threading.enumerate()) - before) == 8)


def test_the_file_of_an_interrupted_body_is_closed(monkeypatch):
    files = []

    def opened(*arguments, **options):
        files.append(SpooledTemporaryFile(*arguments, **options))  # noqa: SIM115  # the handler's to close
        return files[-1]

    monkeypatch.setattr("objectvision.server.handler.SpooledTemporaryFile", opened)
    begun = {"type": "http.request", "body": b"x" * 100, "more_body": True}
    headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
    serve(application, scope_of("POST", "/health", headers), None, begun, {"type": "http.disconnect"})
    assert [file.closed for file in files] == [True]


def test_a_body_that_does_not_arrive_in_time_answers_408(monkeypatch):
    monkeypatch.setattr("objectvision.server.guards.SECONDS", 0.1)
    sent = []

    async def send(message):
        sent.append(message)

    begun = {"type": "http.request", "body": b"x", "more_body": True}
    headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
    serve(application, scope_of("POST", "/health", headers), send, begun)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["errors"][0]["code"] == "timeout"


@pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_without_headers_in_time_is_closed(monkeypatch, head):
    monkeypatch.setattr("objectvision.server.protocol.HEAD_SECONDS", 0.2)

    async def connect():
        config = uvicorn.Config(application, log_config=None)
        server = await asyncio.get_running_loop().create_server(
            lambda: Protocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1"
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(head)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(connect())
