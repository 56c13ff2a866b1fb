"""Uploads and results while hosts are cut off from the others: connections hang, and no side is told."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from testing import hosts, stacks
from testing.files.pictures import photo
from testing.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.soak]

# The lease and a sweep; a connection on which nothing comes back is given up.
LEASE, SWEEP, GIVEN_UP = 3, 10, 25
# How long a worker may try to find its broker again, with growing pauses.
BROKER_AGAIN = 60
PHOTOS = 300
# The stand-in finds two boxes of at least the default confidence on every image.
FOUND = 2


@pytest.fixture
def spread(tmp_path, standin_folder):
    """Three hosts, of the web process and two workers. The rest runs beside PostgreSQL and Redis."""
    with hosts.spread(tmp_path, standin_folder, "web", "one", "two") as stack:
        stack.background()
        yield stack.web()


@contextmanager
def shell_on(stack, name, code):
    """Runs Python code in the project's shell on this host."""
    command = [*stack.hosts[name].prefix, *stacks.command("shell", "--no-imports", "-c", code)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=stacks.ROOT, env=stack.environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json()["detection_id"]


def upload_many(client, content, count):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: accepted(client.upload(content)), range(count)))


def claims(stack):
    return stack.value("SELECT count(DISTINCT claim) FROM detections_detectionimage WHERE state = 'claimed'")


def done(stack):
    return stack.value("SELECT count(*) FROM detections_detection WHERE status = 'completed'")


def assert_all_done_once(stack, count):
    assert stack.rows(
        "SELECT status, processed, total, count(*) FROM detections_detection GROUP BY 1, 2, 3"
    ) == [("completed", 1, 1, count)]
    assert stack.rows("SELECT state, count(*) FROM detections_detectionimage GROUP BY 1") == [("done", count)]
    doubled = "SELECT image_id FROM detections_detectionresult GROUP BY image_id HAVING count(*) <> %s"
    assert stack.rows(doubled, FOUND) == []
    assert stack.value("SELECT count(*) FROM detections_detectionresult") == FOUND * count


def snapshot(stack):
    """All done images and their results: none may change any more."""
    images = "SELECT id, attempts, processed_at FROM detections_detectionimage WHERE state = 'done'"
    return set(stack.rows(images)), set(stack.rows("SELECT id FROM detections_detectionresult"))


def until_reassigned(stack):
    """Images that the host held are done by the other: what it writes now is late."""
    late = "SELECT count(*) FROM detections_detectionimage WHERE state = 'done' AND attempts = 2"
    until(lambda: stack.value(late), LEASE + 2 * SWEEP)


def until_given_up(stack):
    time.sleep(GIVEN_UP)


@pytest.mark.parametrize("until_back", [until_reassigned, until_given_up])
def test_a_worker_whose_host_is_cut_off_loses_and_doubles_nothing(spread, until_back):
    client = spread.client().sign_up()
    spread.worker("one")
    spread.worker("two")
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(upload_many, client, photo(3000, 2500), PHOTOS)
        until(lambda: claims(spread) > 2, every=0.005)  # a worker has two at most, so each has one
        spread.hosts["one"].cut_off()
        until_back(spread)
        before = snapshot(spread)
        spread.hosts["one"].connect()
        assert len(uploads.result()) == PHOTOS
    until(lambda: done(spread) == PHOTOS)
    assert spread.value("SELECT max(attempts) FROM detections_detectionimage") == 2
    spread.stop("two")
    later = upload_many(client, photo(), 20)  # for the one that was cut off
    until(lambda: done(spread) == PHOTOS + len(later), BROKER_AGAIN)
    assert_all_done_once(spread, PHOTOS + len(later))
    for rows, now in zip(before, snapshot(spread), strict=True):
        assert rows <= now


def test_a_web_host_that_is_cut_off_loses_no_accepted_upload(spread):
    client = spread.client().sign_up()
    spread.worker("one")
    assert client.upload(photo(), wait=20).status_code == 200  # the detector is loaded
    spread.worker("two")
    host = spread.hosts["web"]
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(upload_many, client, photo(3000, 2500), PHOTOS // 2)
        until(lambda: done(spread) > 20)
        host.cut_off()
        until(lambda: not claims(spread))
        assert not uploads.done()
        host.connect()
        ids = uploads.result()
    until(lambda: done(spread) == len(ids) + 1)
    assert_all_done_once(spread, len(ids) + 1)


def until_done(stack):
    until(lambda: done(stack) == 2)


@pytest.mark.parametrize("until_back", [until_done, until_given_up])
def test_a_waiting_request_looks_again_when_its_host_is_back(spread, until_back):
    client = spread.client().sign_up()
    spread.worker("one")
    assert client.upload(photo(), wait=20).status_code == 200  # the listener has subscribed
    spread.stop("one")
    host = spread.hosts["web"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.upload, photo(), wait=30)
        until(lambda: spread.value("SELECT count(*) FROM detections_detection") == 2)
        host.cut_off()
        spread.worker("two")  # what it tells the waiting request is lost
        until_back(spread)
        host.connect()
        answer = waiting.result(10)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert [client.another().upload(photo(), wait=20).status_code for _ in range(5)] == [200] * 5


def sessions(stack, condition):
    own = "datname = current_database() AND pid <> pg_backend_pid()"
    return stack.value(f"SELECT count(*) FROM pg_stat_activity WHERE {own} AND {condition}")


def test_a_side_that_vanished_is_given_up_by_the_other(tmp_path, standin_folder):
    asking = "from django.db import connection; connection.cursor().execute('SELECT pg_sleep(4)')"
    locking = (
        "import time; from django.db import transaction; from detections.models import Detector\n"
        "with transaction.atomic():\n"
        "    list(Detector.objects.select_for_update())\n"
        "    time.sleep(1000)"
    )
    with (
        hosts.spread(tmp_path, standin_folder, "one", "two") as stack,
        shell_on(stack, "one", asking) as asks,
        shell_on(stack, "two", locking),
    ):
        until(lambda: sessions(stack, "state = 'idle in transaction'"))
        until(lambda: sessions(stack, "position('pg_sleep' in query) > 0"))
        for host in stack.hosts.values():
            host.cut_off()
        _, errors = asks.communicate(timeout=4 + GIVEN_UP)
        assert "django.db.utils.OperationalError" in errors
        stack.connection.execute(f"SET lock_timeout = '{GIVEN_UP}s'")
        assert len(stack.rows("SELECT id FROM detections_detector FOR UPDATE")) == 1
        until(lambda: not sessions(stack, "TRUE"), GIVEN_UP)
