"""Batches and single photos in a running system."""

import io
import random
import signal
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from testing.files.pictures import photo
from testing.waiting import until

# The stand-in finds two boxes of at least the default confidence on every image.
FOUND = 2
BAD = {
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<html>", "unsupported_format"),
    "cut.jpg": (photo()[:-200], "corrupt_image"),
    "archive.jpg": (b"PK\x03\x04", "unsupported_format"),
    "cut.png": (b"\x89PNG\r\n\x1a\n", "corrupt_image"),
}


def batch(client, files, wait=0, **fields):
    parts = [("images", (name, content)) for name, content in files]
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return client.post("detect/batch", files=parts, data=fields, headers=headers)


def photos(count, size=64):
    content = photo(size, size)
    return [(f"{number}.jpg", content) for number in range(count)]


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json()["detection_id"]


def test_a_batch_of_100_with_5_bad_files_completes_with_95(stack):
    client = stack.client().sign_up()
    files = photos(95)
    for number, (name, (content, _)) in enumerate(BAD.items()):
        files.insert(number * 19, (name, content))
    job = client.finished(accepted(batch(client, files)))
    assert job["status"] == "completed"
    assert job["progress"] == {"total": 100, "processed": 95, "failed": 5, "percent": 100}
    answer = client.get(f"detect/{job['detection_id']}").json()
    assert [image["original_name"] for image in answer["images"]] == [name for name, _ in files]
    failed = {i["original_name"]: i["error"]["code"] for i in answer["images"] if i["state"] == "failed"}
    assert failed == {name: code for name, (_, code) in BAD.items()}
    assert all(len(image["results"]) == FOUND for image in answer["images"] if image["state"] == "done")


def test_an_archive_is_processed_as_a_batch(stack):
    client = stack.client().sign_up()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, picture in photos(20):
            archive.writestr(f"holiday/{name}", picture)
    sent = client.post(
        "detect/batch", files={"archive": ("photos.zip", content.getvalue())}, headers={"Prefer": "wait=20"}
    )
    assert (sent.status_code, sent.json()["processed"]) == (200, 20)


def test_a_single_photo_passes_waiting_batches(stack):
    many, other = stack.client().sign_up(), stack.client().sign_up()
    batches = [accepted(batch(many, photos(100, 3000))) for _ in range(6)]

    def processed():
        jobs = [many.get(f"detect/jobs/{detection}").json() for detection in batches]
        return sum(job["progress"]["processed"] for job in jobs)

    before = processed()
    assert other.upload(photo(), wait=10).status_code == 200
    assert processed() - before < 100
    assert many.upload(photo(), wait=10).status_code == 200
    assert many.get(f"detect/jobs/{batches[-1]}").json()["status"] != "completed"
    for detection in batches:
        cancelled = many.post(f"detect/jobs/{detection}/cancel").json()
        assert cancelled["status"] in {"cancelled", "completed"}
    positions = [many.get(f"detect/jobs/{detection}").json()["queue_position"] for detection in batches]
    assert positions == [0] * 6


def test_a_retry_processes_only_images_that_failed_while_the_storage_was_away(stack):
    client = stack.client().sign_up()
    good = accepted(batch(client, photos(1)))
    client.finished(good)
    media = stack.folder / "data" / "media"
    away = media.with_name("away")
    if "inference" in stack.processes:
        stack.send("inference", signal.SIGSTOP)
    sent = photos(10, 3000)
    detection = accepted(batch(client, [*sent, ("page.jpg", b"<html>")]))
    media.rename(away)
    if "inference" in stack.processes:
        stack.send("inference", signal.SIGCONT)
    job = client.finished(detection)
    away.rename(media)
    missing = job["progress"]["failed"] - 1
    assert missing > 0
    before = {i["id"]: i for i in client.get(f"detect/{detection}").json()["images"]}
    assert client.post(f"detect/jobs/{detection}/retry").json()["progress"]["failed"] == 1
    job = client.finished(detection)
    assert (job["status"], job["progress"]["processed"], job["progress"]["failed"]) == ("completed", 10, 1)
    after = {i["id"]: i for i in client.get(f"detect/{detection}").json()["images"]}
    done_before = [image for image in before.values() if image["state"] == "done"]
    assert [after[image["id"]] for image in done_before] == done_before
    assert len(done_before) == 10 - missing


class Chaos:
    """Users who upload, cancel, retry and delete, while workers are killed, all at random moments."""

    def __init__(self, stack, seed):
        self.stack = stack
        self.dice = random.Random(seed)
        self.clients = [stack.client().sign_up() for _ in range(3)]
        self.sent = []
        self.deleted = set()

    def send(self):
        client = self.dice.choice(self.clients)
        count = self.dice.randint(1, 20)
        files = [*photos(count, self.dice.choice([64, 1500])), ("page.jpg", b"<html>")]
        self.sent.append((client, accepted(batch(client, files))))

    def deed(self):
        client, detection = self.dice.choice(self.sent)
        deed = self.dice.choice(["cancel", "retry", "retry", "delete"])
        if deed == "delete":
            assert client.http.delete(f"{client.api}/detect/{detection}").status_code in {204, 404}
            self.deleted.add(detection)
            return
        answer = client.post(f"detect/jobs/{detection}/{deed}")
        assert answer.status_code == (404 if detection in self.deleted else 200)

    def kill(self):
        worker = self.dice.choice(["one", "two"])
        self.stack.send(worker, signal.SIGKILL)
        self.stack.processes.pop(worker).wait()
        self.stack.worker(worker)

    def reprocess(self):
        """An operator reprocesses all finished detections."""
        self.stack.manage("reprocess_detections")

    def images(self):
        return self.stack.value("SELECT count(*) FROM detections_detectionimage")

    def run(self, images):
        with ThreadPoolExecutor(1) as pool:
            while self.images() < images:
                self.send()
                event = self.dice.choices([self.kill, self.reprocess, None], [2, 1, 7])[0]
                happening = pool.submit(event) if event else None
                for _ in range(self.dice.randint(0, 3)):
                    self.deed()
                    time.sleep(self.dice.uniform(0, 0.3))
                if happening:
                    happening.result()


def assert_nothing_lost_doubled_or_stuck(stack, seconds):
    open_images = "SELECT count(*) FROM detections_detectionimage WHERE state IN ('waiting', 'claimed')"
    unfinished = "SELECT count(*) FROM detections_detection WHERE status IN ('pending', 'processing')"
    until(lambda: stack.value(open_images) == stack.value(unfinished) == 0, seconds, every=0.2)
    miscounted = """
        SELECT d.id FROM detections_detection d JOIN detections_detectionimage i ON i.detection_id = d.id
        GROUP BY d.id HAVING d.total <> count(*)
            OR d.processed <> count(*) FILTER (WHERE i.state = 'done')
            OR d.failed <> count(*) FILTER (WHERE i.state = 'failed')"""
    assert stack.rows(miscounted) == []
    wrong = """
        SELECT i.id FROM detections_detectionimage i
        LEFT JOIN detections_detectionresult r ON r.image_id = i.id
        GROUP BY i.id HAVING count(r.id) <> CASE WHEN i.state = 'done' THEN %s ELSE 0 END"""
    assert stack.rows(wrong, FOUND) == []
    claims = (
        "SELECT count(*) FROM detections_detectionimage WHERE claim IS NOT NULL OR claimed_at IS NOT NULL"
    )
    assert stack.value(claims) == 0
    media = stack.folder / "data" / "media"
    paths = {path for (path,) in stack.rows("SELECT image_path FROM detections_detectionimage") if path}
    assert {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()} == paths


def chaos(stack, images, seed, seconds):
    for worker in ("one", "two"):
        stack.worker(worker)
    Chaos(stack, seed).run(images)
    assert_nothing_lost_doubled_or_stuck(stack, seconds)
    assert "Traceback" not in stack.log("web")


@pytest.mark.services
def test_random_user_actions_and_worker_kills_lose_and_duplicate_nothing(production):
    chaos(production, images=150, seed=7, seconds=120)


@pytest.mark.soak
@pytest.mark.services
@pytest.mark.parametrize("seed", range(3))
def test_random_kills_over_500_images_lose_nothing(production, seed):
    chaos(production, images=500, seed=seed, seconds=300)
