"""HTTP/1.1 and WebSockets, with bounds on what a client may send, and on how slowly it may send and read."""

import asyncio
import gc
import logging
import sys
from typing import Any, ClassVar, Self

import h11
from h11 import _receivebuffer
from typing_extensions import override
from uuid_utils.compat import uuid7
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from objectvision.api.plain_answers import closing_answer, error_body

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 1 << 16
# A body may come in so many chunks of any size, and in one more for so many bytes.
MOST_SMALL_CHUNKS, BYTES_A_CHUNK = 250, 256
HEAD_SECONDS = 60  # for a request's line and headers, from the first byte or the connection's begin
STALLED_SECONDS = 30  # for a client that takes no byte of what is sent to it
LOOK_SECONDS = 5
CLOSING_SECONDS = 10  # for a client to take a WebSocket's last messages
MOST_SOCKET_BYTES = 1 << 14  # that a client may send by WebSocket between two pings, 20 s apart
# Of what a client may send by WebSocket, which is nothing.
SOCKET_OPTIONS: dict[str, Any] = {
    "ws": "objectvision.server.protocol:WebSocketProtocol",
    "ws_max_size": 4096,
    "ws_per_message_deflate": False,  # 40 kB a connection, for messages of 300 bytes
}
STATUS = {431: ("headers_too_large", f"The request has over {MOST_HEAD_BYTES >> 10} kB of headers.")}
MALFORMED = ("parse_error", "The request is malformed.")


class ReceiveBuffer(_receivebuffer.ReceiveBuffer):
    """Hands a block of a body on as it came, unless something waits before it. h11 copies each four times."""

    def __init__(self) -> None:
        super().__init__()
        self.block: bytes | bytearray = b""

    @override
    def __iadd__(self, data: bytes | bytearray) -> Self:
        if self:
            self.join()
            super().__iadd__(data)
        else:
            self.block = data
        return self

    @override
    def __len__(self) -> int:
        return len(self.block) + super().__len__()

    @override
    def __bytes__(self) -> bytes:
        return bytes(self.block) + super().__bytes__()

    def join(self) -> None:
        """Put the block where h11 looks for lines."""
        block, self.block = self.block, b""
        super().__iadd__(block)

    @override
    def maybe_extract_at_most(self, count: int) -> Any:
        if 0 < len(self.block) <= count:
            block, self.block = self.block, b""
            return block
        self.join()
        return super().maybe_extract_at_most(count)

    @override
    def maybe_extract_next_line(self) -> bytearray | None:
        self.join()
        return super().maybe_extract_next_line()

    @override
    def maybe_extract_lines(self) -> list[bytearray] | None:
        self.join()
        return super().maybe_extract_lines()

    @override
    def is_next_line_obviously_invalid_request_line(self) -> bool:
        self.join()
        return super().is_next_line_obviously_invalid_request_line()


class Connection(h11.Connection):
    """Refuses bodies in many small chunks: h11 makes an event of each before it serves another client."""

    chunks = received = 0

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MOST_HEAD_BYTES)
        self._receive_buffer = ReceiveBuffer()

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.chunks = self.received = 0
        elif isinstance(event, h11.Data):
            self.chunks += event.chunk_start
            self.received += len(event.data)
            if self.chunks > MOST_SMALL_CHUNKS + self.received // BYTES_A_CHUNK:
                raise h11.RemoteProtocolError("The chunks are too small.")
        return event


class Protocol(H11Protocol):
    """uvicorn's h11 protocol, with bounds on slow clients.

    The httptools protocol bounds no headers, and marks the wrong one of pipelined requests as disconnected.
    h11 reads a request only when the one before it is answered.
    """

    collection: ClassVar[asyncio.TimerHandle | None] = None  # of garbage, for all connections of the process
    head_timer: asyncio.TimerHandle | None = None
    stall_timer: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self.conn = Connection()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        # `pause_writing` is called as soon as the system takes no more, so that no client stalls unnoticed.
        transport.set_write_buffer_limits(high=0)
        self.watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget_head()
        self.forget_stall()
        super().connection_lost(exc)

    # A request's head

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.watch_head()

    def watch_head(self) -> None:
        """Start the timer when a head begins, and stop it once the head is complete."""
        if self.conn.their_state is not h11.IDLE:
            self.forget_head()
        elif self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def forget_head(self) -> None:
        if self.head_timer:
            self.head_timer.cancel()
        self.head_timer = None

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what h11 refuses, in the API's form: 431 for a head that is too large, else 400."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # an answer is on its way already
            self.transport.abort()
            return
        # uvicorn calls this where it handles h11's error, and does not pass it on.
        status = getattr(sys.exception(), "error_status_hint", 400)
        headers, raw = closing_answer(error_body(*STATUS.get(status, MALFORMED)))
        stamps = [(b"x-request-id", uuid7().hex.encode()), (b"x-process-time", b"0")]
        response = h11.Response(status_code=status if status in STATUS else 400, headers=[*headers, *stamps])
        for event in (response, h11.Data(data=raw), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    # A response that the client does not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self.watch_reading(self.transport.get_write_buffer_size(), self.loop.time())

    def resume_writing(self) -> None:
        self.forget_stall()
        super().resume_writing()

    def forget_stall(self) -> None:
        if self.stall_timer:
            self.stall_timer.cancel()
        self.stall_timer = None

    def watch_reading(self, unsent: int, since: float) -> None:
        """Break the connection once the client has read none of `unsent` bytes for STALLED_SECONDS."""
        now, left = self.loop.time(), self.transport.get_write_buffer_size()
        if left < unsent:
            unsent, since = left, now
        if now - since >= STALLED_SECONDS:
            self.break_off()
            return
        self.stall_timer = self.loop.call_later(LOOK_SECONDS, self.watch_reading, unsent, since)

    def break_off(self) -> None:
        """Abort, then collect garbage: the unsent megabytes are in reference cycles, which a quiet process
        does not collect."""
        self.transport.abort()
        if Protocol.collection is None:
            Protocol.collection = self.loop.call_later(LOOK_SECONDS, Protocol.collect)

    @staticmethod
    def collect() -> None:
        Protocol.collection = None
        gc.collect()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, which waits without end for a client that does not read, answers any number of pings, and
    logs query strings."""

    received = 0

    def __init__(self, config: Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        # Their lines have tickets in them. The application writes one for each socket.
        self.logger = self.conn.logger = logging.getLogger("websockets")

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self.received += len(data)
        if self.received > MOST_SOCKET_BYTES:
            self.transport.abort()
            return
        super().data_received(data)
        if not self.handshake_initiated:  # a head too large for it: its answer is made, but not sent
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def send_keepalive_ping(self) -> None:
        self.received = 0
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # it is the last message: it does not wait until the others are read
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # else a refusal would be logged as an error

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(CLOSING_SECONDS, self.transport.abort)
