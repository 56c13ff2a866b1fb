"""ASGI wrappers that stand before Django, which would read a whole body before any middleware."""

import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from objectvision.errors import body
from objectvision.ids import uuid7
from objectvision.logs import on_behalf_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MEGABYTE = 1 << 20
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

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = f"{time.perf_counter() - started:.4f}"
                stamps = [(b"x-request-id", own), (b"x-process-time", seconds.encode())]
                message["headers"] = [*message.get("headers", ()), *stamps]
            await send(message)

        with on_behalf_of(own.decode()):
            await self.app(scope, receive, stamped)


def request_limit(headers: dict[bytes, bytes]) -> int:
    """The most bytes that the body may have: files come as multipart, and nothing else is large."""
    multipart = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
    return settings.MAX_REQUEST_MB * MEGABYTE if multipart else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


async def refuse(send: Send, limit: int) -> None:
    detail = f"The request is too large; at most {limit / MEGABYTE:g} MB are allowed."
    content = json.dumps(body("too_large", detail)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),  # the rest of the body is not read
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": content})


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
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await refuse(send, limit)
            return
        await self.count(scope, receive, send, limit)

    async def count(self, scope: Message, receive: Receive, send: Send, limit: int) -> None:
        received = 0
        refused = False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= limit:
                return message
            if not refused:
                refused = True
                await refuse(send, limit)
            return {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        await self.app(scope, counted, unless_refused)
