"""Expensive uploads: the connections and memory that they take, and the delay of other users."""

import os
import re
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from testing import stacks
from testing.files import pictures
from testing.files.pictures import photo
from testing.outages import mounted
from testing.waiting import until
from tests.attacks.fortress import POOL, PROMPT_SECONDS, WEB_PROCESSES, Fortress

pytestmark = pytest.mark.services

MORE_THAN_THE_POOLS = WEB_PROCESSES * POOL + 8
COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"


@pytest.fixture(scope="module")
def fortress(tmp_path_factory, standin_folder):
    folder = tmp_path_factory.mktemp("uploads")
    numbers = {"WEB_CONCURRENCY": str(WEB_PROCESSES), "DB_POOL_SIZE": str(POOL)}
    settings = {"DJANGO_SETTINGS_MODULE": "testing.plugins.hanging"}
    with stacks.running("production", folder, standin_folder, **numbers, **settings) as stack:
        yield Fortress(stack)


@pytest.fixture(scope="module")
def attacker(fortress):
    return fortress.stack.client().sign_up()


@contextmanager
def at_once(send, count=MORE_THAN_THE_POOLS):
    """Sends `count` requests at once, which run during the block."""
    with ThreadPoolExecutor(count) as threads:
        yield [threads.submit(send, number) for number in range(count)]


def codes(futures):
    answers = [future.result() for future in futures]
    return {
        (answer.status_code, *(error["code"] for error in answer.json().get("errors", ())))
        for answer in answers
    }


def slow_archive(entries, megabytes):
    """An archive slow to inspect, with enough noise to keep its compression ratio under the limit."""
    blocks = b"\x1e" + bytes(30)
    noise = b"".join(b"\xff" + os.urandom(255) for _ in range(50 * megabytes))
    gif = pictures.filled_gif(blocks, b"!\xfe", b"\0!\xfe" + noise + b"\0", megabytes << 20)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(entries):
            archive.writestr(f"{number}.gif", gif)
    return out.getvalue()


def test_slow_archives_do_not_delay_other_users(fortress, attacker):
    archive = slow_archive(2, 10)
    assert len(archive) < 1 << 20

    def send(_):
        return attacker.another().post("detect/batch", files={"archive": ("a.zip", archive)})

    with fortress.attacked(), at_once(send) as uploads:
        asked = []
        while not all(upload.done() for upload in uploads):
            asked.append(fortress.ask())
        assert codes(uploads) <= {(202,), (429, "throttled"), (503, "busy")}
    assert {status for status, _ in asked} == {200}
    assert max(seconds for _, seconds in asked) < PROMPT_SECONDS


def test_slow_archives_of_several_users_do_not_delay_another_upload(fortress):
    attackers = [fortress.stack.client().sign_up() for _ in range(3)]
    archive = slow_archive(2, 10)

    def send(number):
        files = {"archive": ("a.zip", archive)}
        return attackers[number % 3].another().post("detect/batch", files=files)

    with fortress.attacked(), at_once(send, 75) as uploads:
        asked = []
        while not all(upload.done() for upload in uploads):
            begun = time.monotonic()
            status = fortress.other.another().upload(photo()).status_code
            asked.append((status, time.monotonic() - begun))
        assert codes(uploads) <= {(202,), (429, "throttled"), (503, "busy")}
    assert {status for status, _ in asked} == {202}
    assert max(seconds for _, seconds in asked) < PROMPT_SECONDS


def test_uploads_to_a_hanging_storage_hold_no_database_connections(fortress):
    hang = fortress.stack.folder / "data/hang"
    attackers = [fortress.stack.client().sign_up() for _ in range(4)]  # ten of each: more may be refused
    hang.mkdir()

    def send(number):
        headers = {"Idempotency-Key": f"hang-{number}"} if number % 2 else None
        files = {"image": ("a.jpg", photo())}
        return attackers[number % 4].another().post("detect/image", files=files, headers=headers)

    with fortress.attacked(), at_once(send) as uploads:
        try:
            until(lambda: len(list(hang.iterdir())) == len(uploads), 20)
            assert fortress.fill_pools() == {200}
            assert max(fortress.ask()[1] for _ in range(5)) < PROMPT_SECONDS
        finally:
            shutil.rmtree(hang)
        assert codes(uploads) == {(202,)}


def highest(processes):
    """The most that one of them has ever had in memory, in bytes."""
    peaks = [
        re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]
        for process in processes
    ]
    return max(int(peak) * 1024 for peak in peaks)


def limit(service):
    """The memory limit of the service in compose.yaml, in bytes."""
    found = re.search(rf"^  {service}:.*?mem_limit: (\d+)g$", COMPOSE.read_text(), re.DOTALL | re.MULTILINE)
    return int(found[1]) << 30


def test_two_of_the_largest_pictures_at_once_stay_within_the_memory_limits(fortress):
    artists = [fortress.stack.client().sign_up() for _ in range(2)]  # two at a time, one of a user
    largest = pictures.encoded(Image.new("RGB", (7_071, 7_071)), "WEBP", lossless=True, quality=0, method=0)
    assert len(largest) < 100
    with fortress.attacked():
        sent = [artist.upload(largest, "largest.webp").json()["detection_id"] for artist in artists]
        for artist, detection in zip(artists, sent, strict=True):
            assert artist.finished(detection)["progress"]["failed"] == 0

        def draw(number):
            return artists[number].another().get(f"detect/{sent[number]}/image")

        with at_once(draw, len(artists)) as drawn:
            assert {answer.result().status_code for answer in drawn} == {200}
    assert highest(fortress.web_processes()) < limit("web")
    worker = psutil.Process(fortress.stack.processes["inference"].pid)
    assert highest(worker.children()) < limit("inference")


@pytest.mark.parametrize("size", [(1, 50_000_000), (50_000_000, 1), (65_501, 1)])
def test_a_picture_one_pixel_wide_or_high_is_refused(attacker, size):
    answer = attacker.upload(pictures.png_claiming(*size), "line.png")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (400, "too_many_pixels")
    assert f"{size[0]} x {size[1]}" in error["detail"]
    assert "65,500" in error["detail"]


def test_a_full_disk_answers_503_and_leaves_nothing_until_there_is_space(fortress, attacker):
    media = fortress.stack.folder / "data/media"
    rows = "SELECT count(*) FROM detections_detection"
    before = fortress.stack.value(rows)
    with mounted(media, "size=64k"):
        answers = [attacker.upload(pictures.bmp(400, 400), "large.bmp") for _ in range(3)]
        files = [("images", ("a.jpg", photo())), ("images", ("large.bmp", pictures.bmp(400, 400)))]
        answers.append(attacker.post("detect/batch", files=files))
        assert {(answer.status_code, answer.json()["errors"][0]["code"]) for answer in answers} == {
            (503, "unavailable")
        }
        assert [path for path in media.rglob("*") if path.is_file()] == []
    assert fortress.stack.value(rows) == before
    assert attacker.upload(pictures.bmp(400, 400), "large.bmp", wait=30).status_code == 200
