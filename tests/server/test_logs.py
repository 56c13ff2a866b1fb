"""What a running system writes into its logs, and sends to Sentry."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import requests

from testing import stacks
from testing.clients import PASSWORD
from testing.files.pictures import photo
from testing.peers import receivers
from testing.waiting import until

pytestmark = pytest.mark.services

WORD = "a-word-that-stays-here"
WRITER = """
import django, logging, pathlib, sys, time
django.setup()
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
while not other.exists():
    time.sleep(0.001)
for number in range(3000):
    logging.getLogger("test").info("%s %d %s", own.name, number, "x" * 1000)
"""


class Sentry:
    """A server that takes what Sentry's library sends."""

    def __init__(self):
        self.bodies = []

    def take(self, asked):
        is_packed = asked.headers.get("Content-Encoding") == "gzip"
        self.bodies.append((gzip.decompress(asked.body) if is_packed else asked.body).decode())
        return receivers.Answer(200, b"{}")

    @property
    def events(self):
        items = [json.loads(line) for body in self.bodies for line in body.splitlines()]
        return [item for item in items if "exception" in item]

    def of(self, request):
        return [event for event in self.events if event["tags"].get("request_id") == request]


@pytest.fixture(scope="module")
def lived(tmp_path_factory, standin_folder):
    """A system after an upload with a webhook, an error of its web process and one of a worker."""
    sentry, folder = Sentry(), tmp_path_factory.mktemp("logs")
    environment = {"LOG_FILE": str(folder / "all.log"), "WEBHOOK_ALLOW_PRIVATE": "true"}
    with (
        receivers.receiving() as receiver,
        receivers.listening(sentry.take) as address,
        stacks.production(folder, standin_folder) as stack,
    ):
        stack.environment |= {**environment, "SENTRY_DSN": f"{address.replace('://', '://key@')}/1"}
        stack.start_all()
        client = stack.client().sign_up()
        client.post("webhooks", json={"url": receiver.url})
        detection = client.upload(photo(), wait=20, request_id="the-upload").json()
        client.get(f"detect/{detection['id']}?nothing={WORD}")
        with client.socket():
            pass
        share = client.post(f"detect/{detection['id']}/shares", json={}).json()["token"]
        open_link(stack, share)
        fail_in_web(stack, client)
        fail_in_worker(stack, client)
        until(lambda: sentry.of("query-fails") and sentry.of("worker-fails"), 20)
        until(lambda: len(receiver.asked) >= 2)
        for name in ("web", "inference", "default", "beat"):
            stack.stop(name)
        yield SimpleNamespace(
            stack=stack, sentry=sentry, file=folder / "all.log", detection=detection["id"],
            token=client.authorization()["Authorization"].removeprefix("Bearer "), share=share,
            web=stack.lines("web"), inference=stack.lines("inference"), default=stack.lines("default"),
            beat=stack.lines("beat"),
        )  # fmt: skip  # what tests ask for


def open_link(stack, share):
    """In ways that succeed, fail, and are refused before and after Django has read the path."""
    paths = [f"/s/{share}", f"/api/v1/detect/shared/{share}", f"/api/v1/detect/shared/{share}/image"]
    encoded = "".join(f"%{ord(letter):02x}" for letter in share)
    for path in paths:
        assert requests.get(stack.url + path).status_code == 200
    for path in (f"/s/{encoded}", f"/s/({share})", f"/x/{share}.", f"{paths[1]}/imag"):
        assert requests.get(stack.url + path).status_code in {200, 404}
    for path in paths:
        assert requests.post(stack.url + path, data={"reason": "x"}).status_code in {400, 403, 405, 415}
    stack.connection.execute("ALTER TABLE detections_sharelink RENAME TO away")
    for path in paths:
        headers = {"X-Request-ID": "link-fails"}
        assert requests.get(stack.url + path, headers=headers).status_code == 500
    stack.connection.execute("ALTER TABLE away RENAME TO detections_sharelink")


def fail_in_web(stack, client):
    """By requests with secrets in body, headers and query string."""
    stack.connection.execute("ALTER TABLE accounts_session RENAME TO away")
    headers = {"X-Request-ID": "body-fails", "Cookie": WORD}
    account = {"email": client.email, "password": PASSWORD}
    assert client.post("auth/login", json=account, headers=headers).status_code == 500
    headers["X-Request-ID"] = "query-fails"
    assert client.get(f"detect/history?search={WORD}", headers=headers).status_code == 500
    stack.connection.execute("ALTER TABLE away RENAME TO accounts_session")


def fail_in_worker(stack, client):
    stack.connection.execute("ALTER TABLE detections_detectionresult RENAME TO away")
    client.upload(photo(), request_id="worker-fails")
    until(lambda: "FAILURE" in stack.log("inference"))
    stack.connection.execute("ALTER TABLE away RENAME TO detections_detectionresult")


def named(lines, logger):
    return [line for line in lines if line["logger"] == logger]


def test_every_line_of_every_process_is_json(lived):
    for lines in (lived.web, lived.inference, lived.default, lived.beat):
        assert lines
        assert all(line.keys() >= {"timestamp", "level", "logger", "event"} for line in lines)
    assert named(lived.web, "gunicorn.error")
    assert named(lived.web, "uvicorn.error")
    assert "worker: Warm shutdown (MainProcess)" in [line["event"] for line in lived.inference]


def test_the_lines_of_an_upload_carry_its_request_from_web_process_to_webhook(lived):
    known = {"request_id": "the-upload", "detection_id": lived.detection}
    (asked,) = [line for line in named(lived.web, "objectvision.requests") if line.items() >= known.items()]
    (done,) = [
        line for line in named(lived.inference, "detections.jobs.processing") if line.items() >= known.items()
    ]
    sent = [
        line for line in named(lived.default, "notifications.webhooks.delivery")
        if line.items() >= known.items()
    ]  # fmt: skip  # as above
    assert (asked["method"], asked["route"], asked["status"]) == ("POST", "/api/v1/detect/image", 200)
    assert done["outcome"] == "completed"
    assert [line["status"] for line in sent] == [204, 204]  # it has begun, it is completed
    assert len({line["user_id"] for line in (asked, done, *sent)}) == 1
    assert all(line["duration_ms"] > 0 for line in (asked, done, *sent))


def test_each_task_is_a_line_with_the_request_that_rang(lived):
    tasks = named(lived.inference, "objectvision.tasks")
    by_request = {line["request_id"]: line for line in tasks if "request_id" in line}
    good, bad = by_request["the-upload"], by_request["worker-fails"]
    assert good["task"] == bad["task"] == "detections.process_images"
    assert (good["outcome"], bad["outcome"]) == ("SUCCESS", "FAILURE")
    assert good["duration_ms"] > 0
    assert {line["task"] for line in named(lived.default, "objectvision.tasks")} >= {
        "notifications.send_mails", "notifications.send_webhooks",
    }  # fmt: skip  # as above


def test_sweeps_that_succeed_are_no_lines(lived):
    assert "sweep" not in {
        line["task"].rpartition(".")[2] for line in named(lived.default, "objectvision.tasks")
    }


def test_a_web_socket_is_one_line_with_its_user(lived):
    (socket,) = [
        line for line in named(lived.web, "objectvision.requests") if line["event"] == "GET /ws/ 101"
    ]
    assert socket["user_id"]
    assert socket["duration_ms"] > 0


def test_what_clients_sent_is_in_no_line(lived):
    written = lived.file.read_text()
    assert WORD not in written
    assert PASSWORD not in written


def test_tokens_of_share_links_are_in_no_line_and_not_in_sentry(lived):
    encoded = "".join(f"%{ord(letter):02x}" for letter in lived.share)
    for told in (lived.file.read_text(), lived.stack.log("web"), *lived.sentry.bodies):
        assert lived.share not in told
        assert encoded not in told
    assert "GET /s/[token] 200" in [line["event"] for line in named(lived.web, "objectvision.requests")]
    assert len(lived.sentry.of("link-fails")) >= 1
    asked = [line for line in named(lived.web, "django.request") if line["request_id"] == "link-fails"]
    assert all("[token]" in line["event"] for line in asked)
    assert len(asked) == 3


def test_the_file_has_every_line_of_all_processes(lived):
    printed = [line for lines in (lived.web, lived.inference, lived.default, lived.beat) for line in lines]
    stored = map(json.loads, lived.file.read_text().splitlines())
    missing = Counter(map(str, printed)) - Counter(map(str, stored))
    assert [line for line in missing if "worker: Warm shutdown" not in line] == []


def test_errors_of_web_processes_and_workers_reach_sentry_with_their_requests(lived):
    (web,), (worker,) = lived.sentry.of("query-fails"), lived.sentry.of("worker-fails")
    for event, place in ((web, "accounts_session"), (worker, "detections_detectionresult")):
        assert event["level"] == "error"
        assert event["environment"] == "production"
        error = event["exception"]["values"][-1]
        assert error["type"] == "ProgrammingError"
        assert place in error["value"]
        assert error["stacktrace"]["frames"]


def test_sentry_gets_nothing_of_what_clients_sent_and_no_values_of_variables(lived):
    sent = "".join(lived.sentry.bodies)
    secrets = [lived.stack.environment[name] for name in ("SECRET_KEY", "JWT_SECRET_KEY")]
    for secret in (WORD, PASSWORD, "example.com", lived.token, *secrets):
        assert secret not in sent
    for event in lived.sentry.events:
        assert not event.keys() & {"request", "user", "modules"}
        assert event["breadcrumbs"]["values"] == []
        frames = [frame for error in event["exception"]["values"] for frame in error["stacktrace"]["frames"]]
        assert not any("vars" in frame for frame in frames)


def test_serve_writes_all_lines_to_standard_output(tmp_path, standin_folder):
    with (
        stacks.embedded(tmp_path, standin_folder) as stack,
        stack.begun("serve", "--port", str(stack.port)) as process,
    ):
        stack.until_up()
        process.terminate()
        lines, errors = process.communicate()
    assert "GET /health 200" in lines
    assert errors == ""


def test_two_processes_lose_no_line_while_their_file_is_rotated(tmp_path):
    stack = stacks.Stack(
        tmp_path,
        {
            "LOG_FILE": str(tmp_path / "all.log"),
            "LOG_FILE_MB": "1",
            "LOG_FILE_BACKUPS": "6",
            "DJANGO_SETTINGS_MODULE": "objectvision.settings",
        },
    )
    one, two = tmp_path / "one", tmp_path / "two"
    stack.start("one", sys.executable, "-c", WRITER, one, two)
    stack.start("two", sys.executable, "-c", WRITER, two, one)
    assert [stack.processes[name].wait(60) for name in ("one", "two")] == [0, 0]
    files = list(tmp_path.glob("all.log*"))
    assert len(files) == 6
    assert all(1 << 20 <= file.stat().st_size < 1.01 * (1 << 20) for file in files if file.suffix != ".log")
    lines = [line for file in files for line in file.read_text().splitlines()]
    found = Counter(tuple(line.split("] ")[1].split()[:2]) for line in lines)
    assert found == Counter((name, str(number)) for name in ("one", "two") for number in range(3000))


def test_without_its_address_nothing_of_sentry_is_loaded(tmp_path):
    code = "import sys, django; django.setup(); sys.exit('sentry_sdk' in sys.modules)"
    stack = stacks.Stack(tmp_path, {"DJANGO_SETTINGS_MODULE": "objectvision.settings"})
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=stacks.ROOT, env=stack.environment).returncode == 0
    )
