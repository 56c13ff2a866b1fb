"""WebSockets, by Channels: a stream's messages, each as one text."""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.handlers.asgi import ASGIRequest
from rest_framework.response import Response

from detections.live import reading
from detections.live.messages import End
from detections.live.slots import TooManyStreams
from detections.live.streams import Stream
from detections.live.views import EventsView, ForeignOrigin
from objectvision.api.plain_answers import closing_answer, error_body

log = logging.getLogger(__name__)

PATH = "/ws/"
TAKES_NOTHING = 1003
SEND_SECONDS = 30  # for one message: a client that takes longer does not read
REASON_LENGTH = 60  # of a closing frame, which has room for 123 bytes

REASONS = {
    End.RESTART: "The server restarts.",
    End.INVALID: "The session or the API key has ended.",
    End.TOO_SLOW: "Messages were not read in time.",
}


class RefusedHandshakeError(Exception):
    """A handshake that opens no stream: what an HTTP request is answered, and the closing code, if any."""

    def __init__(self, response: Response, end: End | None) -> None:
        super().__init__()
        self.response = response
        self.end = end


class EventSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # untyped library
    """Sends, and takes nothing. Browsers see a closing code only of a socket that was accepted."""

    stream: Stream | None = None
    sending: asyncio.Task[None] | None = None
    is_answered = False
    """Whether the last message has been sent."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # however it ends: `disconnect` is not called for a client that leaves before the answer
            self.stop()

    async def connect(self) -> None:
        try:
            opening = partial(open_stream, self.scope)
            stream = self.stream = await reading.in_thread(opening, reading.handshakes)
        except RefusedHandshakeError as refusal:
            await self.refuse(refusal)
        else:
            await self.accept()
            self.sending = asyncio.create_task(self.send_messages(stream))

    async def refuse(self, refusal: RefusedHandshakeError) -> None:
        response = refusal.response
        if refusal.end:
            await self.accept()
            await self.close(refusal.end, response.data["errors"][0]["detail"][:REASON_LENGTH])
        else:
            self.is_answered = True
            wait = response.headers.get("Retry-After")
            await deny(self.base_send, response.status_code, response.data, int(wait) if wait else None)

    async def send_messages(self, stream: Stream) -> None:
        try:
            async for message in stream.messages():
                if message:
                    async with asyncio.timeout(SEND_SECONDS):
                        await self.send(message.text)
        except TimeoutError:
            stream.close(End.TOO_SLOW)
        except OSError:  # the client has gone
            return
        except Exception:  # whatever it is: the client connects again
            log.exception("A stream broke off")
        end = stream.end or End.RESTART
        with suppress(OSError):
            await self.close(end, REASONS[end])

    async def websocket_receive(self, _message: Any) -> None:
        self.stop()
        await self.close(TAKES_NOTHING, "This socket takes no messages.")

    async def close(self, code: int, reason: str) -> None:
        """Does nothing the second time: a client may have sent several messages."""
        if not self.is_answered:
            self.is_answered = True
            await super().close(code, reason)

    def stop(self) -> None:
        if self.sending:
            self.sending.cancel()
        if self.stream:
            self.stream.release()


socket = EventSocket.as_asgi()


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application of all WebSockets."""
    if scope["path"] == PATH:
        await socket(scope, receive, send)
    else:
        await deny(send, 404, error_body("not_found", "Not found."))


async def deny(send: Any, status: int, content: dict[str, Any], wait: int | None = None) -> None:
    """Answer a handshake as an HTTP request."""
    headers, body = closing_answer(content, wait)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def open_stream(scope: dict[str, Any]) -> Stream:
    """As a GET of the events with the same headers and query string. Raises RefusedHandshakeError."""
    view = EventsView()
    scheme = scope.get("scheme", "ws").replace("ws", "http")
    http = ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, BytesIO())
    request = view.initialize_request(http)
    view.setup(http)
    view.request = request
    try:
        view.initial(request)
        return view.open_stream(request, "websocket")
    except Exception as error:  # the view answers it, or raises it again
        response = view.handle_exception(error)
        raise RefusedHandshakeError(response, end_of(error, response.status_code)) from error


def end_of(error: Exception, status: int) -> End | None:
    """The closing code where a page can know the reason by it; None where the HTTP answer is given."""
    match error, status:
        case ForeignOrigin(), _:
            return End.FOREIGN
        case TooManyStreams(), _:
            return End.TOO_MANY
        case _, 401 | 403:
            return End.INVALID
    return None
