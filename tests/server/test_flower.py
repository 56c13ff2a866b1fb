"""Flower beside a running system."""

import base64
from contextlib import contextmanager

import pytest
import requests

from testing import services, stacks
from testing.files.pictures import photo
from testing.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.slow]
PASSWORD = "correct horse: battery"
AUTH = ("admin", PASSWORD)
READ = ["/", "/workers", "/worker/x", "/tasks", "/tasks/datatable", "/task/x", "/broker"]
READ_API = ["workers", "tasks", "queues/length", "task/types", "task/info/x", "task/result/x"]
DEEDS = [
    "worker/shutdown/default@test",
    "worker/pool/restart/default@test",
    "worker/pool/grow/default@test",
    "worker/pool/shrink/default@test",
    "worker/pool/autoscale/default@test",
    "worker/queue/add-consumer/default@test?queue=other",
    "worker/queue/cancel-consumer/default@test?queue=default",
    "task/apply/detections.sweep",
    "task/async-apply/detections.sweep",
    "task/send-task/detections.sweep",
    "task/abort/x",
    "task/revoke/x?terminate=true",
    "task/timeout/detections.sweep?workername=default@test&hard=1",
    "task/rate-limit/detections.sweep?workername=default@test&ratelimit=1",
]


def command(password, *options):
    return [
        "env",
        f"FLOWER_PASSWORD={password}",
        stacks.BIN / "celery",
        "-A",
        "objectvision",
        "flower",
        *options,
    ]


@contextmanager
def flower(stack):
    port = services.free_port()
    stack.start("flower", *command(PASSWORD, f"--port={port}"))
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: "Visit me" in stack.log("flower"))
        yield url
    finally:
        stack.kill("flower")


@pytest.fixture(scope="module")
def url(production_stack):
    with flower(production_stack) as url:
        yield url


def test_flower_shows_workers_queues_and_tasks(production_stack, url):
    production_stack.shared_client.upload(photo(), wait=30)

    def tasks():
        found = requests.get(f"{url}/api/tasks", auth=AUTH).json().values()
        return {(task["name"], task["state"]) for task in found}

    until(lambda: ("detections.process_images", "SUCCESS") in tasks())
    workers = requests.get(f"{url}/workers?json=1", auth=AUTH).json()["data"]
    assert {worker["hostname"]: worker["status"] for worker in workers} == {
        "inference@test": True,
        "default@test": True,
    }
    queues = requests.get(f"{url}/api/queues/length", auth=AUTH).json()["active_queues"]
    assert {queue["name"] for queue in queues} == {"inference", "default", "webhooks"}


@pytest.mark.parametrize(
    "credentials", [None, "", "admin:", "admin:wrong", f":{PASSWORD}"], ids=lambda text: text or "none"
)
def test_flower_shows_nothing_without_its_password(url, credentials):
    headers = {}
    if credentials is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    answers = {path: requests.get(f"{url}{path}", headers=headers) for path in READ}
    answers |= {path: requests.get(f"{url}/api/{path}", headers=headers) for path in READ_API}
    answers |= {path: requests.post(f"{url}/api/{path}", headers=headers) for path in DEEDS}
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 401} == {}
    assert requests.get(f"{url}/metrics", headers=headers).status_code == 404


def test_flower_changes_nothing_for_those_who_know_its_password(url):
    statuses = {deed: requests.post(f"{url}/api/{deed}", auth=AUTH, json={}).status_code for deed in DEEDS}
    assert statuses == dict.fromkeys(DEEDS, 403)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "Flower does not start without FLOWER_PASSWORD."),
        ("short", "FLOWER_PASSWORD is not valid; it must be at least 12 ASCII characters."),
    ],
)
def test_flower_does_not_start_without_a_password(production_stack, password, reason):
    production_stack.start("refused", *command(password))
    try:
        assert production_stack.processes["refused"].wait(60) == 1
    finally:
        production_stack.kill("refused")
    assert reason in production_stack.log("refused")
