"""Many requests that wait for their result, on one web process."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from testing import stacks
from testing.files.pictures import photo
from testing.waiting import until

WAITERS = 200


@pytest.mark.services
def test_other_requests_are_answered_while_200_uploads_wait_on_one_process(tmp_path, standin_folder):
    with stacks.production(tmp_path, standin_folder) as production:
        production.web()
        production.worker("inference")
        client = production.client().sign_up()
        assert client.upload(photo(), wait=30).status_code == 200  # the detector is loaded
        production.send("inference", signal.SIGSTOP)
        with ThreadPoolExecutor(WAITERS) as pool:
            waiting = [pool.submit(client.another().upload, photo(), wait=30) for _ in range(WAITERS)]
            until(lambda: production.value("SELECT count(*) FROM detections_detection") == WAITERS + 1)
            others = [client.get(path) for path in ("detect/history", "health/database") for _ in range(20)]
            assert not any(answer.done() for answer in waiting)
            production.send("inference", signal.SIGCONT)
            answers = [answer.result() for answer in waiting]
        assert {other.status_code for other in others} == {200}
        assert max(other.elapsed.total_seconds() for other in others) < 10  # those wait for 30
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"completed"}


def drop_connections(stack):
    stack.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.services
def test_an_upload_waits_on_when_its_database_connection_breaks(tmp_path, standin_folder):
    with stacks.production(tmp_path, standin_folder) as production, ThreadPoolExecutor(1) as pool:
        production.web()
        client = production.client().sign_up()
        waiting = pool.submit(client.upload, photo(), wait=30)
        until(lambda: production.value("SELECT count(*) FROM detections_detection") == 1)
        drop_connections(production)
        production.worker("inference")
        answer = waiting.result()
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
