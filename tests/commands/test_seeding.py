"""`seed_db` as a process."""

import signal
import sqlite3
from contextlib import closing

from detections.operations import demo, seeding
from testing import stacks
from testing.waiting import until


def test_an_interrupted_seed_db_prints_its_counts_and_keeps_whole_chunks(tmp_path, standin_folder):
    endless = ["seed_db", "--detections", "1000000", "--users", "1", "--files", "0"]
    with stacks.embedded(tmp_path, standin_folder) as stack:
        with stack.begun(*endless) as process:
            until(lambda: detections(stack))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        client = stack.serve().client()
        account = {"email": "seed-1-1@example.com", "password": demo.PASSWORD}
        token = client.post("auth/login", json=account).json()["access_token"]
        client.http.headers["Authorization"] = f"Bearer {token}"
        total = client.get("detect/history").json()["total"]
    assert total % seeding.CHUNK == 0 < total
    assert "Interrupted. Made in " in err
    assert f" 1 users, {total} detections, " in err
    assert "Traceback" not in err


def detections(stack):
    with closing(sqlite3.connect(stack.folder / "data" / "objectvision.sqlite3")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM detections_detection").fetchone()
        return count
