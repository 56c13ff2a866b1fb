"""Uploads and results while processes are killed, stopped and restarted."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from testing import stacks
from testing.files.pictures import photo
from testing.plugins.poisoned import POISON
from testing.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.longest]

# How long an image may wait whose worker is gone: the lease and a sweep; and then the work itself.
LEASE, SWEEP, WORK = 3, 10, 30
# The stand-in finds two boxes of at least the default confidence on every image.
FOUND = 2


@pytest.fixture(scope="module")
def system(tmp_path_factory, standin_folder):
    with stacks.production(tmp_path_factory.mktemp("workers"), standin_folder) as stack:
        stack.start_web()
        stack.background()
        yield stack.until_up()


@pytest.fixture
def production(system):
    """The system without users, whose inference workers the test starts itself."""
    kept = set(system.processes)
    yield system
    system.clear(set(system.processes) - kept)


def slow_photo():
    """Large enough that a chunk takes a noticeable time."""
    return photo(3000, 2500)


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json()["detection_id"]


def upload_many(client, content, count):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: accepted(client.upload(content)), range(count)))


def claims(stack):
    return stack.value("SELECT count(DISTINCT claim) FROM detections_detectionimage WHERE state = 'claimed'")


def frozen(stack, workers, condition):
    """Freeze the workers; if the condition does not hold then, let them go on."""
    for worker in workers:
        stack.send(worker, signal.SIGSTOP)
    if condition():
        return True
    for worker in workers:
        stack.send(worker, signal.SIGCONT)
    return False


def transactions(stack):
    return stack.value(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    )


def freeze_with_claims(stack, *workers):
    """Freeze the workers in the middle of their work, each with a claim, and none with locks."""

    def each_has_a_claim():
        return claims(stack) == len(workers) and not transactions(stack)

    until(lambda: frozen(stack, workers, each_has_a_claim), every=0.05)


def assert_all_done_once(stack, count, seconds):
    done = "SELECT count(*) FROM detections_detection WHERE status = 'completed' AND processed = 1"
    until(lambda: stack.value(done) == count, seconds)
    doubled = "SELECT image_id FROM detections_detectionresult GROUP BY image_id HAVING count(*) <> %s"
    assert stack.rows(doubled, FOUND) == []
    assert stack.value("SELECT count(*) FROM detections_detectionresult") == FOUND * count


def test_a_killed_worker_and_an_emptied_redis_lose_and_duplicate_nothing(production):
    client = production.client().sign_up()
    production.worker("one")
    production.worker("two")
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(upload_many, client, slow_photo(), 100)
        freeze_with_claims(production, "one", "two")
        production.send("one", signal.SIGKILL)
        production.redis_cli("FLUSHALL")
        production.send("two", signal.SIGCONT)
        assert len(uploads.result()) == 100
    assert_all_done_once(production, 100, LEASE + SWEEP + WORK)
    assert production.value("SELECT max(attempts) FROM detections_detectionimage") == 2
    production.redis_cli("FLUSHALL")
    assert client.upload(photo(), wait=5).status_code == 200  # before any sweep: wakeups still work


def test_a_detection_completes_when_two_workers_end_its_last_images_at_once(production):
    client = production.client().sign_up()
    production.worker("one")
    production.worker("two")
    detection, other = upload_many(client, photo(7000, 7000), 2)
    for uploaded in (detection, other):
        client.finished(uploaded)
    # One detection of both images; they were claimed before, so that each is claimed alone.
    together = "UPDATE detections_detectionimage SET detection_id = %s"
    production.connection.execute(together, [detection])
    production.connection.execute("DELETE FROM detections_detectionresult")
    production.connection.execute("DELETE FROM detections_detection WHERE id = %s", [other])

    def both_hold_one():
        held = "SELECT count(*) FROM detections_detectionimage WHERE detection_id = %s AND state = 'claimed'"
        return production.value(held, detection) == 2

    def let_them_wait_again():
        """Whether the workers were caught with one image each: one of them may have taken both in turn."""
        for statement in (
            "UPDATE detections_detection SET total = 2, status = 'pending', finished_at = NULL WHERE id = %s",
            "UPDATE detections_detectionimage SET state = 'waiting', attempts = 1 WHERE detection_id = %s",
        ):
            production.connection.execute(statement, [detection])
        upload_many(client, photo(), 4)  # rings for both
        for _ in range(20):
            if frozen(production, ("one", "two"), both_hold_one):
                return True
        client.finished(detection)
        return False

    until(let_them_wait_again)
    for worker in ("one", "two"):
        production.send(worker, signal.SIGCONT)
    job = client.finished(detection, LEASE + SWEEP + WORK)
    assert (job["status"], job["progress"]["processed"], job["progress"]["percent"]) == ("completed", 2, 100)
    results = "SELECT count(*) FROM detections_detectionresult WHERE detection_id = %s"
    assert production.value(results, detection) == 2 * FOUND


def test_a_late_worker_whose_claim_was_reassigned_writes_nothing(production):
    client = production.client().sign_up()
    uploaded = upload_many(client, slow_photo(), 16)
    production.worker("late")
    freeze_with_claims(production, "late")
    production.worker("prompt")
    assert_all_done_once(production, len(uploaded), LEASE + SWEEP + WORK)
    rows = "SELECT id, processed_at, attempts FROM detections_detectionimage ORDER BY id"
    results = "SELECT id FROM detections_detectionresult ORDER BY id"
    before = production.rows(rows), production.rows(results)
    production.send("late", signal.SIGCONT)
    accepted_later = accepted(client.upload(photo()))
    production.stop("prompt")
    assert client.finished(accepted_later)["status"] == "completed"
    late = accepted(client.upload(photo()))  # the late worker is alive and does new work
    assert client.finished(late)["status"] == "completed"
    assert [row for row in production.rows(rows) if row in before[0]] == before[0]
    assert [row for row in production.rows(results) if row in before[1]] == before[1]
    assert production.value("SELECT count(*) FROM detections_detectionresult") == FOUND * (len(uploaded) + 2)


def test_an_image_that_kills_its_worker_fails_after_three_attempts(production):
    client = production.client().sign_up()
    good = upload_many(client, photo(), 10)
    bad = accepted(client.upload(photo(comment=POISON)))
    production.worker("poisoned", app="testing.plugins.poisoned")
    for detection in good:
        assert client.finished(detection, LEASE + SWEEP + WORK)["status"] == "completed"
    job = client.finished(bad, 3 * (LEASE + SWEEP))
    assert job["status"] == "failed"
    (image,) = client.get(f"detect/{bad}").json()["images"]
    assert image["error"] == {
        "code": "processing_failed",
        "detail": "The image could not be processed in 3 attempts.",
    }
    assert production.value("SELECT count(*) FROM detections_detectionresult") == FOUND * len(good)


def test_uploads_are_accepted_without_redis_and_processed_when_it_is_back(production):
    client = production.client().sign_up()
    production.worker("one")
    assert client.upload(photo(), wait=20).status_code == 200
    production.stop("redis")
    started = time.monotonic()
    waiting = [accepted(client.upload(photo())) for _ in range(3)]
    assert time.monotonic() - started < 10
    production.redis()
    for detection in waiting:
        assert client.finished(detection, 60)["status"] == "completed"


def test_workers_outlive_a_redis_that_refuses_writes(production):
    client = production.client().sign_up()
    production.worker("one")
    production.redis_cli("REPLICAOF", "127.0.0.1", "1")
    until(lambda: "read only replica" in production.log("one"))
    detection = accepted(client.upload(photo()))
    production.redis_cli("REPLICAOF", "NO", "ONE")
    assert client.finished(detection, 60)["status"] == "completed"


def test_deleting_or_cancelling_a_detection_in_process_harms_no_others(production):
    client = production.client().sign_up()
    deleted, cancelled, *others = upload_many(client, slow_photo(), 8)
    production.worker("one")
    freeze_with_claims(production, "one")
    production.manage(
        "shell",
        "--no-imports",
        "-c",
        "from uuid import UUID; from detections import erasure; from detections.jobs import actions; "
        f"erasure.delete_detections([UUID('{deleted}')]); actions.cancel(UUID('{cancelled}'))",
    )
    production.send("one", signal.SIGCONT)
    for detection in others:
        assert client.finished(detection)["status"] == "completed"
    assert client.get(f"detect/{deleted}").status_code == 404
    job = client.finished(cancelled)
    assert (job["status"], job["progress"]["processed"]) == ("cancelled", 0)
    assert production.value("SELECT count(*) FROM detections_detectionresult") == FOUND * len(others)
    assert len(list((production.folder / "data" / "media").rglob("*.jpg"))) == len(others) + 1


def test_a_stopped_worker_releases_its_claims_for_the_next_worker(production):
    client = production.client().sign_up()
    uploaded = upload_many(client, slow_photo(), 40)
    production.worker("one")
    until(lambda: claims(production) == 1)
    assert production.stop("one") == 0
    assert claims(production) == 0
    production.worker("two")
    assert "mingle" not in production.log("two")  # it does not wait for what others know
    assert_all_done_once(production, len(uploaded), 60)
    assert production.value("SELECT max(attempts) FROM detections_detectionimage") == 1


def test_a_worker_with_an_uncounted_result_stops_within_ten_seconds(production):
    production.worker("one", app="testing.plugins.uncounted")
    client = production.client().sign_up()
    assert client.upload(photo(), wait=20).json()["status"] == "completed"
    assert production.stop("one", seconds=10) == 0


def test_connections_dropped_by_postgresql_cost_at_most_one_503_and_no_work(production):
    client = production.client().sign_up()
    production.worker("one")
    with ThreadPoolExecutor(40) as pool:  # as many connections as the web process may have
        assert {r.status_code for r in pool.map(lambda _: client.get("users/get-profile"), range(200))} == {
            200
        }
    first = client.upload(photo(), wait=20).json()["id"]
    production.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    statuses = [client.upload(photo(), wait=5).status_code for _ in range(5)]
    assert statuses in ([200] * 5, [503, *[200] * 4])
    # Images without a wakeup are found by beat's sweep, which has lost its connection as well.
    for table in ("image SET state = 'waiting'", " SET status = 'pending', finished_at = NULL"):
        column = "detection_id" if table.startswith("image") else "id"
        production.connection.execute(f"UPDATE detections_detection{table} WHERE {column} = %s", [first])
    assert client.finished(first, 3 * SWEEP)["status"] == "completed"


def test_lines_in_the_worker_log_name_the_request_of_the_upload(production):
    client = production.client().sign_up()
    production.worker("one")
    whole = photo()
    codes = whole.index(b"\xff\xc4") + 5  # of a Huffman table, which the web process does not read
    faulty = whole[:codes] + b"\xff" * 16 + whole[codes + 16 :]
    good, bad = (
        client.upload(content, wait=20, request_id=name).json()
        for content, name in ((whole, "good-one"), (faulty, "faulty-one"))
    )
    assert (good["status"], bad["status"]) == ("completed", "failed")
    until(lambda: f"Detection {bad['id']}" in production.log("one"), 5)
    lines = [line for line in production.lines("one") if line["logger"] == "detections.jobs.processing"]
    (image,) = bad["images"]
    (refused,) = [line for line in lines if image["id"] in line["event"]]
    assert (refused["request_id"], refused["detection_id"]) == ("faulty-one", bad["id"])
    assert image["error"]["detail"] in refused["event"]
    for detection, name in ((good, "good-one"), (bad, "faulty-one")):
        (finished,) = [line for line in lines if f"Detection {detection['id']}" in line["event"]]
        assert (finished["request_id"], finished["outcome"]) == (name, detection["status"])


@pytest.mark.soak
def test_workers_killed_at_random_moments_lose_and_duplicate_nothing(production):
    client = production.client().sign_up()
    dice = random.Random(3)
    workers = ["one", "two", "three"]
    for worker in workers:
        production.worker(worker)
    with ThreadPoolExecutor(1) as pool:
        uploads = pool.submit(upload_many, client, slow_photo(), 500)
        while not uploads.done() or claims(production):
            time.sleep(dice.uniform(0.5, 3))
            worker = dice.choice(workers)
            production.send(worker, signal.SIGKILL)
            production.processes.pop(worker).wait()
            if dice.random() < 0.2:
                production.redis_cli("FLUSHALL")
            production.worker(worker)
    # An image may have met three of the kills: it has failed then, with its reason.
    ended = "SELECT count(*) FROM detections_detection WHERE status IN ('completed', 'failed')"
    until(lambda: production.value(ended) == 500, 300)
    done = production.value("SELECT count(*) FROM detections_detectionimage WHERE state = 'done'")
    failed = production.value(
        "SELECT count(*) FROM detections_detectionimage WHERE state = 'failed' AND attempts = 3"
    )
    assert done + failed == 500
    assert production.value("SELECT count(*) FROM detections_detectionresult") == FOUND * done
