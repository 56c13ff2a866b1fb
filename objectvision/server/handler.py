import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

log = logging.getLogger(__name__)

MOST_IDLE = 8  # threads that wait for a request


class Handler(ASGIHandler):
    """Closes request bodies that break off and responses sent in part: Django leaves them open.

    Threads serve one request after another, each with its middleware and view.
    """

    def __init__(self) -> None:
        super().__init__()
        self.idle: list[Executor] = []

    def load_middleware(self, *_arguments: Any, **_options: Any) -> None:
        """Load it without async: it runs in the view's thread. Django would change threads for each one."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve in a thread that has served before, if one is idle: a new one costs over 1 ms.

        A thread whose request broke off may still be at work, and is not used again.
        """
        thread = self.idle.pop() if self.idle else ThreadPoolExecutor(1, "request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.handle(scope, receive, send)
            if len(self.idle) < MOST_IDLE:
                self.idle.append(thread)
        finally:
            if thread not in self.idle:
                thread.shutdown(wait=False)

    async def read_body(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> IO[bytes]:
        with ExitStack() as failed:
            # On the volume of the uploads: another one may be small, or memory.
            file: IO[bytes] = failed.enter_context(
                SpooledTemporaryFile(
                    settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=str(settings.FILE_UPLOAD_TEMP_DIR)
                )
            )
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestAborted
                file.write(message.get("body", b""))
                more = message.get("more_body", False)
            file.seek(0)
            failed.pop_all()
        return file

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response)(request)

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Also for a client that has left meanwhile: its response is closed, once it is made."""
        making = asyncio.ensure_future(super().run_get_response(request))
        try:
            return cast(HttpResponseBase, await asyncio.shield(making))
        except asyncio.CancelledError:
            await sync_to_async((await making).close)()
            raise

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send and close, whatever happens: a response may hold files and a database connection. The server
        sees that the answer has no end, and breaks the connection off."""
        try:
            await super().send_response(response, send)
        except Exception:  # servers and streams raise any type
            log.exception("An answer broke off")

    def create_request(self, scope: Mapping[str, Any], body_file: Any) -> Any:
        """As Django's, which takes a body without a declared length (sent in chunks) for empty."""
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            length = body_file.seek(0, os.SEEK_END)
            body_file.seek(0)
            scope = {**scope, "headers": [*scope["headers"], (b"content-length", b"%d" % length)]}
        return super().create_request(scope, body_file)
