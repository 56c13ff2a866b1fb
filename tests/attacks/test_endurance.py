"""Half an hour of everything at once: users, attackers, workers that are killed."""

import contextlib
import io
import os
import random
import signal
import sys
import threading
import time
import zipfile
from collections import Counter

import psutil
import pytest

from testing import stacks
from testing.files.pictures import photo
from testing.waiting import until
from tests.attacks.fortress import MEGABYTE, POOL, WEB_PROCESSES, connect

pytestmark = [pytest.mark.services, pytest.mark.soak]

MINUTES = int(os.environ.get("SOAK_MINUTES", "30"))
USERS = 6
EXPECTED = {200, 201, 202, 204, 304, 409, 429, 503}
MOST_GROWTH = 100 * MEGABYTE


class Load:
    """Threads that repeat their actions until the time is up, with the statuses and faults they saw."""

    def __init__(self, stack, seconds):
        self.stack = stack
        self.end = time.monotonic() + seconds
        self.statuses = Counter()
        self.faults = []
        self.slowest = 0.0

    def run(self, *deeds):
        threads = [threading.Thread(target=self.repeat, args=(deed,)) for deed in deeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def repeat(self, deed):
        while time.monotonic() < self.end:
            try:
                deed()
            except Exception as error:  # noqa: BLE001  # reported at the end, with the others
                self.faults.append(repr(error)[:300])
                time.sleep(1)

    def seen(self, response):
        self.statuses[response.status_code] += 1
        if response.status_code not in EXPECTED:
            self.faults.append(f"{response.request.method} {response.url}: {response.status_code}")
        return response


def new_photo():
    return photo(comment=os.urandom(16).hex().encode())


def archive(count):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(count):
            made.writestr(f"{number}.jpg", new_photo())
    return file.getvalue()


class User:
    """One user's day, over and over."""

    def __init__(self, load):
        self.load = load
        self.client = load.stack.client().sign_up()
        self.mine = []

    def __call__(self):
        deeds = {self.upload: 10, self.batch: 3, self.archive: 1, self.look: 8, self.take: 1, self.change: 2}
        random.choices(list(deeds), list(deeds.values()))[0]()

    def get(self, path):
        self.load.seen(self.client.get(path))

    def upload(self):
        response = self.load.seen(self.client.upload(new_photo(), wait=random.choice([0, 20])))
        if response.status_code in {200, 202}:
            self.mine.append(response.json().get("detection_id") or response.json()["id"])

    def batch(self):
        files = [("images", (f"{number}.jpg", new_photo())) for number in range(8)]
        self.load.seen(self.client.post("detect/batch", files=files))

    def archive(self):
        self.load.seen(self.client.post("detect/batch", files={"archive": ("a.zip", archive(20))}))

    def look(self):
        for path in ("detect/history?limit=50", "detect/results?limit=100", "users/statistics"):
            self.get(path)
        if self.mine:
            chosen = random.choice(self.mine)
            for path in (f"detect/{chosen}", f"detect/{chosen}/results", f"detect/jobs/{chosen}"):
                self.get(path)

    def take(self):
        self.get("users/export")
        wanted = {"format": random.choice(["coco", "csv", "yolo"])}
        self.load.seen(self.client.post("detect/exports", json=wanted))

    def change(self):
        if self.mine:
            chosen = self.mine.pop(random.randrange(len(self.mine)))
            self.load.seen(self.client.post(f"detect/jobs/{chosen}/cancel"))
            self.load.seen(self.client.http.delete(f"{self.client.api}/detect/{chosen}"))


SILENT = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n"
JUNK = [
    b"GET /api/v1/users/get-profile HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: ov_a\r\n\r\n" * 3,
    SILENT + b"x" * 9000,
    b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 9000,
    b"\x16\x03\x01",
    b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5,
]


def stranger_of(stack, number):
    """A client that resets connections, stays silent or sends junk."""
    address = f"127.0.2.{number}"

    def act():
        with contextlib.suppress(OSError), connect(stack, address) as client:
            client.settimeout(2)
            client.sendall(random.choice(JUNK))
            if random.random() < 0.5:
                client.recv(100)
        time.sleep(0.2)

    return act


def killer_of(stack, load):
    """Kills the inference worker's child now and then, as the system does for memory."""

    def act():
        for _ in range(30):
            if time.monotonic() > load.end:
                return
            time.sleep(1)
        children = psutil.Process(stack.processes["inference"].pid).children()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)

    return act


def faults_in(stack):
    """Errors in the logs, except for the workers that were killed."""
    lines = [
        line for name in ("web", "default", "beat", "inference") for line in stack.log(name).splitlines()
    ]
    faults = [line for line in lines if '"level": "error"' in line or '"level": "critical"' in line]
    return [line for line in faults if "SIGKILL" not in line]


@pytest.fixture
def endured(tmp_path, standin_folder):
    numbers = {
        "WEB_CONCURRENCY": str(WEB_PROCESSES), "DB_POOL_SIZE": str(POOL), "THROTTLE_TAKEOUT": "10000/hour",
        "ACCESS_TOKEN_EXPIRE_MINUTES": "120",
    }  # fmt: skip
    with stacks.running("production", tmp_path, standin_folder, **numbers) as stack:
        # A second worker and a second beat must do no harm.
        stack.worker("default2", "default")
        stack.start("beat2", stacks.BIN / "celery", "-A", "objectvision", "beat")
        yield stack


def memory(stack):
    web = psutil.Process(stack.processes["web"].pid).children()
    return max(process.memory_info().rss for process in web)


def test_half_an_hour_of_mixed_load_loses_no_rows_and_leaks_no_memory(endured):
    load = Load(endured, MINUTES * 60)
    users = [User(load) for _ in range(USERS)]
    strangers = [stranger_of(endured, number) for number in range(1, 5)]
    warm = {}

    def remember():
        time.sleep(min(120, MINUTES * 20))
        warm.setdefault("memory", memory(endured))

    load.run(*users, *strangers, killer_of(endured, load), remember)
    open_states = "SELECT count(*) FROM detections_detectionimage WHERE state IN ('waiting', 'claimed')"
    until(lambda: endured.value(open_states) == 0, 120, every=1)
    unfinished = "SELECT count(*) FROM detections_detection WHERE status IN ('pending', 'processing')"
    until(lambda: endured.value(unfinished) == 0, 60, every=1)
    wrong = """
        SELECT count(*) FROM detections_detection d WHERE (d.processed, d.failed) <> (
            SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed')
            FROM detections_detectionimage i WHERE i.detection_id = d.id)
    """
    assert endured.value(wrong) == 0
    grown = memory(endured) - warm["memory"]
    sys.stdout.write(f"{dict(load.statuses)}, grown by {grown / MEGABYTE:.0f} MB\n")
    assert load.faults == []
    assert load.statuses[503] <= sum(load.statuses.values()) / 100
    assert faults_in(endured) == []
    assert grown < MOST_GROWTH
    for user in users:
        assert user.client.get("users/get-profile").status_code == 200
    connections = endured.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    assert connections <= WEB_PROCESSES * POOL + 12
