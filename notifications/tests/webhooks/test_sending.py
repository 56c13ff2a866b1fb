"""Requests to receivers that strangers chose. All of these listen on loopback, and most of them misbehave."""

import itertools
import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone as clock
from standardwebhooks import Webhook, WebhookVerificationError

from notifications.webhooks import sending
from notifications.webhooks.sending import Answer, SendingError, post, signed_headers
from objectvision import __version__

PUBLIC, ELSEWHERE = "93.184.215.14", "8.8.8.8"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NAME = "hooks.example.com"
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """A listener on loopback. `handle` gets each connection in a thread of its own."""

    def __init__(self, handle, address="127.0.0.1", context=None):
        self.handle, self.context = handle, context
        self.connections = 0
        self.requests = []
        self.closed_at = None
        """When the other side was seen to have gone."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/in"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self.serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        with connection, suppress(OSError):
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                self.handle(self, connection)

    def read_request(self, connection):
        received = b""
        while b"\r\n\r\n" not in received:
            received += receive(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += receive(connection)
        self.requests.append((first, headers, body))

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self.threads)


def receive(connection):
    if data := connection.recv(65536):
        return data
    raise ConnectionAbortedError


@pytest.fixture
def receiver(settings):
    """Starts receivers, where private addresses are allowed."""
    settings.WEBHOOK_ALLOW_PRIVATE = True
    started = []

    def start(handle, **options):
        started.append(Receiver(handle, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def answering(*parts, every=0.0):
    """Reads the request and sends these parts, with a pause before each but the first."""

    def handle(receiver, connection):
        receiver.read_request(connection)
        for number, part in enumerate(parts):
            time.sleep(every if number else 0)
            connection.sendall(part)

    return handle


def endless(first, again, every=0.0):
    """Reads the request, sends the first part, and the other one until the sender goes away."""

    def handle(receiver, connection):
        receiver.read_request(connection)
        try:
            connection.sendall(first)
            while True:
                time.sleep(every)
                connection.sendall(again)
        except OSError:
            receiver.closed_at = time.monotonic()

    return handle


def silent(receiver, connection):
    connection.settimeout(10)
    with suppress(OSError):
        while connection.recv(65536):
            pass
    receiver.closed_at = time.monotonic()


def send(receiver_or_url, seconds=5, body=b"{}", headers=None):
    url = getattr(receiver_or_url, "url", receiver_or_url)
    return post(url, {"content-type": "application/json", **(headers or {})}, body, seconds)


def failure(receiver_or_url, seconds=5, body=b"{}"):
    with pytest.raises(SendingError) as caught:
        send(receiver_or_url, seconds, body)
    return str(caught.value)


@contextmanager
def at_most(seconds):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


@pytest.fixture
def names(monkeypatch):
    """The addresses of names: a list of answers, one for each lookup, the last one for all later."""
    known, looked_up = {}, []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in known:
            return real(host, port, *args, flags=socket.AI_NUMERICHOST, **kwargs)
        looked_up.append(host)
        answers = known[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [place for address in addresses for place in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    getaddrinfo.known, getaddrinfo.looked_up = known, looked_up
    return getaddrinfo


@pytest.fixture
def connections(monkeypatch):
    """The addresses that are connected to; only those on loopback really are."""
    made = []
    real = socket.create_connection

    def create_connection(address, timeout):
        made.append(address[0])
        if not ip_address(address[0]).is_loopback:
            raise ConnectionRefusedError(111, "Connection refused")
        return real(address, timeout)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    return made


# --- The request and its answer ---


def test_the_receiver_gets_one_post_with_these_headers_and_bytes(receiver):
    there = receiver(answering(OK))
    body = json.dumps({"name": "Füße"}, ensure_ascii=False).encode()
    answer = send(f"{there.url}?a=%C3%A9", body=body, headers={"webhook-id": "msg_1"})
    assert answer == Answer(200, {"content-length": "2"}, "ok", truncated=False)
    assert there.requests == [
        (
            "POST /in?a=%C3%A9 HTTP/1.1",
            {
                "content-type": "application/json",
                "webhook-id": "msg_1",
                "host": f"127.0.0.1:{there.port}",
                "accept-encoding": "identity",
                "connection": "close",
                "content-length": str(len(body)),
            },
            body,
        )
    ]


def test_every_request_has_a_connection_of_its_own(receiver):
    there = receiver(answering(OK))
    send(there)
    send(there)
    assert there.connections == 2


@pytest.mark.parametrize("status", [200, 202, 204, 304, 400, 404, 410, 429, 500, 503, 599])
def test_any_status_is_an_answer(receiver, status):
    there = receiver(answering(f"HTTP/1.1 {status} Any\r\nContent-Length: 0\r\n\r\n".encode()))
    assert send(there) == Answer(status, {"content-length": "0"}, "", truncated=False)


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_such_an_answer_cannot_have_is_not_waited_for(receiver, status):
    def handle(receiver, connection):
        receiver.read_request(connection)
        connection.sendall(f"HTTP/1.1 {status} Any\r\nContent-Length: 5\r\n\r\n".encode())
        silent(receiver, connection)

    with at_most(2):
        assert send(receiver(handle)).body == ""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers_and_not_followed(receiver, status):
    other = receiver(answering(OK))
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n"
    answer = send(receiver(answering(head.encode())))
    assert (answer.status, answer.headers["location"]) == (status, other.url)
    assert other.connections == 0


def test_an_answer_may_come_in_small_pieces_chunked_and_after_other_ones(receiver):
    there = receiver(
        answering(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTT",
            b"P/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n3\r\nab",
            b"c\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
            every=0.02,
        )
    )
    answer = send(there)
    assert answer == Answer(200, {"transfer-encoding": "chunked", "x-a": "1, 2"}, "abcde", truncated=False)


def test_of_a_body_in_very_small_chunks_only_the_first_ones_are_read(receiver):
    there = receiver(answering(CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"))
    answer = send(there)
    assert (answer.status, answer.truncated) == (200, True)
    assert answer.body == "x" * (sending.MOST_PIECES + 1)


def test_an_answer_without_a_length_ends_with_the_connection(receiver):
    assert send(receiver(answering(b"HTTP/1.0 200 OK\r\n\r\nabc"))).body == "abc"


def test_an_answer_that_comes_before_the_request_was_read_counts(receiver):
    def handle(_, connection):
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        silent(_, connection)

    assert send(receiver(handle), body=b"x" * 20_000).status == 413


def test_a_receiver_on_ipv6_is_named_in_brackets(receiver):
    there = receiver(answering(OK), address="::1")
    assert send(f"http://[::1]:{there.port}/").status == 200
    assert there.requests[0][1]["host"] == f"[::1]:{there.port}"


def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    proxy, there = receiver(answering(OK)), receiver(answering(OK))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
    assert send(there).status == 200
    assert (there.connections, proxy.connections) == (1, 0)


# --- What is kept of an answer ---


def with_body(body):
    return answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


def test_a_body_of_64_kb_is_kept_whole(receiver):
    answer = send(receiver(with_body(b"x" * 65_536)))
    assert (answer.body, answer.truncated) == ("x" * 65_536, False)


def test_of_a_longer_body_the_beginning_is_kept(receiver):
    answer = send(receiver(with_body(b"x" * 65_537)))
    assert (answer.body, answer.truncated) == ("x" * 65_536, True)


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", b"x" * 10_000),
        (CHUNKED, b"2710\r\n" + b"x" * 10_000 + b"\r\n"),
        (CHUNKED, (b"40\r\n" + b"x" * 64 + b"\r\n") * 1000),
    ],
)
def test_a_body_without_end_is_cut_and_its_connection_closed(receiver, head, part):
    there = receiver(endless(head, part))
    with at_most(5):
        answer = send(there, seconds=10)
    assert (answer.status, answer.body, answer.truncated) == (200, "x" * 65_536, True)
    there.threads[-1].join(5)
    assert there.closed_at is not None


def test_a_body_is_text_that_can_be_stored(receiver):
    answer = send(receiver(with_body(b"a\0b\xff\xed\xa0\x80c\xc3\xa9")))
    assert answer.body == "ab\N{REPLACEMENT CHARACTER}" + 3 * "\N{REPLACEMENT CHARACTER}" + "cé"
    answer.body.encode()


def test_a_compressed_body_is_not_unpacked(receiver):
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01"
    assert send(receiver(answering(packed))).body == "\x1f\N{REPLACEMENT CHARACTER}\x08\x01"


def test_headers_are_text_that_can_be_stored(receiver):
    answer = send(
        receiver(answering(b"HTTP/1.1 200 OK\r\nX-A: \xff\xed\xa0\x80b\xc3\xa9\r\nContent-Length: 0\r\n\r\n"))
    )
    assert answer.headers["x-a"] == 4 * "\N{REPLACEMENT CHARACTER}" + "bé"


def test_at_most_100_headers_are_kept(receiver):
    lines = "".join(f"X-{number}: {number}\r\n" for number in range(150))
    answer = send(receiver(answering(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode())))
    assert answer.headers == {f"x-{number}": str(number) for number in range(100)}


def test_at_most_16_kb_of_headers_are_kept(receiver):
    lines = "".join(f"X-{number}: {'v' * 1000}\r\n" for number in range(10, 30))
    answer = send(receiver(answering(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode())))
    assert answer.headers == {f"x-{number}": "v" * 1000 for number in range(10, 26)}
    assert sum(map(len, itertools.chain(*answer.headers.items()))) <= 16_384


# --- What is no answer ---


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nX-A", "connection closed without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "connection closed without an answer"),
        (b"220 mail.example.com ESMTP\r\n\r\n", "the answer is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "the answer is not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 000 Zero\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "the answer's body is incomplete"),
        (CHUNKED + b"5\r\nabc", "the answer's body is incomplete"),
        (CHUNKED + b"zz\r\n", "the answer's body is incomplete"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 20_000, "the answer's head is too long"),
        (b"HTTP/1.1 200 " + b"x" * 150_000, "the answer's head is too long"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 30_000, "the answer is too long"),
    ],
)  # fmt: skip  # a table to read at a glance
def test_a_broken_answer_is_named(receiver, raw, reason):
    with at_most(5):
        assert failure(receiver(answering(raw))) == reason


def test_a_closed_port_is_a_refused_connection(receiver):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/") == "connection refused"


def test_a_connection_that_is_cut_is_named(receiver):
    def cut(receiver, connection):
        receiver.read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert failure(receiver(cut)) == "connection reset by peer"


def test_a_name_that_does_not_resolve_is_named(names):
    assert failure("http://not-yet.example.com/") == "name does not resolve"


def test_what_is_no_url_any_more_is_named():
    assert failure("ftp://127.0.0.1/") == "The URL of a webhook begins with https:// or http://."


def test_an_unreachable_network_is_named(receiver, names, monkeypatch):
    def unreachable(*_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert failure(f"http://{PUBLIC}/") == "network is unreachable"


def test_an_error_of_the_program_is_none_of_the_receiver(receiver):
    there = receiver(answering(OK))
    with pytest.raises(TypeError):
        post(there.url, {"x": None}, b"{}")


# --- Where it leads ---


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.1", "127.1", "0", "localhost", "①②⑦.0.0.1", "127.0.0.1."],
)
def test_no_spelling_of_loopback_is_connected_to(receiver, settings, host):
    there = receiver(answering(OK))
    settings.WEBHOOK_ALLOW_PRIVATE = False
    assert failure(f"http://{host}:{there.port}/") == "address not allowed"
    assert there.connections == 0


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]"])
def test_no_spelling_of_ipv6_loopback_is_connected_to(receiver, settings, host):
    there = receiver(answering(OK), address="::")
    settings.WEBHOOK_ALLOW_PRIVATE = False
    assert failure(f"http://{host}:{there.port}/") == "address not allowed"
    assert there.connections == 0


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1", PUBLIC], [PUBLIC, "10.0.0.1"]]
)
def test_nothing_is_connected_to_if_one_address_of_a_name_is_inside(names, connections, addresses):
    names.known[NAME] = [addresses]
    assert failure(f"http://{NAME}/") == "address not allowed"
    assert connections == []


def test_an_answer_of_dns_that_changes_after_the_check_is_not_seen(receiver, settings, names, connections):
    there = receiver(answering(OK))
    settings.WEBHOOK_ALLOW_PRIVATE = False
    names.known[NAME] = [[PUBLIC], ["127.0.0.1"]]
    assert failure(f"http://{NAME}:{there.port}/") == "connection refused"
    assert connections == [PUBLIC]
    assert names.looked_up == [NAME]
    assert there.connections == 0


def test_public_addresses_are_tried_in_order(settings, names, connections):
    names.known[NAME] = [[PUBLIC, ELSEWHERE]]
    assert failure(f"http://{NAME}/") == "connection refused"
    assert connections == [PUBLIC, ELSEWHERE]


def test_the_first_address_that_answers_is_taken(receiver, names, connections):
    there = receiver(answering(OK))
    names.known[NAME] = [["10.0.0.1", "127.0.0.1", "10.0.0.2"]]
    assert send(f"http://{NAME}:{there.port}/").status == 200
    assert connections == ["10.0.0.1", "127.0.0.1"]
    assert there.requests[0][1]["host"] == f"{NAME}:{there.port}"


def test_an_address_that_leads_nowhere_leaves_time_for_the_others(receiver, names, monkeypatch):
    there = receiver(answering(OK))
    monkeypatch.setattr(sending, "SHORTEST_CONNECT", 0.1)
    names.known[NAME] = [["127.0.0.9", "127.0.0.1"]]
    with full(("127.0.0.9", there.port)), at_most(2):
        assert send(f"http://{NAME}:{there.port}/", seconds=1).status == 200


# --- One deadline ---


@contextmanager
def full(address):
    """A listener whose queue is full: connections to it are never made."""
    with socket.socket() as listener:
        listener.bind(address)
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.settimeout(0)
            each.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]
        for each in waiting:
            each.close()


def dripping(data, every=0.1):
    def handle(receiver, connection):
        receiver.read_request(connection)
        drip(receiver, connection, data, every)

    return handle


def drip(receiver, connection, data, every):
    try:
        for number in itertools.cycle(data):
            connection.sendall(bytes([number]))
            time.sleep(every)
    except OSError:
        receiver.closed_at = time.monotonic()


DRIPS = {
    "status line": dripping(b"HTTP/1.1 200 " + b"x" * 1000),
    "headers": dripping(b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 100),
    "body of a length": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x", every=0.1),
    "body without length": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", every=0.1),
    "chunks": endless(CHUNKED, b"1\r\nx\r\n", every=0.1),
    "one chunk's size": endless(CHUNKED + b"1;", b"x", every=0.1),
    "trailers": endless(CHUNKED + b"0\r\n", b"X: 1\r\n", every=0.1),
    "other answers before": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every=0.1),
    "nothing": silent,
}


@pytest.mark.parametrize("handle", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_ends_at_the_deadline_with_its_connection(receiver, handle):
    there = receiver(handle)
    begun = time.monotonic()
    assert failure(there, seconds=0.6) == "timed out after 0.6 s"
    assert 0.6 <= time.monotonic() - begun < 1.5
    there.threads[-1].join(5)
    assert there.closed_at is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_says_nothing_ends_at_the_deadline(receiver, scheme):
    there = receiver(silent)
    with at_most(1.5):
        assert failure(f"{scheme}://127.0.0.1:{there.port}/", seconds=0.5) == "timed out after 0.5 s"


def test_a_receiver_that_reads_nothing_ends_at_the_deadline(receiver):
    there = receiver(lambda *_: time.sleep(1.5))
    with at_most(1.4):
        assert failure(there, seconds=0.5, body=b"x" * 20_000_000) == "timed out after 0.5 s"


def test_a_receiver_that_reads_drop_by_drop_ends_at_the_deadline(receiver):
    def sip(_, connection):
        for _ in range(20):
            connection.recv(100_000)
            time.sleep(0.1)

    there = receiver(sip)
    with at_most(1.5):
        assert failure(there, seconds=0.6, body=b"x" * 50_000_000) == "timed out after 0.6 s"


def test_a_tls_handshake_that_drips_ends_at_the_deadline(receiver):
    there = receiver(
        lambda receiver, connection: drip(receiver, connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", 0.1)
    )
    with at_most(1.5):
        assert failure(f"https://127.0.0.1:{there.port}/", seconds=0.6) == "timed out after 0.6 s"


def test_a_connection_that_is_never_made_ends_at_the_deadline(receiver):
    with full(("127.0.0.1", 0)) as port, at_most(1.5):
        assert failure(f"http://127.0.0.1:{port}/", seconds=0.5) == "timed out after 0.5 s"


def test_many_addresses_share_one_deadline(receiver, names):
    names.known[NAME] = [[f"127.0.1.{last}" for last in range(1, 20)]]
    with full(("0.0.0.0", 0)) as port, at_most(1.5):
        assert failure(f"http://{NAME}:{port}/", seconds=0.5) == "timed out after 0.5 s"


def test_a_name_server_that_hangs_ends_at_the_deadline(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(30) and [])
    with at_most(1.5):
        assert failure(f"http://{NAME}/", seconds=0.5) == "timed out after 0.5 s"
    end.set()


# --- TLS ---


LEAF = x509.BasicConstraints(ca=False, path_length=None)


class Authority:
    """Signs certificates. Its own one is in the file `path`."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
        root = x509.BasicConstraints(ca=True, path_length=None)
        self.path = folder / "authority.pem"
        certificate = self.sign(self.name, self.key, root, days=(-1, 1))
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name, key, constraints, days, alternatives=()):
        begin, end = (clock.now() + timedelta(days=each) for each in days)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=constraints.ca, crl_sign=constraints.ca,
            content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip  # many flags that say no
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        extensions = {usage: True, constraints: True, issuer: False}
        extensions[x509.SubjectKeyIdentifier.from_public_key(key.public_key())] = False
        if alternatives := list(alternatives):
            extensions[x509.SubjectAlternativeName(alternatives)] = False
        builder = x509.CertificateBuilder(
            self.name, name, key.public_key(), x509.random_serial_number(), begin, end
        )
        for extension, critical in extensions.items():
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def context_for(self, *hosts, days=(-1, 1)):
        """The context of a server with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        return self.context(key, self.sign(name, key, LEAF, days, map(alternative, hosts)))

    def own_context_for(self, host):
        """The same with the authority's own name and key: the certificate signs itself."""
        return self.context(self.key, self.sign(self.name, self.key, LEAF, (-1, 1), [alternative(host)]))

    def context(self, key, certificate):
        file = self.folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def alternative(host):
    return x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """An authority that the operator has named by SSL_CERT_FILE."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    sending.ssl_context.cache_clear()
    yield authority
    sending.ssl_context.cache_clear()


@pytest.fixture
def stranger(tmp_path):
    """An authority that is not known."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def named(names):
    """The name leads to loopback."""
    names.known[NAME] = [["127.0.0.1"]]


def secure(there, host=NAME):
    return f"https://{host}:{there.port}/in"


def test_a_certificate_of_the_operators_authority_is_accepted(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for(NAME))
    assert send(secure(there), body=b"x" * 50_000) == Answer(
        200, {"content-length": "2"}, "ok", truncated=False
    )
    (_, headers, body) = there.requests[0]
    assert (headers["host"], body) == (f"{NAME}:{there.port}", b"x" * 50_000)


def test_the_server_is_told_the_name_and_http_1_1(receiver, authority, named):
    context = authority.context_for(NAME)
    context.set_alpn_protocols(["h2", "http/1.1"])
    told = []
    context.sni_callback = lambda _, name, __: told.append(name)

    def handle(receiver, connection):
        told.append(connection.selected_alpn_protocol())
        answering(OK)(receiver, connection)

    assert send(secure(receiver(handle, context=context))).status == 200
    assert told == [NAME, "http/1.1"]


def test_a_certificate_for_an_address_is_accepted(receiver, authority):
    there = receiver(answering(OK), context=authority.context_for("127.0.0.1"))
    assert send(secure(there, "127.0.0.1")).status == 200


def test_a_body_without_length_ends_with_a_tls_connection(receiver, authority, named):
    there = receiver(answering(b"HTTP/1.0 200 OK\r\n\r\nabc"), context=authority.context_for(NAME))
    assert send(secure(there)).body == "abc"


def test_an_expired_certificate_is_refused(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for(NAME, days=(-2, -1)))
    assert failure(secure(there)) == "certificate expired"
    assert there.requests == []


def test_a_certificate_for_another_name_is_refused(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for("other.example.com"))
    assert failure(secure(there)) == "certificate not valid: hostname mismatch"
    assert there.requests == []


def test_a_certificate_for_another_address_is_refused(receiver, authority):
    there = receiver(answering(OK), context=authority.context_for("127.0.0.2"))
    assert failure(secure(there, "127.0.0.1")) == "certificate not valid: ip address mismatch"


def test_a_certificate_for_the_address_is_none_for_the_name(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for("127.0.0.1"))
    assert failure(secure(there)) == "certificate not valid: hostname mismatch"


def test_a_certificate_that_is_not_valid_yet_is_refused(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for(NAME, days=(1, 2)))
    assert failure(secure(there)) == "certificate not valid: certificate is not yet valid"


def test_a_certificate_of_an_unknown_authority_is_refused(receiver, authority, stranger, named):
    there = receiver(answering(OK), context=stranger.context_for(NAME))
    assert failure(secure(there)) == "certificate not valid: unable to get local issuer certificate"
    assert there.requests == []


def test_a_certificate_that_signs_itself_is_refused(receiver, authority, stranger, named):
    there = receiver(answering(OK), context=stranger.own_context_for(NAME))
    assert failure(secure(there)) == "certificate not valid: self-signed certificate"
    assert there.requests == []


def test_private_addresses_may_be_allowed_and_certificates_are_still_verified(
    receiver, stranger, named, settings
):
    sending.ssl_context.cache_clear()
    there = receiver(answering(OK), context=stranger.context_for(NAME))
    assert settings.WEBHOOK_ALLOW_PRIVATE is True
    assert failure(secure(there)).startswith("certificate not valid: ")


def test_the_authority_of_the_operator_comes_besides_the_public_ones(authority):
    subjects = [dict(pair[0] for pair in each["subject"]) for each in sending.ssl_context().get_ca_certs()]
    assert {"commonName": "Authority of the tests"} in subjects
    assert len(subjects) > 50


def test_a_receiver_without_tls_is_named(receiver):
    def plain(_, connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert failure(secure(receiver(plain), "127.0.0.1")) == "no TLS"


def test_a_receiver_that_wants_a_certificate_is_named(receiver, authority, named):
    context = authority.context_for(NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    there = receiver(answering(OK), context=context)
    assert failure(secure(there)) == "TLS failed: tlsv13 alert certificate required"


def test_a_connection_that_ends_in_the_handshake_is_named(receiver):
    there = receiver(lambda _, connection: connection.recv(65536))
    assert failure(secure(there, "127.0.0.1")) == "connection closed in the TLS handshake"


def test_a_flood_of_session_tickets_is_cut(receiver, authority, named):
    context = authority.context_for(NAME)
    context.num_tickets = 50_000
    there = receiver(answering(OK), context=context)
    with at_most(5):
        assert failure(secure(there), seconds=10) == "the answer is too long"


@pytest.mark.parametrize("name", ["headers", "body of a length", "chunks", "nothing"])
def test_an_answer_that_drips_through_tls_ends_at_the_deadline(receiver, authority, named, name):
    there = receiver(DRIPS[name], context=authority.context_for(NAME))
    with at_most(1.7):
        assert failure(secure(there), seconds=0.8) == "timed out after 0.8 s"


def test_the_authorities_are_read_once(receiver, authority, named):
    there = receiver(answering(OK), context=authority.context_for(NAME))
    assert [send(secure(there)).status for _ in range(3)] == [200] * 3
    assert sending.ssl_context.cache_info().misses == 1


# --- Signatures ---


def test_the_receivers_library_accepts_a_signed_request(receiver):
    body = json.dumps({"type": "detection.completed", "data": {"name": "Füße"}}).encode()
    there = receiver(answering(OK))
    send(there, body=body, headers=signed_headers("msg_1", [SECRET], body, clock.now()))
    (_, headers, received) = there.requests[0]
    assert Webhook(SECRET).verify(received, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(received + b" ", headers)


def test_the_headers_of_an_attempt():
    at = datetime(2026, 11, 29, 12, 0, 0, 900_000, tzinfo=UTC)
    assert signed_headers("msg_1", [SECRET], b'{"a":1}', at) == {
        "content-type": "application/json",
        "user-agent": f"ObjectVision/{__version__}",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", datetime(2026, 11, 29, 12, tzinfo=UTC), '{"a":1}'),
    }


def test_the_signature_is_the_one_of_the_specification():
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", [SECRET], b'{"test": 2432232314}', at)
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("hours", [-11, 5.5, 14])
def test_the_zone_of_a_time_does_not_matter(hours):
    now = clock.now()
    there = now.astimezone(timezone(timedelta(hours=hours)))
    headers = signed_headers("msg_1", [SECRET], b"{}", there)
    assert headers == signed_headers("msg_1", [SECRET], b"{}", now)
    assert Webhook(SECRET).verify(b"{}", headers) == {}


def test_during_a_rotation_there_is_a_signature_for_each_secret():
    former = "whsec_" + "A" * 32
    headers = signed_headers("msg_1", [SECRET, former], b"{}", clock.now())
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert Webhook(SECRET).verify(b"{}", headers) == Webhook(former).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "B" * 32).verify(b"{}", headers)
