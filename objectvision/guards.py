"""ASGI wrappers that stand before Django, which would read a whole body before any middleware."""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from tempfile import SpooledTemporaryFile
from typing import Any

from django.conf import settings
from django.utils.http import parse_header_parameters

from objectvision.errors import body
from objectvision.ids import uuid7
from objectvision.logs import on_behalf_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

MEGABYTE = 1 << 20
BLOCK = 1 << 16
# What Django's middleware gives every other answer.
PRIVATE = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
LENGTHS = (b"content-length", b"transfer-encoding")
SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class RequestStamp:
    """Gives every reply `X-Request-ID`, taken over if a sane one came in, and `X-Process-Time` in seconds."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        came_in = dict(scope["headers"]).get(b"x-request-id", b"")
        own = came_in if SANE_ID.fullmatch(came_in) else uuid7().hex.encode()

        begun = False

        async def stamped(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                seconds = f"{time.perf_counter() - started:.4f}"
                stamps = [(b"x-request-id", own), (b"x-process-time", seconds.encode())]
                message["headers"] = [*message.get("headers", ()), *stamps]
            await send(message)

        with on_behalf_of(own.decode()):
            try:
                await self.app(scope, receive, stamped)
            except Exception:  # whatever gets past Django's own handlers
                if begun:
                    raise
                log.exception("%s %s", scope["method"], scope["path"])
                await answer(stamped, 500, body("error", "Server Error (500)", kind="server_error"))


def request_limit(headers: dict[bytes, bytes]) -> int:
    """The most bytes that the body may have: files come as multipart, and nothing else is large."""
    multipart = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
    return settings.MAX_REQUEST_MB * MEGABYTE if multipart else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


async def answer(send: Send, status: int, content: dict[str, Any]) -> None:
    """An error in the API's form, past Django."""
    raw = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"connection", b"close"),  # the rest of the body is not read
        *PRIVATE,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def refuse(send: Send, limit: int) -> None:
    detail = f"The request is too large; at most {limit / MEGABYTE:g} MB are allowed."
    await answer(send, 413, body("too_large", detail))


def is_malformed(headers: dict[bytes, bytes]) -> bool:
    """Whether Django would fall over the Content-Type, before any of its handlers."""
    try:
        parse_header_parameters(headers.get(b"content-type", b"").decode("latin-1"))
    except (LookupError, ValueError):  # a parameter in an encoding that does not exist, or not in its own
        return True
    return False


class RequestSizeGuard:
    """Answers 413 to a body over the limit, by its declared length or as soon as it has passed it."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = request_limit(headers)
        declared = headers.get(b"content-length", b"")
        if is_malformed(headers):
            await answer(send, 400, body("parse_error", "The request is malformed."))
        elif declared.isdigit() and int(declared) > limit:
            await refuse(send, limit)
        elif b"transfer-encoding" in headers:  # which holds even where a length is declared besides
            await self.measure(scope, receive, send, limit)
        else:  # the server reads no more than was declared
            await self.app(scope, receive, send)

    async def measure(self, scope: Message, receive: Receive, send: Send, limit: int) -> None:
        """Hand a body of unknown length on with its length: without one Django takes it for empty."""
        folder = str(settings.FILE_UPLOAD_TEMP_DIR)
        with SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=folder) as file:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                file.write(message.get("body", b""))
                more = message.get("more_body", False)
                if file.tell() > limit:
                    await refuse(send, limit)
                    return
            length, replayed = file.tell(), False
            file.seek(0)

            async def replay() -> Message:
                nonlocal replayed
                if replayed:
                    return await receive()
                chunk = file.read(BLOCK)
                replayed = file.tell() == length
                return {"type": "http.request", "body": chunk, "more_body": not replayed}

            headers = [pair for pair in scope["headers"] if pair[0] not in LENGTHS]
            headers.append((b"content-length", str(length).encode()))
            await self.app({**scope, "headers": headers}, replay, send)
