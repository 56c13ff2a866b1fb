"""Exports in a running system, while workers die and tables grow."""

import json
import signal
import time
import zipfile
from io import BytesIO

import psutil
import pytest
import requests
from PIL import Image

from testing.files.pictures import photo
from testing.waiting import until

FORMATS = ["coco", "yolo", "voc", "labelstudio", "csv", "jsonl"]
MEGABYTES_OVER_IDLE = 64


def ask(client, **body):
    """Requests an export; returns its URL."""
    response = client.post("detect/exports", json=body)
    assert response.status_code == 202, response.text
    return response.headers["Location"]


def state(client, place):
    return client.http.get(place, timeout=60).json()


def completed(client, place, seconds=60):
    def look():
        export = state(client, place)
        assert export["status"] != "failed", export
        return export if export["status"] == "completed" else None

    return until(look, seconds, every=0.2)


def downloaded(export):
    """The content of the file, without a log-in."""
    response = requests.get(export["download_url"], timeout=60)
    assert response.status_code == 200, response.text
    assert len(response.content) == int(response.headers["Content-Length"])
    return response.content


def test_an_export_of_each_format_holds_all_results(stack):
    client = stack.client().sign_up()
    for _ in range(3):
        assert client.upload(photo(), wait=30).status_code == 200
    found = client.get("detect/results").json()["total"]
    assert found == client.get("users/statistics").json()["objects"] == 6
    files = {name: downloaded(completed(client, ask(client, format=name))) for name in FORMATS}
    assert len(json.loads(files["coco"])["annotations"]) == found
    assert len(files["csv"].splitlines()) == found + 1
    assert len(files["jsonl"].splitlines()) == found
    tasks = json.loads(files["labelstudio"])
    assert sum(len(task["predictions"][0]["result"]) for task in tasks) == found
    assert tasks[0]["data"]["image"].startswith("http")
    with zipfile.ZipFile(BytesIO(files["yolo"])) as archive:
        labels = [archive.read(name) for name in archive.namelist() if name.startswith("labels/")]
    assert sum(len(label.splitlines()) for label in labels) == found
    with zipfile.ZipFile(BytesIO(files["voc"])) as archive:
        assert sum(archive.read(name).count(b"<object>") for name in archive.namelist()) == found
    detection = client.get("detect/history").json()["items"][0]["id"]
    alone = client.get(f"detect/{detection}/export?format=jsonl")
    assert len(alone.content.splitlines()) == 2


def multiply(stack, images, each):
    """Copy the only image `images` times, with `each` results for every copy."""
    stack.connection.execute(
        """INSERT INTO detections_detectionimage
        SELECT copy.* FROM detections_detectionimage image, generate_series(1, %s) n,
            jsonb_populate_record(image, jsonb_build_object('id', md5(n::text)::uuid)) copy""",
        [images],
    )
    stack.connection.execute(
        """INSERT INTO detections_detectionresult
        SELECT copy.* FROM detections_detectionresult result,
            detections_detectionimage image, generate_series(1, %s) n,
            jsonb_populate_record(
                result, jsonb_build_object('id', md5(image.id::text || n)::uuid, 'image_id', image.id)
            ) copy
        WHERE result.id = (SELECT id FROM detections_detectionresult LIMIT 1)""",
        [each],
    )
    stack.connection.execute("ANALYZE")  # plans for tables of one row would read all rows each time
    return stack.value("SELECT count(*) FROM detections_detectionresult")


@pytest.fixture
def working(production):
    production.worker("inference")
    return production


@pytest.mark.services
def test_an_export_whose_worker_is_killed_is_completed_by_the_next_worker(working):
    client = working.client().sign_up()
    assert client.upload(photo(), wait=30).status_code == 200
    found = multiply(working, 20_000, 1)
    place = ask(client, format="jsonl")
    until(lambda: state(client, place)["processed"] > 0)
    working.send("default", signal.SIGKILL)
    working.processes.pop("default").wait()
    assert state(client, place)["status"] == "processing"
    working.worker("default again", "default")
    export = completed(client, place, seconds=120)
    assert len(downloaded(export).splitlines()) == found
    assert working.value("SELECT attempts FROM detections_export") == 2
    assert len([path for path in working.folder.rglob("exports/*") if path.is_file()]) == 1


@pytest.mark.services
def test_a_stopping_worker_releases_its_export_at_once(working):
    client = working.client().sign_up()
    assert client.upload(photo(), wait=30).status_code == 200
    multiply(working, 20_000, 1)
    place = ask(client, format="csv")
    until(lambda: state(client, place)["processed"] > 0)
    assert working.stop("default", seconds=10) == 0
    assert state(client, place)["status"] == "pending"
    assert working.value("SELECT attempts FROM detections_export") == 0
    working.worker("default again", "default")
    completed(client, place)


def most_over_idle(working, client, **wanted):
    """Makes an export. The most bytes that its worker takes over those of an empty one, and the export."""
    completed(client, ask(client, format="csv", created_before="2020-01-01T00:00:00Z"))
    (worker,) = psutil.Process(working.processes["default"].pid).children()
    idle = most = worker.memory_info().rss
    place = ask(client, **wanted)
    while state(client, place)["status"] in {"pending", "processing"}:
        most = max(most, worker.memory_info().rss)
        time.sleep(0.1)
    print(f"{wanted}: {(most - idle) / 1e6:.0f} MB over idle")  # noqa: T201  # to be read by a person
    return most - idle, state(client, place)


@pytest.mark.soak
@pytest.mark.services
def test_exporting_a_million_results_takes_under_64_megabytes(working):
    client = working.client().sign_up()
    assert client.upload(photo(), wait=30).status_code == 200
    assert multiply(working, 100_000, 10) > 1_000_000
    for wanted in [*({"format": name} for name in FORMATS), {"format": "coco", "names": "original"}]:
        most, export = most_over_idle(working, client, **wanted)
        assert most < MEGABYTES_OVER_IDLE * 1e6
        assert (export["status"], export["processed"]) == ("completed", 100_001)


@pytest.mark.soak
@pytest.mark.services
def test_a_data_set_of_a_gigabyte_takes_under_64_megabytes(working):
    client = working.client().sign_up()
    assert client.upload(large_photo(), wait=30).status_code == 200
    multiply(working, 100, 1)
    most, export = most_over_idle(working, client, format="yolo", images=True)
    assert most < MEGABYTES_OVER_IDLE * 1e6
    size = int(requests.head(export["download_url"], timeout=60).headers["Content-Length"])
    assert size > 1e9


def large_photo():
    """Over 10 MB, upright."""
    out = BytesIO()
    Image.effect_noise((4000, 3000), 100).convert("RGB").save(out, "JPEG", quality=95)
    assert 10_000_000 < out.tell() < 20 << 20
    return out.getvalue()
