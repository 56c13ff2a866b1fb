"""The health endpoints of a running system, and of one whose services hang."""

import signal
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests

from testing import stacks
from testing.outages import Gate
from testing.waiting import until


def test_health_reports_workers_and_beat_of_a_running_system_as_alive(stack):
    client = stack.client()
    until(lambda: client.get("health/celery").ok, 20)
    facts = client.get("health/celery").json()
    queues = {queue for worker in facts["workers"] for queue in worker["queues"]}
    assert queues == {"default", "inference", "webhooks"}
    assert facts["beat"] == "alive"
    assert client.get("health/ready").ok


def statuses(stack, *parts):
    """The answers of these parts, each within its time."""
    with ThreadPoolExecutor(len(parts)) as pool:
        answers = pool.map(lambda part: requests.get(f"{stack.url}/health{part}", timeout=5), parts)
    return [answer.status_code for answer in answers]


@pytest.mark.services
def test_health_answers_503_in_time_while_a_service_hangs_and_recovers(tmp_path, standin_folder):
    with stacks.production(tmp_path, standin_folder) as production, Gate(production.connection.info) as gate:
        production.environment.update(DB_HOST="127.0.0.1", DB_PORT=str(gate.port), DB_POOL_SIZE="4")
        production.web()
        (web,) = psutil.Process(production.processes["web"].pid).children()
        assert statuses(production, "", "/ready", "/database", "/detector", "/redis") == [200] * 5
        assert [statuses(production, "/database") for _ in range(8)] == [[200]] * 8  # twice the pool
        threads = web.num_threads()
        gate.shut()
        answers = statuses(production, "", "/ready", "/database", "/detector", "/redis")
        assert answers == [200, 503, 503, 503, 200]
        assert set(statuses(production, *["/database"] * 20)) == {503}
        until(
            lambda: web.num_threads() < threads + 10, 5
        )  # one check for each part, and the pool's own threads
        gate.open()
        until(lambda: statuses(production, "/ready", "/database", "/detector") == [200] * 3, 10)
        production.send("redis", signal.SIGSTOP)
        assert statuses(production, "", "/redis", "/celery", "/ready") == [200, 503, 503, 200]
        production.send("redis", signal.SIGCONT)
        assert statuses(production, "/redis") == [200]
