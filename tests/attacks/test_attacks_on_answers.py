"""Attacks on answers: clients that do not read large answers, and a full disk."""

import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from PIL import Image

from testing.files import pictures
from testing.files.pictures import photo
from testing.waiting import until
from tests.attacks.fortress import PROMPT_SECONDS, connect

pytestmark = pytest.mark.services


def find(stack, client, results):
    """A detection of one image on which so many objects were found."""
    detection = client.upload(photo(), wait=30).json()["id"]
    stack.connection.execute(
        """INSERT INTO detections_detectionresult
        SELECT copy.* FROM detections_detectionresult one, generate_series(1, %s) n, jsonb_populate_record(
            one, jsonb_build_object('id', md5(one.id::text || n)::uuid, 'confidence', n / 1e5)
        ) copy
        WHERE one.id = (SELECT id FROM detections_detectionresult WHERE detection_id = %s LIMIT 1)""",
        [results, detection],
    )
    return detection


def begin(stack, client, path):
    """A request whose answer is not read."""
    reader = connect(stack)
    reader.settimeout(60)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    token = client.http.headers["Authorization"]
    reader.sendall(
        f"GET /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n\r\n".encode()
    )
    return reader


@pytest.mark.parametrize(
    ("path", "count"), [("detect/{}", 20), ("detect/{}/export?format=jsonl", 20), ("users/export", 10)]
)
def test_unread_large_answers_take_no_memory_and_no_database_connections(fortress, path, count):  # as above
    attacker = fortress.stack.client().sign_up()
    path = path.format(find(fortress.stack, attacker, 3_000))
    with fortress.attacked() as most_memory, ExitStack() as readers:
        begun = [readers.enter_context(begin(fortress.stack, attacker, path)) for _ in range(count)]
        # Of the largest, one of a user is made at a time: some may have waited for too long, or be too many.
        answers = {f"HTTP/1.1 {status}".encode() for status in (200, 429, 503)}
        assert {reader.recv(12) for reader in begun} <= answers
        assert fortress.fill_pools() == {200}
        assert fortress.memory() < most_memory


def test_another_user_gets_pictures_while_one_user_requests_60_large_ones(fortress):
    attacker, other = (fortress.stack.client().sign_up() for _ in range(2))
    large = pictures.encoded(Image.new("RGB", (3_000, 3_000)), "WEBP", lossless=True, quality=0, method=0)
    theirs = attacker.upload(large, "large.webp", wait=30).json()["id"]
    own = other.upload(photo(), wait=30).json()["id"]
    asked = []
    with fortress.attacked(), ThreadPoolExecutor(60) as threads:
        drawn = [threads.submit(attacker.another().get, f"detect/{theirs}/image") for _ in range(60)]
        while not all(picture.done() for picture in drawn):
            begun = time.monotonic()
            status = other.another().get(f"detect/{own}/image").status_code
            asked.append((status, time.monotonic() - begun))
        answers = [picture.result() for picture in drawn]
    assert {status for status, _ in asked} == {200}
    assert max(seconds for _, seconds in asked) < PROMPT_SECONDS
    assert {answer.status_code for answer in answers} <= {200, 429, 503}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["errors"][0]["code"] for answer in refused} == {"throttled"}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}


@contextmanager
def full_disk(stack):
    """Temporary files lie on a full file system of their own."""
    folder = stack.folder / "data" / "uploads"
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("This machine mounts no file system for a test.")
    try:
        (folder / "full").write_bytes(bytes(1 << 16))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "path", ["detect/{}/export?format=coco", "detect/{}/export?format=voc", "users/export"]
)
def test_a_full_disk_answers_503_and_holds_no_database_connections(fortress, path):  # as above
    attacker = fortress.stack.client().sign_up()
    path = path.format(find(fortress.stack, attacker, 100))
    with fortress.attacked(), full_disk(fortress.stack):
        answers = [attacker.get(path) for _ in range(10)]
        told = {(answer.status_code, answer.json()["errors"][0]["code"]) for answer in answers}
        assert told == {(503, "unavailable")}
        assert fortress.fill_pools() == {200}


def test_an_export_waits_while_the_disk_is_full(fortress):  # as above
    client = fortress.stack.client().sign_up()
    find(fortress.stack, client, 100)
    with full_disk(fortress.stack):
        place = client.post("detect/exports", json={"format": "csv"}).headers["Location"]
        until(lambda: "waits for a place to write to" in fortress.stack.log("default"))
        assert client.http.get(place).json()["status"] == "processing"
    until(lambda: client.http.get(place).json()["status"] == "completed", 30)
