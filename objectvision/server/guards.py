"""ASGI wrappers in front of Django, which reads a whole body before any middleware runs."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings
from uuid_utils.compat import uuid7

from objectvision.api.errors import Unavailable
from objectvision.api.forms.parser import mark_of
from objectvision.api.plain_answers import closing_answer, error_body
from objectvision.api.throttles import subscriber
from objectvision.lib import connections, metrics, tracing
from objectvision.lib.limits import DISK_FULL
from objectvision.lib.logs import gathering_facts, on_behalf_of, path_without_tokens

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)
requests_log = logging.getLogger("objectvision.requests")

MEGABYTE = 1 << 20
SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

MOST_LINE_BYTES = 8 << 10  # of the request's line, and of each header
MOST_HEADERS = 100
MOST_HEADER_BYTES = 64 << 10
LENGTHS = frozenset({b"content-length", b"transfer-encoding"})  # proxies differ about which of the two holds
ONCE = frozenset({b"authorization", b"content-type", b"host", b"x-api-key"}) | LENGTHS
ABOUT_BODIES = LENGTHS | {b"content-type"}
CHARSETS = ("utf-8", "utf8", "us-ascii", "iso-8859-1")

FIRST_SERVER_ERROR = 500
BEGINNINGS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
SWITCHED = 101  # protocols: a WebSocket is open
CLIENT_LEFT = 499  # in the log: the client had gone before the answer began
BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
SMALL = MEGABYTE
# 100 files and the fields of a batch. Django does not count parts that have a file name but no name.
MOST_PARTS = 250
SECONDS, SECONDS_A_MEGABYTE = 60, 20  # for a body, and more for each megabyte of an upload
MOST_UNFINISHED = 20  # bodies from one address at a time
MOST_UNFINISHED_OF_A_USER = 32


class RequestStamp:
    """Adds `X-Request-ID` (the client's own, if it is sane) and `X-Process-Time` (seconds) to every reply.

    Each request that has ended is one line in the log, and so is each WebSocket, with the status 101.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        came_in = dict(scope["headers"]).get(b"x-request-id", b"")
        own = came_in if SANE_ID.fullmatch(came_in) else uuid7().hex.encode()

        status = None

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] in BEGINNINGS:
                status = message.get("status", SWITCHED)
                seconds = f"{time.perf_counter() - started:.4f}"
                stamps = [(b"x-request-id", own), (b"x-process-time", seconds.encode())]
                message["headers"] = [*message.get("headers", ()), *stamps]
            await send(message)

        request_id = own.decode()
        is_socket = scope["type"] == "websocket"
        begun = (
            tracing.NOTHING
            if is_socket
            else tracing.request_span(scope["method"], scope["path"], scope["headers"])
        )
        with on_behalf_of(request_id), gathering_facts() as facts, begun:
            try:
                await self.app(scope, receive, stamped)
            except Exception:  # not handled by Django
                if status or is_socket:
                    raise
                log.exception("%s %s", scope["method"], path_without_tokens(scope["raw_path"]))
                await RefusedRequestError(500, "error", "Server Error (500)").answer(stamped)
            finally:
                record_request(scope, status or CLIENT_LEFT, time.perf_counter() - started, facts)
                tracing.describe_request(facts.get("route", ""), status or CLIENT_LEFT, request_id)


def record_request(scope: Message, status: int, seconds: float, facts: dict[str, Any]) -> None:
    method, path = scope.get("method", "GET"), path_without_tokens(scope["raw_path"])
    if scope["type"] == "http":
        metrics.record_request(method, facts.get("route", ""), status, seconds)
    known = {**facts, "method": method, "status": status, "duration_ms": round(seconds * 1000, 1)}
    requests_log.info("%s %s %d", method, path, status, extra=known)


class RefusedRequestError(Exception):
    """A request that is answered here, with an error in the API's form, and never reaches Django."""

    def __init__(self, status: int, code: str, detail: str, wait: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        kind = "server_error" if status >= FIRST_SERVER_ERROR else "client_error"
        self.content = error_body(code, detail, kind=kind)
        self.wait = wait

    async def answer(self, send: Send) -> None:
        headers, raw = closing_answer(self.content, self.wait)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": raw})


class RequestGuard:
    """Bounds a request: its head; the bytes, parts and time of its body; unfinished bodies of one sender."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.unfinished: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            check_head(scope)
            await self.serve(scope, receive, send)
        except RefusedRequestError as refusal:
            await refusal.answer(send)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            log.warning("No body can be received: %s", error)
            await RefusedRequestError(
                503, "unavailable", Unavailable.default_detail, Unavailable.wait
            ).answer(send)

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        sent = Body(scope, receive)
        if sent.is_empty:
            await self.app(scope, receive, send)
            return
        sender, most = subscriber((scope.get("client") or ("",))[0]), MOST_UNFINISHED
        is_large = sent.check_declared()
        # Behind a proxy that is not in TRUSTED_PROXIES many users share an address: each is counted alone.
        user = await user_of(scope) if is_large or self.unfinished[sender] >= most else None
        if user:
            sender, most = user, MOST_UNFINISHED_OF_A_USER
        with ExitStack() as counted:
            counted.enter_context(self.counting(sender, most))
            if is_large and not user:
                # The body of an anonymous client is not kept; the view answers 401.
                await sent.discard()
                await self.app(without_body(scope), sent.receive_nothing(), send)
            else:
                await self.app(scope, sent.receive_until_end(counted.close), send)

    @contextmanager
    def counting(self, sender: str, most: int) -> Iterator[None]:
        """Count an unfinished body of the sender, who may have `most` of them. Raises RefusedRequestError."""
        if self.unfinished[sender] >= most:
            raise RefusedRequestError(
                429, "throttled", f"Of your requests {most} are unfinished already.", wait=1
            )
        self.unfinished[sender] += 1
        try:
            yield
        finally:
            self.unfinished[sender] -= 1
            if not self.unfinished[sender]:
                del self.unfinished[sender]


def check_head(scope: Message) -> None:
    """Raises RefusedRequestError."""
    headers = scope["headers"]
    lengths = [len(name) + len(value) for name, value in headers]
    line = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    if max(line, *lengths, 0) > MOST_LINE_BYTES:
        raise too_large_head(f"a line of over {MOST_LINE_BYTES >> 10} kB")
    if len(headers) > MOST_HEADERS:
        raise too_large_head(f"over {MOST_HEADERS} headers")
    if sum(lengths) > MOST_HEADER_BYTES:
        raise too_large_head(f"over {MOST_HEADER_BYTES >> 10} kB of headers")
    names = Counter(name for name, _ in headers if name in ONCE)
    if max(names.values(), default=0) > 1 or names.keys() >= LENGTHS:
        raise malformed()
    check_content_type(dict(headers).get(b"content-type", b"").decode("latin-1"))


def check_content_type(value: str) -> None:
    """Refuse unusual encodings: some of Python's take a minute for a megabyte. Raises RefusedRequestError."""
    try:
        _, options = parse_header_parameters(value)
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or is not the parameter's
        raise malformed() from error
    if options.get("charset", "utf-8").lower() not in CHARSETS:
        raise RefusedRequestError(
            415, "unsupported_media_type", f"Send text as one of {', '.join(CHARSETS)}."
        )


def too_large_head(reason: str) -> RefusedRequestError:
    return RefusedRequestError(431, "headers_too_large", f"The request has {reason}.")


def malformed() -> RefusedRequestError:
    return RefusedRequestError(400, "parse_error", "The request is malformed.")


def too_large(limit: int) -> RefusedRequestError:
    allowed = f"at most {limit / MEGABYTE:g} MB are allowed" if limit else "it takes no body"
    return RefusedRequestError(413, "too_large", f"The request is too large; {allowed}.")


class Body:
    """A request's body as it arrives. Raises RefusedRequestError past a limit of bytes, parts or time."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        headers = dict(scope["headers"])
        self.from_server = receive
        declared = headers.get(b"content-length", b"")
        self.declared = int(declared[:20]) if declared.isdigit() else 0
        self.is_chunked = b"transfer-encoding" in headers  # which holds even where a length is declared
        self.is_empty = not self.declared and not self.is_chunked
        self.delimiter = delimiter_of(headers)
        self.is_upload = bool(self.delimiter) and scope["path"] in settings.UPLOAD_PATHS
        self.limit = self.limit_of(scope["method"])
        self.pace = SECONDS_A_MEGABYTE if self.is_upload else 0
        self.begun = time.monotonic()
        self.received = self.parts = 0
        self.tail = b""

    def limit_of(self, method: str) -> int:
        if method in BODILESS:
            return 0
        return settings.MAX_REQUEST_MB * MEGABYTE if self.is_upload else SMALL

    def check_declared(self) -> bool:
        """Whether it is, or may be, larger than anonymous clients may send. Raises RefusedRequestError."""
        if self.declared > self.limit:
            raise too_large(self.limit)
        return self.is_upload and (self.is_chunked or self.declared > SMALL)

    def receive_until_end(self, on_end: Callable[[], None]) -> Receive:
        """The application's `receive`; calls `on_end` once the body is complete."""
        ended = False

        async def receive() -> Message:
            nonlocal ended
            if ended:
                return await self.from_server()
            message = await self.next()
            if not message.get("more_body"):
                ended = True
                on_end()
            return message

        return receive

    def receive_nothing(self) -> Receive:
        """The application's `receive` where the body was discarded."""
        first = iter([{"type": "http.request"}])

        async def receive() -> Message:
            return next(first, None) or await self.from_server()

        return receive

    async def next(self) -> Message:
        try:
            async with asyncio.timeout(self.seconds_left()):
                message = await self.from_server()
        except TimeoutError as error:
            raise RefusedRequestError(408, "timeout", "The request did not come within its time.") from error
        chunk = message.get("body", b"")
        self.received += len(chunk)
        if self.received > self.limit:
            raise too_large(self.limit)
        if self.delimiter:
            self.count_parts(chunk)
        return message

    def seconds_left(self) -> float:
        allowed = SECONDS + self.pace * (self.received // MEGABYTE)
        return max(0, self.begun + allowed - time.monotonic())

    def count_parts(self, chunk: bytes) -> None:
        rest = len(self.delimiter) - 1  # of one that may lie across two chunks
        self.parts += chunk.count(self.delimiter) + (self.tail + chunk[:rest]).count(self.delimiter)
        self.tail = (self.tail + chunk[-rest:])[-rest:]
        if self.parts > MOST_PARTS:
            raise RefusedRequestError(400, "too_many_parts", f"The form has over {MOST_PARTS} parts.")

    async def discard(self) -> None:
        """Read to the end and keep nothing: many clients read no answer before they have sent all."""
        self.pace = 0
        while (await self.next()).get("more_body"):
            pass


def delimiter_of(headers: dict[bytes, bytes]) -> bytes:
    """The bytes before each part of a multipart form; empty for other bodies."""
    kind, options = parse_header_parameters(headers.get(b"content-type", b"").decode("latin-1"))
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    is_form = kind.startswith("multipart/") and boundary  # DRF takes wildcards
    return mark_of(boundary) if is_form else b""


def without_body(scope: Message) -> Message:
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in ABOUT_BODIES]}


async def user_of(scope: Message) -> str | None:
    """The id of the request's user; None without valid credentials."""
    async with ThreadSensitiveContext():
        return await sync_to_async(authenticated)(scope)


def authenticated(scope: Message) -> str | None:
    authenticators = [each() for each in api_settings.DEFAULT_AUTHENTICATION_CLASSES]  # type: ignore[operator]  # classes by then
    request = Request(ASGIRequest(dict(scope), BytesIO()), authenticators=authenticators)
    try:
        return str(request.user.pk) if request.user.is_authenticated else None
    except (APIException, DatabaseError):  # the view is asked again, and answers with it
        return None
    finally:
        connections.give_back()
