"""`reprocess_detections` beside a running system."""

import signal

import pytest

from detections.models import (
    LOCKED_AT_ONCE,
)
from testing import stacks
from testing.detectors import build_standin
from testing.files.pictures import photo
from testing.waiting import until

# On real processes


def test_serve_processes_images_that_reprocess_detections_put_back(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        client = stack.serve().client().sign_up()
        detection = client.upload(photo(), wait=30).json()

        def result_ids():
            (image,) = client.get(f"detect/{detection['id']}").json()["images"]
            return {result["id"] for result in image["results"]}

        before = result_ids()
        stack.manage("reprocess_detections")
        assert len(before) == len(result_ids()) == 2
        until(lambda: not result_ids() & before)
        assert client.finished(detection["id"])["status"] == "completed"
        assert len(result_ids()) == 2


OLD, NEW = ["alpha", "beta"], ["delta", "gamma"]
COUNT, REACHED = 2 * LOCKED_AT_ONCE + 3, 2 * LOCKED_AT_ONCE
LONGEST = 240  # seconds that a busy machine may take for all of them


def shown(stack):
    """How many images have each set of classes."""
    rows = stack.rows(
        "SELECT classes, count(*) FROM (SELECT array_agg(object_class ORDER BY object_class) AS classes "
        "FROM detections_detectionimage i LEFT JOIN detections_detectionresult r ON r.image_id = i.id "
        "GROUP BY i.id) images GROUP BY classes"
    )
    return {tuple(classes): count for classes, count in rows}


def completed(stack):
    return stack.value("SELECT count(*) FROM detections_detection WHERE status = 'completed'")


COPY = """
    INSERT INTO detections_{table} SELECT copy.* FROM detections_{table} original, generate_series(1, %s) n,
        jsonb_populate_record(original, jsonb_build_object({changed})) copy"""
COPIED = {
    "detection": ["id"],
    "detectionimage": ["id", "detection_id"],
    "detectionresult": ["id", "detection_id", "image_id"],
}


def copy_detection(stack, times):
    """Add `times` copies of the only detection, its images and their results."""
    for table, keys in COPIED.items():
        changed = ", ".join(f"'{key}', md5(original.{key}::text || n)::uuid" for key in keys)
        stack.connection.execute(COPY.format(table=table, changed=changed), [times])


@pytest.mark.services
def test_a_second_run_completes_a_killed_one_and_old_results_stay_until_replaced(tmp_path, standin_folder):
    other = build_standin(tmp_path / "other", classes=("gamma", "delta"))
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.manage("prepare_detector", other)
        client = stack.web().client().sign_up()
        stack.worker("one")
        assert client.upload(photo(), wait=30).status_code == 200
        stack.stop("one")
        copy_detection(stack, COUNT - 1)
        assert completed(stack) == COUNT
        last = stack.value("SELECT id FROM detections_detection ORDER BY id DESC LIMIT 1")

        # The command waits for this lock in the middle of its last batch, and is killed there.
        with stack.connection.transaction():
            stack.connection.execute("SELECT 1 FROM detections_detection WHERE id = %s FOR UPDATE", [last])
            with stack.begun("reprocess_detections", "--to-detector", "other") as killed:
                until(lambda: completed(stack) == COUNT - REACHED, LONGEST)
                killed.send_signal(signal.SIGKILL)
                _, err = killed.communicate()
        assert shown(stack) == {tuple(OLD): COUNT}
        assert len(client.get(f"detect/{last}").json()["images"][0]["results"]) == 2

        stack.worker("two")  # without a wakeup
        stack.background()
        seen = []

        def done():
            seen.append(shown(stack))
            return completed(stack) == COUNT

        until(done, LONGEST, every=0.2)
        assert shown(stack) == {tuple(OLD): COUNT - REACHED, tuple(NEW): REACHED}
        (time,) = {line.rpartition(" ")[2] for line in err.splitlines() if "--before" in line}
        again = stack.attempt("reprocess_detections", "--to-detector", "other", "--before", time)
        assert again.returncode == 0
        assert f"Put back: {COUNT - REACHED} detections" in again.stderr
        until(done, LONGEST, every=0.2)
        assert shown(stack) == {tuple(NEW): COUNT}
        assert {classes for look in seen for classes in look} == {tuple(OLD), tuple(NEW)}
