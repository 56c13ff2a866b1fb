"""Attacks on streams: what a stranger or a bad client sends, and what must hold then."""

import asyncio
import base64
import socket
import time
from contextlib import ExitStack, suppress
from uuid import uuid4

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from testing import stacks
from testing.clients import closed_with, data_of
from testing.files.pictures import photo
from testing.waiting import until
from tests.attacks.fortress import ATTACKER, MEGABYTE, fortified

pytestmark = pytest.mark.services
MOST_STREAMS = 10
TEXT, PING, CLOSING = 1, 9, b"\x88"
VERSION_4 = "79d477e8-560d-43e5-b77b-467387f0a88f"
LATEST = "ffffffff-ffff-7fff-bfff-ffffffffffff"  # of the year 10889
FRIEND = "https://console.example.com"


@pytest.fixture(scope="module")
def fortress(tmp_path_factory, standin_folder):
    """Production with two web processes, to be attacked."""
    folder = tmp_path_factory.mktemp("fortress")
    unthrottled = {**stacks.UNTHROTTLED, "THROTTLE_ANON": "120/min"}
    options = {**unthrottled, **stacks.QUICK_PASSWORDS, "CORS_ALLOWED_ORIGINS": FRIEND}
    with fortified(folder, standin_folder, **options) as running:
        yield running


@pytest.fixture
def client(fortress):
    return fortress.stack.client().sign_up()


def code_of(client, **options):
    with client.socket(**options) as opened:
        return closed_with(opened)


def status_of(client, **options):
    with client.stream(**options) as response:
        return response.status_code


def handshake(stack, query="", headers=(), address=ATTACKER):
    """A raw WebSocket, whose answer is not read yet."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.bind((address, 0))
    raw.connect((stack.address, stack.port))
    key = base64.b64encode(uuid4().bytes).decode()
    lines = [
        f"GET /ws/{query} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", "",
    ]  # fmt: skip
    raw.sendall("\r\n".join(lines).encode())
    return raw


def bearer(client):
    return f"Authorization: {client.authorization()['Authorization']}"


def accepted(stack, client):
    raw = handshake(stack, headers=[bearer(client)])
    assert raw.recv(4096).startswith(b"HTTP/1.1 101")
    return raw


def frame(kind, content=b""):
    """With a mask of zeros."""
    return bytes([0x80 | kind, 0x80 | len(content), 0, 0, 0, 0]) + content


def slots(stack):
    return stack.redis_cli("KEYS", "objectvision:streams:*").stdout.strip()


@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer x"}, {"X-API-Key": "ov_x"}])
def test_without_valid_credentials_no_stream_is_opened(client, credentials):
    assert code_of(client, headers=credentials) == 4401
    assert status_of(client, headers=credentials) == 401


@pytest.mark.parametrize("ticket", ["", "x", "x" * 5000, "a:b:c", "\0", "é"])
def test_a_made_up_ticket_opens_no_stream(client, ticket):
    assert code_of(client, headers={}, ticket=ticket) == 4401
    assert status_of(client, headers={}, ticket=ticket) in {400, 401}


def test_a_used_ticket_and_one_of_an_ended_session_open_no_stream(client):
    used, unused = client.ticket(), client.ticket()
    assert status_of(client, headers={}, ticket=used) == 200
    assert code_of(client, headers={}, ticket=used) == 4401
    client.post("auth/logout")
    assert code_of(client, headers={}, ticket=unused) == 4401


def test_the_id_of_anothers_event_shows_none_of_theirs(fortress, client):
    other = fortress.stack.client().sign_up()
    with other.following("sse") as messages:
        other.upload(photo())
        theirs = next(messages)["id"]
    headers = {**client.authorization(), "Last-Event-ID": theirs}
    with client.stream(headers=headers) as response:
        own = client.upload(photo()).json()["detection_id"]
        assert next(data_of(response))["detection_id"] == own


@pytest.mark.parametrize("wrong", [{"since": "yesterday"}, {"since": "1"}, {"sinse": "2026-01-01T00:00:00Z"}])
def test_a_wrong_parameter_is_refused_before_anything_is_opened(client, wrong):
    assert status_of(client, **wrong) == 400
    with pytest.raises(InvalidStatus, match="400"):
        code_of(client, **wrong)


@pytest.mark.parametrize("wrong", ["1", "x" * 100, VERSION_4, LATEST])
def test_a_last_id_that_is_of_no_event_is_refused(client, wrong):
    headers = {**client.authorization(), "Last-Event-ID": wrong}
    answer = client.stream(headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "Last-Event-ID")


def test_pages_of_foreign_origins_are_refused(fortress, client):
    own = f"http://127.0.0.1:{fortress.stack.port}"
    foreign = ("https://evil.example.com", "null", "http://127.0.0.1", f"https://evil.com?{own}", "http://[")
    for origin in foreign:
        assert code_of(client, origin=origin, headers={}, ticket=client.ticket()) == 4403
        assert status_of(client, headers={**client.authorization(), "Origin": origin}) == 403
    for origin in (own, FRIEND):
        with client.socket(origin=origin, headers={}, ticket=client.ticket()) as opened:
            client.upload(photo())
            assert "detection" in opened.recv(timeout=30)


def test_a_wrong_host_is_refused(fortress, client):
    headers = {**client.authorization(), "Host": "evil.example.com"}
    assert status_of(client, headers=headers) == 400
    raw = handshake(fortress.stack, headers=[f"Authorization: {headers['Authorization']}"])
    raw.close()


def test_an_11th_stream_of_a_user_is_refused_in_whichever_process(fortress, client):
    with ExitStack() as opened:
        sockets = [opened.enter_context(client.socket()) for _ in range(MOST_STREAMS)]
        assert code_of(client) == 4429
        answer = client.stream()
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (429, "throttled")
        assert int(answer.headers["Retry-After"]) > 0
        sockets[0].close()
        until(lambda: status_of(client) == 200)
    until(lambda: not slots(fortress.stack))


def test_clients_that_leave_at_once_or_send_several_messages_keep_no_slot(fortress, client):
    stack, two = fortress.stack, frame(TEXT, b"a") + frame(TEXT, b"b")
    request = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer(client)}\r\n\r\n".encode()
    until(lambda: not slots(stack))
    for number in range(60):
        with socket.create_connection((stack.address, stack.port)) as raw:
            raw.sendall(request)
            time.sleep(number % 20 / 1000)
        handshake(stack, headers=[bearer(client)]).close()
    for _ in range(MOST_STREAMS):
        with accepted(stack, client) as raw:
            raw.sendall(two)
            assert raw.recv(1) == CLOSING
    until(lambda: not slots(stack), seconds=10)
    assert "Unexpected ASGI message" not in stack.log("web")


def test_a_flood_of_pings_breaks_the_connection_off(fortress, client):
    raw = accepted(fortress.stack, client)
    with fortress.attacked(), suppress(ConnectionError), raw:
        raw.settimeout(10)
        for _ in range(1000):
            raw.sendall(frame(PING, b"x" * 100) * 600)
        raise AssertionError


def test_a_handshake_with_a_long_header_is_answered(fortress):
    with handshake(fortress.stack, headers=["Cookie: " + "x" * 9000]) as raw:
        raw.settimeout(10)
        assert raw.recv(4096).startswith(b"HTTP/1.1 431")


def test_a_head_request_opens_no_stream(client):
    answer = client.http.head(f"{client.api}/events", timeout=10)
    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("sent", "codes"),
    [
        ("hello", {1003}),
        (b"\0" * 10, {1003}),
        ("x" * 5000, {1009}),
        (b"x" * 10 * MEGABYTE, {1009, None}),  # it breaks off while most of it is still to be sent
    ],
)
def test_a_socket_takes_no_messages(fortress, client, sent, codes):
    with fortress.attacked(), client.socket() as opened:
        with suppress(ConnectionClosed):
            opened.send(sent)
        assert closed_with(opened) in codes


@pytest.mark.parametrize("path", ["/ws", "/ws/x", "/ws//", "/api/v1/events", "/", "/ws/../ws/x"])
def test_another_path_is_404(fortress, client, path):
    uri = f"ws://127.0.0.1:{fortress.stack.port}{path}"

    async def opened():
        await websockets.connect(uri, additional_headers=client.authorization(), proxy=None)

    with pytest.raises(InvalidStatus, match="404"):
        asyncio.run(opened())
    log = fortress.stack.log("web")
    assert not any(sign in log for sign in ("Traceback", "without completing handshake"))


def test_a_get_of_the_socket_is_404(fortress, client):
    answer = client.http.get(f"http://127.0.0.1:{fortress.stack.port}/ws/")
    assert answer.status_code == 404


def write_events(stack, user_id, count, size):
    """Events as large as none is, straight into the table."""
    stack.connection.execute(
        "INSERT INTO notifications_event (id, user_id, type, subject_id, data, created_at) "
        "SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') "
        "|| '7000a000' || lpad(to_hex(number), 12, '0'))::uuid, %s, 'detection.started', %s, "
        "jsonb_build_object('error', repeat('x', %s)), now() FROM generate_series(1, %s) number",
        [user_id, user_id, size, count],
    )


def test_a_client_that_reads_nothing_is_disconnected_and_takes_little_memory(fortress, client):
    user_id = client.get("users/get-profile").json()["id"]
    with fortress.attacked():
        raw = accepted(fortress.stack, client)
        for _ in range(4):
            write_events(fortress.stack, user_id, 900, 10_000)
            time.sleep(1.5)
        raw.settimeout(60)
        begun = time.monotonic()
        until(lambda: is_disconnected(fortress.stack, raw.getsockname()), seconds=60)
        assert time.monotonic() - begun < 50
        raw.close()


def is_disconnected(stack, address):
    import psutil

    connections = psutil.net_connections("tcp")
    return not any(
        each.raddr == address and each.laddr.port == stack.port and each.pid for each in connections
    )


def test_1000_sockets_of_a_stranger_hold_up_nobody(fortress):
    async def knock(number):
        uri = f"ws://127.0.0.1:{fortress.stack.port}/ws/?ticket=x{number}"
        try:
            async with websockets.connect(uri, local_addr=(ATTACKER, 0), proxy=None) as opened:
                await opened.wait_closed()
                return opened.close_code
        except InvalidStatus as refused:
            return refused.response.status_code

    async def knock_often():
        return await asyncio.gather(*[knock(number) for number in range(1000)])

    with fortress.attacked():
        answers = asyncio.run(knock_often())
    assert set(answers) == {4401, 429}
    assert answers.count(4401) <= 240  # the rate of anonymous requests, in two windows
    answer = fortress.ask()
    assert answer[0] == 200


def test_no_ticket_is_in_the_log(fortress, client):
    ticket = client.ticket()
    with client.socket(headers={}, ticket=ticket), client.stream(headers={}, ticket=ticket):
        pass
    until(lambda: "/ws/" in fortress.stack.log("web"))
    assert "ticket=" not in fortress.stack.log("web")
