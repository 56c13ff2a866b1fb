"""`/metrics` of the running system: the same numbers whichever process answers, after kills too."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from testing import services, stacks
from testing.files.pictures import photo
from testing.outages import Gate
from testing.waiting import until

TOKEN = "a-token-of-more-than-32-characters"
FOUND = 2  # the stand-in's boxes on every image
WORKERS = ("first", "second", "default")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "objectvision.json").read_text())


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
    folder = tmp_path_factory.mktemp("metrics")
    with stacks.production(folder, standin_folder) as stack, Gate(stack.connection.info) as stack.gate:
        stack.environment |= {
            **stacks.UNTHROTTLED,
            "METRICS_TOKEN": TOKEN,
            "WEB_CONCURRENCY": "2",
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(stack.gate.port),
        }
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
    system.kill("first")
    os.kill(children(system.processes["second"].pid)[0], signal.SIGKILL)  # its parent starts another
    until(lambda: samples(system)["processes", "web"] == 2)  # gunicorn has started another
    shows(40, 40)
    ask_at_once(client.another(), 25)
    send_images(client, 20)
    shows(65, 60)
    system.start_worker("first")


def lose_file(system, client):
    """An upload whose file is gone before a worker comes to it."""
    for worker in ("first", "second"):
        system.send(worker, signal.SIGSTOP)
    job = client.upload(photo()).json()["job_id"]
    path = system.value("SELECT image_path FROM detections_detectionimage WHERE detection_id = %s", job)
    (system.folder / "data" / "media" / path).unlink()
    for worker in ("first", "second"):
        system.send(worker, signal.SIGCONT)
    client.finished(job)


@pytest.mark.services
def test_failures_mails_and_webhooks_are_counted_by_what_came_of_them(system):
    before = samples(system)
    client = system.client().sign_up()
    files = [("images", ("a.jpg", photo())), ("images", ("b.jpg", b"no image"))]
    client.finished(client.post("detect/batch", files=files).json()["job_id"])
    lose_file(system, client)
    webhook = client.post("webhooks", json={"url": "https://nowhere.invalid/"}).json()["id"]
    client.post(f"webhooks/{webhook}/ping")
    expected = {
        ("images_processed_total", "done"): 1,
        ("images_processed_total", "failed"): 1,
        ("image_failures_total", "unsupported_format"): 1,
        ("image_failures_total", "file_missing"): 1,
        ("webhook_attempts_total", "failed"): 1,
        ("webhook_attempts_total", "delivered"): 0,
    }

    def counted():
        found = Counter(samples(system))
        found.subtract(before)
        return {key: total(found, *key) for key in expected}

    until(lambda: counted() == expected)
    # At least that of this sign-up; those of other tests may come now.
    until(lambda: total(samples(system), "mails_total", "sent") > total(before, "mails_total", "sent"))


@pytest.mark.services
def test_open_streams_are_counted_until_they_close_or_their_process_is_killed(system):
    client = system.client().sign_up()

    def streams():
        found = samples(system)
        return found["streams_open", "websocket"], found["streams_open", "sse"]

    with client.socket(), client.stream() as following:
        until(lambda: streams() == (1, 1))
        following.close()
        until(lambda: streams() == (1, 0))
        for web in children(system.processes["web"].pid):
            os.kill(web, signal.SIGKILL)
        until(lambda: system.until_up() and streams() == (0, 0))


@pytest.mark.services
def test_pools_memory_and_workers_are_measured(system):
    ask_at_once(system.client().sign_up(), 8)
    until(lambda: samples(system).get(("workers", "inference")))
    found = samples(system)
    assert found["processes", "web"] == 2
    assert found["processes", "beat"] == 1
    assert found["database_pool_size",] == 32
    assert found["database_pool_connections", "used"] + found["database_pool_connections", "idle"] > 0
    for process in ("web", "inference", "default,webhooks", "beat"):
        megabytes = found["process_memory_bytes", process] / found["processes", process] / (1 << 20)
        assert 30 < megabytes < 1000
    assert found["beat_alive",] == found["redis_up",] == found["database_up",] == 1
    assert 0 < found["disk_free_bytes",] < found["disk_size_bytes",]


@pytest.mark.services
def test_metrics_answer_in_time_while_database_and_redis_hang(system):
    ask_at_once(system.client().sign_up(), 1)
    requests = ("requests_total", "/api/v1/detectors")
    system.gate.shut()
    system.send("redis", signal.SIGSTOP)
    try:
        started = monotonic()
        found = samples(system)
        assert monotonic() - started < 5
        assert (found["database_up",], found["redis_up",]) == (0, 0)
        assert total(found, *requests) >= 1
        assert not {"images", "mails_waiting", "workers", "beat_alive"} & {name for name, *_ in found}
    finally:
        system.gate.open()
        system.send("redis", signal.SIGCONT)
    until(lambda: (samples(system)["database_up",], samples(system)["redis_up",]) == (1, 1), 40)


@pytest.mark.services
@pytest.mark.prometheus
def test_prometheus_finds_nothing_to_complain_about(system):
    text = scrape(system).content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def prometheus(system, tmp_path):
    """The address of a server with the configuration in `deploy`, which asks this system every second."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    (scraping,) = config["scrape_configs"]
    scraping["static_configs"] = [{"targets": [f"{system.address}:{system.port}"]}]
    scraping["authorization"]["credentials_file"] = "token"
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", tmp_path)
    address = f"127.0.0.1:{services.free_port()}"
    system.start(
        "prometheus", services.prometheus(), f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}",
    )  # fmt: skip
    until(lambda: "Server is ready" in system.log("prometheus"))
    yield f"http://{address}/api/v1"
    system.kill("prometheus")


@pytest.mark.services
@pytest.mark.prometheus
@pytest.mark.slow
def test_prometheus_finds_what_alerts_and_dashboard_ask_for(system, prometheus):
    def ask(expression):
        answer = requests.get(f"{prometheus}/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def rules():
        return requests.get(f"{prometheus}/rules").json()["data"]["groups"][0]["rules"]

    shown = [
        (panel["title"], target["expr"].replace("$__rate_interval", "5s"), target["legendFormat"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]

    def empty_panels():
        """Those without data, or without the labels that they show."""
        return {
            title
            for title, expression, legend in shown
            if not any({*re.findall(r"{{(\w+)}}", legend)} <= {*one["metric"]} for one in ask(expression))
        }

    until(lambda: ask("up"))
    files = [("images", ("photo.jpg", photo())), ("images", ("broken.jpg", photo()[:-100]))]
    system.client().sign_up().post("detect/batch", files=files).raise_for_status()
    until(lambda: empty_panels() <= {"Answers with 5xx"}, 30, 0.5)
    named = set(re.findall(r"objectvision_\w+", (DEPLOY / "prometheus" / "alerts.yml").read_text()))
    assert {name for name in named if not ask(name)} == set()

    def troubles():
        """Alerts that fire or will, and rules that fail; the disk of the tests may be full."""
        states = {rule["name"]: (rule["health"], rule["state"]) for rule in rules()}
        return [name for name, state in states.items() if state != ("ok", "inactive") and "Disk" not in name]

    until(lambda: not troubles())
