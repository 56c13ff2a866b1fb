"""Clients that disconnect, do not read, do not finish, or send too much."""

import contextlib
import json
import re
import select
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from testing import stacks
from testing.files.pictures import photo
from testing.outages import mounted
from testing.waiting import until
from tests.attacks.fortress import ATTACKER, MEGABYTE, PROMPT_SECONDS, connect

pytestmark = pytest.mark.services

MADE_UP = "ov_" + "a" * 12 + "_" + "b" * 43
KEYED = f"GET /api/v1/users/get-profile HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {MADE_UP}\r\n\r\n".encode()


def head(method, path, *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def answer(client):
    """Status and body of the answer that ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while block := client.recv(65_536):
            received += block
    headers, _, body = received.partition(b"\r\n\r\n")
    return int(headers.split()[1]), body


def code(body):
    return json.loads(body)["errors"][0]["code"]


def addresses(count):
    return [f"127.0.1.{number}" for number in range(1, count + 1)]


def pipeline_and_reset(stack, address):
    client = connect(stack, address)
    client.sendall(KEYED * 3)
    reset(client)


def test_pipelined_requests_of_clients_that_reset_hold_no_database_connection(fortress):
    with fortress.attacked(), ThreadPoolExecutor(50) as threads:
        list(threads.map(lambda address: pipeline_and_reset(fortress.stack, address), addresses(150)))


def test_pipelined_requests_with_a_real_key_hold_no_database_connection(fortress):
    """Unlike made-up keys, real keys reach the database."""
    key = fortress.other.post("users/api-keys", json={"name": "k", "scopes": ["account"]}).json()["key"]
    request = KEYED.replace(MADE_UP.encode(), key.encode())

    def attack(address):
        client = connect(fortress.stack, address)
        client.sendall(request * 3)
        reset(client)

    with fortress.attacked(), ThreadPoolExecutor(50) as threads:
        list(threads.map(attack, addresses(150)))


def test_the_embedded_server_keeps_no_file_descriptors_of_clients_that_reset(tmp_path, standin_folder):
    with stacks.running("embedded", tmp_path, standin_folder) as stack:
        client = stack.client().sign_up()
        served = psutil.Process(stack.processes["serve"].pid)

        def descriptors():
            assert client.get("users/get-profile").status_code == 200
            return served.num_fds()

        usual = descriptors()
        for address in addresses(100):
            pipeline_and_reset(stack, address)
        # SQLite closes those of ended connections once none is open, such as between sweeps: each 10 s.
        until(lambda: descriptors() <= usual + 5, 60)


def test_endless_headers_are_refused_and_take_no_memory(fortress):
    lines = b"a:b\r\n" * 20_000

    def attack(address):
        with connect(fortress.stack, address) as client:
            with contextlib.suppress(OSError):  # the server closes while we still send
                client.sendall(b"GET /health HTTP/1.1\r\n")
                for _ in range(150):  # 15 MB
                    client.sendall(lines)
            with contextlib.suppress(OSError):
                return client.recv(100)
        return b""

    with fortress.attacked() as most_memory, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(attack, addresses(4)))
        assert fortress.memory() < most_memory
    assert {status[9:12] for status in answers} <= {b"431", b""}


@pytest.mark.parametrize(
    "request_head",
    [
        head("GET", "/health?" + "a" * 9000),
        head("GET", "/health", "X-Long: " + "a" * 9000),
        head("GET", "/health", *[f"X-{number}: 1" for number in range(101)]),
        head("GET", "/health", *[f"X-{number}: {'a' * 8000}" for number in range(9)]),
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"a" * 80_000,
    ],
    ids=["line", "header", "count", "total", "unfinished"],
)
def test_headers_over_the_limits_answer_431_in_the_error_format(fortress, request_head):
    with connect(fortress.stack) as client:
        client.sendall(request_head)
        status, body = answer(client)
    assert (status, code(body)) == (431, "headers_too_large")


def test_bytes_that_are_not_http_answer_400_in_the_error_format(fortress):
    with connect(fortress.stack) as client:
        client.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        status, body = answer(client)
    assert (status, code(body)) == (400, "parse_error")


@pytest.mark.parametrize("name", ["Content-Type: text/plain", "Authorization: Bearer a", "X-API-Key: a"])
def test_a_repeated_header_that_must_be_unique_is_refused(fortress, name):
    with connect(fortress.stack) as client:
        client.sendall(head("GET", "/health", name, name, "Connection: close"))
        status, body = answer(client)
    assert (status, code(body)) == (400, "parse_error")


def test_clients_cannot_forge_log_lines(fortress):
    before = len(fortress.stack.log("web"))
    line = "2026-01-01 ERROR root [-] forged"
    path = f"/%0a{line.replace(' ', '%20')}"
    for headers in (
        ("Content-Type: a", "Content-Type: b"),
        ("Content-Type: multipart/form-data; boundary*=foo''B",),
        ("X-API-Key: \xe9\x85",),
        ("Authorization: Bearer " + "\x85" * 10,),
    ):
        with connect(fortress.stack) as client:
            client.sendall(
                "\r\n".join(
                    [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "Connection: close", "", ""]
                ).encode("latin-1")
            )
            assert answer(client)[0] in {400, 401, 404}
    log = fortress.stack.log("web")[before:]
    assert not re.search(r"^2026-01-01", log, re.MULTILINE)
    assert "Traceback" not in log
    assert "%0A" in log.upper()  # the access log has it escaped


def test_bodies_in_one_byte_chunks_do_not_delay_other_requests(fortress):
    """The server makes an event of each chunk before it runs the application."""
    begun = head("POST", "/api/v1/detect/image", "Transfer-Encoding: chunked", "Content-Type: text/plain")
    chunks = b"1\r\nx\r\n" * 100_000
    end = time.monotonic() + 5

    def attack(address):
        while time.monotonic() < end:
            with contextlib.suppress(OSError), connect(fortress.stack, address) as client:
                client.sendall(begun)
                client.sendall(chunks)
                assert answer(client)[0] == 400

    with fortress.attacked(), ThreadPoolExecutor(12) as threads:
        attacks = [threads.submit(attack, address) for address in addresses(12)]
        waits = []
        while time.monotonic() < end:
            waits.append(fortress.ask())
        for attacked in attacks:
            attacked.result()
    assert {status for status, _ in waits} == {200}
    assert max(seconds for _, seconds in waits) < PROMPT_SECONDS


def form(parts, boundary="B"):
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; filename="{number}"\r\n\r\n\r\n'.encode()
        for number in range(parts)
    )
    return body + f"--{boundary}--\r\n".encode()


@pytest.mark.parametrize("kind", ["form-data", "*", "mixed"])
@pytest.mark.parametrize("path", ["/admin/login/", "/api/v1/detect/image", "/reset-password"])
def test_a_form_with_too_many_unnamed_parts_is_refused(fortress, path, kind):
    body = form(300)
    with fortress.attacked(), connect(fortress.stack) as client:
        client.sendall(
            head("POST", path, f"Content-Type: multipart/{kind}; boundary=B", f"Content-Length: {len(body)}")
            + body
        )
        status, answered = answer(client)
    assert (status, code(answered)) == (400, "too_many_parts")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin/login/", 413), ("/api/v1/auth/login", 413), ("/nowhere", 413), ("/api/v1/detect/image", 401)],
)
def test_large_bodies_of_anonymous_clients_are_refused(fortress, path, status):
    """A body of other endpoints may have one megabyte; uploads authenticate before a byte is stored."""
    size = 5 * MEGABYTE
    headers = [
        "Content-Type: multipart/form-data; boundary=B",
        f"Content-Length: {size}",
        "Connection: close",
    ]
    with fortress.attacked(), connect(fortress.stack) as client:
        client.sendall(head("POST", path, *headers))
        with contextlib.suppress(OSError):
            client.sendall(b"x" * size)
        assert answer(client)[0] == status


def test_an_upload_of_three_megabytes_is_processed(fortress):
    large = photo(comment=b"x" * 60_000) + b"\xff" * (3 * MEGABYTE)
    assert fortress.other.upload(large, wait=30).status_code == 200


def test_a_chunked_upload_is_accepted(fortress):
    boundary = "B"
    begin = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()

    def chunks():
        yield begin
        yield photo()
        yield f"\r\n--{boundary}--\r\n".encode()

    response = fortress.other.post(
        "detect/image", data=chunks(), headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    assert response.status_code == 202


def test_an_address_may_have_20_unfinished_anonymous_bodies_per_process(fortress):
    """More are refused; a user behind the same address is still served."""
    begun = head("POST", "/api/v1/auth/login", "Content-Type: application/json", "Content-Length: 1000000")
    web_processes = len(fortress.web_processes())
    with fortress.attacked(), contextlib.ExitStack() as open_sockets:
        clients = [
            open_sockets.enter_context(connect(fortress.stack)) for _ in range(web_processes * 20 + 60)
        ]
        for client in clients:
            client.sendall(begun + b"x" * 500_000)
        refused = until(lambda: (found := answered(clients)) and len(found) >= 60 and found, 10)
        assert {answer(client)[0] for client in refused} == {429}
        user = fortress.stack.client()
        user.http.headers = fortress.other.http.headers
        status, _ = from_address(fortress.stack, ATTACKER, fortress.other.http.headers["Authorization"])
        assert status == 202


def answered(clients):
    return select.select(clients, [], [], 0)[0]


def from_address(stack, address, authorization):
    """An upload in two pieces, so that its body is unfinished for a moment."""
    body = form_of_photo()
    with connect(stack, address) as client:
        client.sendall(
            head(
                "POST", "/api/v1/detect/image", f"Authorization: {authorization}", "Connection: close",
                "Content-Type: multipart/form-data; boundary=B", f"Content-Length: {len(body)}",
            )
        )  # fmt: skip
        time.sleep(0.2)  # the server waits for the body
        client.sendall(body)
        return answer(client)


def form_of_photo():
    return (
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + photo()
        + b"\r\n--B--\r\n"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_body_on_get_head_or_options_is_refused_unread(fortress, method):
    with connect(fortress.stack) as client:
        client.sendall(head(method, "/health", "Content-Length: 20000000"))
        assert answer(client)[0] == 413


def test_an_unfinished_body_is_spooled_to_the_data_folder(fortress):
    authorization = fortress.other.http.headers["Authorization"]
    begun = head(
        "POST", "/api/v1/detect/image", f"Authorization: {authorization}",
        "Content-Type: multipart/form-data; boundary=B", "Content-Length: 9000000",
    )  # fmt: skip
    uploads = str(Path(fortress.stack.environment["DATA_DIR"]) / "uploads")

    def spooled():
        files = [file for process in fortress.web_processes() for file in open_files(process)]
        return [file for file in files if file.startswith((uploads, "/tmp/tmp"))]

    with fortress.attacked(), connect(fortress.stack) as client:
        client.sendall(begun + b"x" * 8_000_000)
        (file,) = until(spooled)
        assert file.startswith(uploads)


def open_files(process):
    """Paths of the open files, also of deleted ones."""
    for number in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield str(number.readlink())


def test_a_body_that_does_not_fit_on_the_disk_answers_503(fortress):
    folder = Path(fortress.stack.environment["DATA_DIR"]) / "uploads"
    large = photo() + b"\xff" * (4 * MEGABYTE)
    with mounted(folder, "size=1m"):
        refused = fortress.other.upload(large)
        assert (refused.status_code, code(refused.content)) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert fortress.other.upload(photo()).status_code == 202  # it fits into memory
    assert fortress.other.upload(large).status_code == 202


def test_uploads_that_wait_for_results_keep_no_bodies_in_memory(fortress):
    count = 60
    large = photo() + b"\xff" * (2 * MEGABYTE + 300_000)  # less than is spooled to the disk
    fortress.stack.send("inference", signal.SIGSTOP)
    try:
        with fortress.attacked() as most_memory, ThreadPoolExecutor(count) as threads:
            waiting = [threads.submit(fortress.other.another().upload, large, wait=30) for _ in range(count)]
            sent = "SELECT count(*) FROM detections_detectionimage WHERE state <> 'done'"
            until(lambda: fortress.stack.value(sent) >= count)
            assert fortress.settled_memory(most_memory) < most_memory
            assert not any(upload.done() for upload in waiting)
            fortress.stack.send("inference", signal.SIGCONT)
            assert {upload.result().status_code for upload in waiting} <= {200, 202}
    finally:
        fortress.stack.send("inference", signal.SIGCONT)


def test_clients_that_read_nothing_are_disconnected(fortress):
    """The clients request megabytes and read none of them."""
    request = head("GET", "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js") * 20
    with fortress.attacked(), contextlib.ExitStack() as open_sockets:
        for address in addresses(40):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.bind((address, 0))
            client.connect(("127.0.0.1", fortress.stack.port))
            open_sockets.enter_context(client)
            client.sendall(request)
        status, seconds = fortress.ask()
        assert status == 200
        assert seconds < PROMPT_SECONDS
        until(lambda: not established(fortress), 60, every=1)


def established(fortress):
    connections = [found for process in fortress.web_processes() for found in process.net_connections()]
    return [
        found
        for found in connections
        if found.raddr and found.raddr.ip.startswith("127.0.1.") and found.status == "ESTABLISHED"
    ]


def test_static_files_are_compressed_at_setup_and_throttled(tmp_path, standin_folder):
    """Compressing megabytes for each request would let clients waste CPU time."""
    path = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
    with stacks.running("embedded", tmp_path, standin_folder, THROTTLE_READ="30/min") as stack:
        (made,) = (tmp_path / "data" / "static").rglob("swagger-ui-bundle.js.gz")
        with connect(stack) as client:
            client.sendall(head("GET", path, "Accept-Encoding: gzip", "Connection: close"))
            assert answer(client) == (200, made.read_bytes())
        answers = [requests.get(stack.url + path) for _ in range(70)]  # of two minutes, perhaps
        assert {response.status_code for response in answers} == {200, 429}
        assert int(answers[-1].headers["Retry-After"]) <= 60
        assert code(answers[-1].content) == "throttled"


def test_an_upgrade_that_is_no_handshake_answers_400(fortress):
    headers = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: YQ==",
    )
    before = len(fortress.stack.log("web"))
    with connect(fortress.stack) as client:
        client.sendall(head("GET", "/ws/", *headers))
        client.settimeout(10)
        assert client.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in fortress.stack.log("web")[before:]
