"""`/metrics` of the running system: the same numbers whichever process answers, after kills too."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from testing import stacks
from testing.files.pictures import photo
from testing.waiting import until

TOKEN = "a-token-of-more-than-32-characters"
DETECTOR = "standin:"
FOUND = 2  # the stand-in's boxes on every image
WORKERS = ("first", "second", "default")


def scrape(stack, **headers):
    # Each on a connection of its own, which any process may take.
    return requests.get(
        f"{stack.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}", **headers}, timeout=10
    )


def samples(stack):
    """The value of each sample, by its name and the values of its labels."""
    response = scrape(stack)
    assert response.status_code == 200, response.text
    return {
        (sample.name.removeprefix("objectvision_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def total(found, name, *labels):
    return sum(value for (key, *rest), value in found.items() if key == name and set(labels) <= set(rest))


@pytest.fixture(scope="module")
def system(tmp_path_factory, standin_folder):
    """Two web processes, two inference workers, and one for the rest."""
    with stacks.production(tmp_path_factory.mktemp("metrics"), standin_folder) as stack:
        stack.environment |= {"METRICS_TOKEN": TOKEN, "WEB_CONCURRENCY": "2", **stacks.UNTHROTTLED}
        stack.start_web()
        stack.start_worker("first")
        stack.start_worker("second")
        stack.start_worker("default", "default,webhooks")
        stack.start_beat()
        for worker in WORKERS:
            stack.until_ready(worker)
        yield stack.until_up()


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask_at_once(client, count):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.another().get("detectors").status_code, range(count)))
    assert answers == [200] * count


def send_images(client, count):
    files = [("images", (f"{number}.jpg", photo())) for number in range(count)]
    job = client.post("detect/batch", files=files).json()["job_id"]
    assert client.finished(job)["progress"]["processed"] == count


@pytest.mark.services
@pytest.mark.slow
def test_counters_equal_what_was_sent_after_processes_were_killed(system):
    client = system.client().sign_up()
    before = samples(system)

    def counted():
        found = Counter(samples(system))
        found.subtract(before)
        return (
            total(found, "requests_total", "/api/v1/detectors", "200"),
            total(found, "request_duration_seconds_count", "/api/v1/detectors"),
            total(found, "images_processed_total", "done"),
            total(found, "objects_total"),
            total(found, "decode_seconds_count"),
            total(found, "inference_seconds_count"),
        )

    def shows(requests, images):
        expected = (requests, requests, images, images * FOUND, images, images)
        until(lambda: counted() == expected)
        assert {counted() for _ in range(8)} == {expected}

    ask_at_once(client, 40)
    send_images(client, 40)
    shows(40, 40)
    processes = samples(system)
    assert processes["processes", "web"] == 2
    os.kill(children(system.processes["web"].pid)[0], signal.SIGKILL)
    os.killpg(system.processes["first"].pid, signal.SIGKILL)
    os.kill(children(system.processes["second"].pid)[0], signal.SIGKILL)  # its parent starts another
    until(lambda: samples(system)["processes", "web"] == 2)  # gunicorn has started another
    shows(40, 40)
    ask_at_once(client.another(), 25)
    send_images(client, 20)
    shows(65, 60)
