"""Sends one request to a receiver that a user chose: to public addresses only, within one deadline."""

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from typing import TypeVar

import h11
import httpcore
from standardwebhooks import Webhook
from typing_extensions import override

from notifications.webhooks.destinations import Destination, UrlError, all_allowed, parse_url, resolve
from objectvision import __version__
from objectvision.lib import tracing

T = TypeVar("T")

SECONDS = 15
# What is kept of an answer: bytes of its body, its pieces, headers, bytes of these.
LONGEST_BODY = 65_536
MOST_PIECES = 2_000  # of a body, in chunks: each costs time, however small it is
MOST_HEADERS = 100
LONGEST_HEADERS = 16_384
# Bytes that are read of one connection, with TLS, heads and chunk sizes: against a flood of what is skipped.
LONGEST_ANSWER = 262_144
READ = 65_536
# The first of several addresses may lead nowhere: the time for the rest is shared, but each has this long.
SHORTEST_CONNECT = 3.0
# How OpenSSL calls bytes that are not TLS.
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class SendingError(Exception):
    """No answer. The message is the reason, for the user."""


@dataclass(frozen=True)
class Answer:
    """An answer as it can be stored: no NUL, no lone surrogates, bounded."""

    status: int
    headers: dict[str, str]
    """By name in lower case; several of one name joined by commas."""
    body: str
    truncated: bool


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0. Raises TimeoutError at the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Wire(httpcore.NetworkStream):
    """A TCP connection that ends at the deadline, whatever the other side does.

    httpcore's own time-outs begin anew with each byte, so they are not used.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._socket = connection
        self._deadline = deadline
        self._received = 0

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._deadline.left())
        data = self._socket.recv(max_bytes)
        self._received += len(data)
        if self._received > LONGEST_ANSWER:
            raise SendingError("the answer is too long")
        return data

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                self._socket.settimeout(self._deadline.left())
                buffer = buffer[self._socket.send(buffer) :]
        except TimeoutError:
            raise
        except OSError as error:  # a receiver may answer before it has read everything: httpcore reads on
            raise httpcore.WriteError from error

    @override
    def close(self) -> None:
        self._socket.close()


class SecureWire(httpcore.NetworkStream):
    """TLS over a wire.

    Not an SSLSocket: inside one read it may take any amount of what is no data, such as session tickets.
    """

    def __init__(self, wire: Wire, context: ssl.SSLContext, host: str) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._perform(self._tls.do_handshake)

    def _perform(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._wire.write(self._outgoing.read())
                self._receive()
            else:
                self._wire.write(self._outgoing.read())
                return result

    def _receive(self) -> None:
        if data := self._wire.read(READ):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._perform(partial(self._tls.read, max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            buffer = buffer[self._perform(partial(self._tls.write, buffer)) :]

    @override
    def close(self) -> None:
        self._wire.close()


def post(url: str, headers: dict[str, str], body: bytes, seconds: float = SECONDS) -> Answer:
    """The answer of the receiver, whatever its status. Raises SendingError.

    Takes no longer than so many seconds, follows no redirect and uses no proxy.
    """
    deadline = Deadline(seconds)
    with named_errors(seconds):
        destination = parse_url(url)
        sent = tracing.span("POST", calls=True, **{"server.address": destination.host})
        with sent, closing(connect(destination, deadline)) as wire:
            stream: httpcore.NetworkStream = wire
            if destination.scheme == "https":
                stream = SecureWire(wire, ssl_context(), destination.host)
            answer = exchange(destination, stream, headers, body)
            tracing.describe(**{"http.response.status_code": answer.status})
    return answer


def connect(destination: Destination, deadline: Deadline) -> Wire:
    """Connected to the first of the host's addresses that can be reached, if all of them are allowed.

    The name is resolved once: the addresses that were checked are those that are connected to.
    """
    addresses = resolve(destination.host, destination.port, deadline.left())
    if not all_allowed(addresses):
        raise SendingError("address not allowed")
    return Wire(connect_to_first(addresses, destination.port, deadline), deadline)


def connect_to_first(addresses: list[str], port: int, deadline: Deadline) -> socket.socket:
    failure = OSError("no address")
    for position, address in enumerate(addresses):
        left = deadline.left()
        share = max(left / (len(addresses) - position), SHORTEST_CONNECT)
        try:
            connection = socket.create_connection((address, port), min(left, share))
        except OSError as error:
            failure = error
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise failure


@cache
def ssl_context() -> ssl.SSLContext:
    """The public authorities, and those of SSL_CERT_FILE. Made once: it takes 40 ms."""
    context = httpcore.default_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def exchange(
    destination: Destination, stream: httpcore.NetworkStream, headers: dict[str, str], body: bytes
) -> Answer:
    url = httpcore.URL(
        scheme=destination.scheme, host=destination.host, port=destination.port, target=destination.target
    )
    own = {"host": destination.host_header, "accept-encoding": "identity", "connection": "close"}
    connection = httpcore.HTTP11Connection(url.origin, stream)
    with connection.stream("POST", url, headers=list({**headers, **own}.items()), content=body) as response:
        content, truncated = read_body(response)
        return Answer(response.status, kept_headers(response.headers), storable(content), truncated)


def read_body(response: httpcore.Response) -> tuple[bytes, bool]:
    """At most LONGEST_BODY bytes in MOST_PIECES, and whether there were more."""
    content = bytearray()
    try:
        for number, piece in enumerate(response.iter_stream()):
            content += piece
            if len(content) > LONGEST_BODY or number >= MOST_PIECES:
                return bytes(content[:LONGEST_BODY]), True
    except httpcore.RemoteProtocolError:
        raise SendingError("the answer's body is incomplete") from None
    return bytes(content), False


def kept_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The first ones, as many as are kept."""
    kept: dict[str, str] = {}
    length = 0
    for raw_name, raw_value in headers[:MOST_HEADERS]:
        length += len(raw_name) + len(raw_value)
        if length > LONGEST_HEADERS:
            break
        name, value = storable(raw_name).lower(), storable(raw_value)
        kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def storable(content: bytes) -> str:
    return content.decode(errors="replace").replace("\0", "")


@contextmanager
def named_errors(seconds: float) -> Iterator[None]:
    """Raises SendingError for what the network and the receiver may do wrong."""
    try:
        yield
    except UrlError as error:
        raise SendingError(error.message) from error
    except TimeoutError as error:
        raise SendingError(f"timed out after {seconds:g} s") from error
    except httpcore.WriteError as error:
        raise SendingError(network_reason(error.__cause__)) from error
    except httpcore.RemoteProtocolError as error:
        raise SendingError(protocol_reason(error.__cause__)) from error
    except OSError as error:
        raise SendingError(network_reason(error)) from error


def network_reason(error: BaseException | None) -> str:
    if isinstance(error, socket.gaierror):
        return "name does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_reason(error)
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    described = error.strerror if isinstance(error, OSError) else None
    return (described or "connection failed").lower()


def certificate_reason(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == EXPIRED:
        return "certificate expired"
    return f"certificate not valid: {error.verify_message.partition(',')[0].lower()}"


def tls_reason(error: ssl.SSLError) -> str:
    if error.reason in NO_TLS:
        return "no TLS"
    if isinstance(error, ssl.SSLEOFError):
        return "connection closed in the TLS handshake"
    return f"TLS failed: {(error.reason or 'unknown error').replace('_', ' ').lower()}"


def protocol_reason(error: BaseException | None) -> str:
    """What h11 found; httpcore alone finds that no answer came."""
    if error is None:
        return "connection closed without an answer"
    hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else None
    if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return "the answer's head is too long"
    return "the answer is not HTTP"


def signed_headers(message_id: str, secrets: list[str], body: bytes, now: datetime) -> dict[str, str]:
    """The headers of one attempt, after Standard Webhooks: one signature for each secret."""
    at = now.astimezone(UTC)  # the library takes the clock of any other zone for UTC's
    signatures = [Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": f"ObjectVision/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(math.floor(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
