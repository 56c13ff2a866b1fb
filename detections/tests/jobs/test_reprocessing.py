"""What has ended is done again, and keeps its results until then."""

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from detections import cleanup, intake, processing, tasks
from detections.inference import Options
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult, Detector
from detections.reprocessing import Reprocessing
from detections.tests import standin
from detections.tests.commands import run
from detections.validators import read_image
from objectvision.tests import stack as stacks
from objectvision.tests.stack import photo, until

State = DetectionImage.State


def process():
    processing.run(lambda: None)


@pytest.fixture
def rings(monkeypatch):
    rings = []
    monkeypatch.setattr(tasks, "ring", lambda: rings.append(1))
    return rings


@pytest.fixture
def submitted(submit, rings):
    """Uploaded and processed: `submitted(user, photo())`."""

    def submitted(*arguments, **options):
        detection = submit(*arguments, **options)
        process()
        detection.refresh_from_db()
        rings.clear()
        return detection

    return submitted


@pytest.fixture
def other(detector, standin_folder):
    """A detector that finds the same and calls it otherwise."""
    folder = standin.build(standin_folder.parent / "other", classes=("gamma", "alpha"))
    return Detector.objects.create(
        name="other", version="1", path=folder.name, backend="openvino", image_size=64,
        classes=["gamma", "alpha"],
    )  # fmt: skip  # a row at a glance


def reprocess(*options):
    return run("reprocess_detections", *options)


def found(detection):
    return sorted(detection.results.values_list("object_class", flat=True))


def states(detection):
    return list(detection.images.order_by("pk").values_list("state", flat=True))


def results():
    return set(DetectionResult.objects.values_list("pk", flat=True))


def test_results_stay_until_new_ones_take_their_place(submitted, user, rings):
    detection = submitted(user, photo(), photo())
    before = results()
    status, out, err = reprocess()
    assert (status, out) == (0, "")
    assert err.splitlines()[-1] == "Put back: 1 detections with 2 images; left alone: 0."
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("pending", 0, 0)
    assert (detection.finished_at, detection.error) == (None, "")
    assert states(detection) == [State.WAITING] * 2
    assert results() == before
    assert rings == [1]
    process()
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("completed", 2)
    assert detection.finished_at is not None
    assert found(detection) == ["alpha", "alpha", "beta", "beta"]
    assert not results() & before


def test_what_failed_is_tried_anew_with_all_of_its_attempts(submitted, user):
    detection = submitted(user, photo(), photo())
    failed, good = detection.images.order_by("pk")
    failed.fail("processing_failed", "It could not be processed.")
    failed.attempts = 3
    failed.save()
    before = set(good.results.values_list("pk", flat=True))
    assert reprocess("--failed-only")[0] == 0
    failed.refresh_from_db()
    assert (failed.state, failed.attempts, failed.error, failed.error_code) == (State.WAITING, 0, "", "")
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("pending", 1, 0)
    process()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 0)
    assert set(good.results.values_list("pk", flat=True)) == before


def test_another_detector_takes_over_with_the_classes_that_were_asked_for_by_name(submitted, user, other):
    everything = submitted(user, photo())
    alpha = submitted(user, photo(), classes=(0,))
    assert reprocess("--to-detector", "other")[0] == 0
    for detection in (everything, alpha):
        detection.refresh_from_db()
        assert (detection.detector, detection.images.get().detector) == (other, other)
    assert (everything.parameters["classes"], alpha.parameters["classes"]) == (None, [1])
    process()
    assert (found(everything), found(alpha)) == (["alpha", "gamma"], ["alpha"])


def test_a_detection_that_the_other_detector_cannot_repeat_is_left_alone_and_named(submitted, user, other):
    beta, rest = submitted(user, photo(), classes=(1,)), submitted(user, photo())
    status, _, err = reprocess("--to-detector", "other")
    assert status == 1
    assert err.splitlines()[1:] == [
        f"{beta.pk}: other knows no beta, but gamma, alpha.",
        "Put back: 1 detections with 1 images; left alone: 1.",
    ]
    beta.refresh_from_db()
    rest.refresh_from_db()
    assert (beta.status, beta.detector.name, rest.detector.name) == ("completed", "standin", "other")


def test_an_image_whose_file_is_gone_keeps_its_results(submitted, user):
    kept, gone = submitted(user, photo(), photo()), submitted(user, photo())
    first, second = kept.images.order_by("pk")
    for image in (first, gone.images.get()):
        default_storage.delete(image.image_path)
    before, replaced = results(), set(second.results.values_list("pk", flat=True))
    status, _, err = reprocess()
    assert status == 1
    assert f"{kept.pk}: the file of its image {first.pk} is no longer in the storage." in err
    assert "Put back: 1 detections with 1 images; left alone: 2." in err
    assert (states(kept), states(gone)) == ([State.DONE, State.WAITING], [State.DONE])
    process()
    gone.refresh_from_db()
    assert gone.status == "completed"
    assert results() & before == before - replaced
    assert DetectionResult.objects.count() == 6


def test_what_an_image_left_behind_has_is_not_reused_for_the_other_detectors_classes(
    submitted, user, other, detector
):
    content = photo()
    detection = submitted(user, content, photo(), classes=(0,))
    default_storage.delete(detection.images.order_by("pk").first().image_path)
    reprocess("--to-detector", "other")
    file = ContentFile(content, "again.jpg")
    uploads = [intake.Upload(file, read_image(file))]
    again = intake.submit(user, uploads, detector, asdict(Options(classes=(1,))), reuse=True)
    process()
    assert found(again) == ["beta"]


def test_a_detection_without_any_file_keeps_its_detector(submitted, user, other):
    gone = submitted(user, photo())
    default_storage.delete(gone.images.get().image_path)
    status, _, err = reprocess("--to-detector", "other")
    assert (status, "Put back: 0 detections" in err) == (1, True)
    gone.refresh_from_db()
    assert (gone.status, gone.detector.name) == ("completed", "standin")


def test_images_without_a_file_cancelled_and_unfinished_detections_are_left_alone(submitted, submit, user):
    refused = submitted(user, photo())
    refused.images.update(image_path="", state=State.FAILED)
    cancelled, waiting = submit(user, photo(), photo()), submit(user, photo())
    cleanup.cancel(cancelled.pk)
    assert "Put back: 0 detections with 0 images" in reprocess()[2]
    assert (states(refused), states(cancelled)) == ([State.FAILED], [State.CANCELLED] * 2)
    assert states(waiting) == [State.WAITING]


def test_a_second_run_with_the_time_of_the_first_leaves_alone_what_was_done_since(submitted, user, rings):
    first, second = submitted(user, photo()), submitted(user, photo())
    _, _, err = reprocess("--user", user.email)
    (time,) = {line.rpartition(" ")[2] for line in err.splitlines() if "--before" in line}
    Detection.objects.filter(pk=second.pk).update(status="completed")  # as if it had not been reached
    second.images.update(state=State.DONE)
    process()
    done = set(first.results.values_list("pk", flat=True))
    assert "Put back: 1 detections with 1 images" in reprocess("--before", time)[2]
    assert states(second) == [State.WAITING]
    process()
    assert set(first.results.values_list("pk", flat=True)) == done
    rings.clear()
    assert "Put back: 0 detections" in reprocess("--before", time)[2]
    assert rings == []


def test_filters_choose(submitted, user, stranger, other):
    old, failed, _ = (submitted(owner, photo()) for owner in (user, user, stranger))
    now = timezone.now()
    week_ago = (now - timedelta(days=7)).date().isoformat()
    Detection.objects.filter(pk=old.pk).update(created_at=now - timedelta(days=10))
    Detection.objects.filter(pk=failed.pk).update(status="failed", detector=other)
    failed.images.update(state=State.FAILED)
    Detector.objects.filter(pk=other.pk).update(is_active=False)

    def count(*options):
        return int(reprocess("--dry-run", *options)[2].split()[2])

    assert count() == 3
    assert count("--status", "failed") == count("--failed-only") == count("--detector", "other") == 1
    assert count("--user", user.email) == count("--detector", "standin:openvino") == 2
    assert (count("--since", week_ago), count("--until", week_ago)) == (2, 1)
    assert count("--before", week_ago) == 0


def test_a_dry_run_changes_nothing(submitted, user, rings):
    submitted(user, photo(), photo())
    rows = list(Detection.objects.values()), list(DetectionImage.objects.values())
    status, _, err = reprocess("--dry-run")
    assert (status, err) == (0, "Nothing done: 1 detections with 2 images would be put back.\n")
    assert (list(Detection.objects.values()), list(DetectionImage.objects.values())) == rows
    assert rings == []


def test_nobodys_upload_queues_behind_what_is_done_again(submitted, submit, user, stranger, detector):
    for owner in (user, stranger):
        submitted(owner, *[photo()] * 20)
    reprocess()
    uploads = [submit(stranger, photo()), submit(user, photo(), photo())]
    first = [image.detection_id for image in DetectionImage.objects.claim(detector, 6).images]
    for upload in uploads:
        assert upload.pk in first
    assert first.count(uploads[1].pk) == 2
    assert set(DetectionImage.objects.waiting().values_list("priority", flat=True)) == {2}
    turns = list(DetectionImage.objects.waiting().order_by("turn").values_list("turn", flat=True))
    assert turns == sorted(set(turns))  # one of all users' images a turn


def test_a_broker_that_is_away_fails_nothing(submitted, user, monkeypatch):
    from kombu.exceptions import OperationalError

    def ring():
        raise OperationalError

    submitted(user, photo())
    monkeypatch.setattr(tasks, "ring", ring)
    status, _, err = reprocess()
    assert status == 0
    assert "The broker is away" in err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--status", "pending"], "argument --status: invalid choice: 'pending'"),
        (["--detector", "yolo"], "There is no detector 'yolo', but standin:1:openvino."),
        (["--to-detector", "yolo"], "There is no detector 'yolo', but standin:1:openvino."),
        (["--user", "nobody@example.com"], "There is no user 'nobody@example.com'."),
        (["--since", "monday"], "argument --since: 'monday' is neither a date"),
        (["--to-detector", "standin", "--failed-only"], "leave out --failed-only"),
    ],
)
def test_a_wrong_option_is_refused_at_once(detector, options, complaint):
    status, out, err = reprocess(*options)
    assert (status != 0, out) == (True, "")
    assert complaint in err


# What is to be done again and is cancelled


def test_cancelling_gives_back_what_there_was(submitted, user, api, detector):
    detection = submitted(user, photo(), photo(), photo())
    before, processed_at = results(), list(detection.images.order_by("pk").values_list("processed_at"))
    picture = api(user).get(f"/api/v1/detect/{detection.pk}/image")["ETag"]
    reprocess()
    DetectionImage.objects.claim(detector, 1)
    answer = api(user).post(f"/api/v1/detect/jobs/{detection.pk}/cancel").json()
    assert (answer["status"], answer["progress"]["percent"], answer["error"]) == ("completed", 100, "")
    assert answer["finished_at"] is not None
    shown = api(user).get(f"/api/v1/detect/{detection.pk}").json()
    assert [(image["state"], len(image["results"])) for image in shown["images"]] == [("done", 2)] * 3
    assert results() == before
    assert list(detection.images.order_by("pk").values_list("processed_at")) == processed_at
    assert set(detection.images.values_list("claim", flat=True)) == {None}
    assert api(user).get(f"/api/v1/detect/{detection.pk}/image")["ETag"] == picture


def test_cancelling_keeps_what_has_been_done_again_already(submitted, user, detector):
    detection = submitted(user, photo(), photo())
    first, second = detection.images.order_by("pk")
    before = set(second.results.values_list("pk", flat=True))
    reprocess()
    processing.process(DetectionImage.objects.claim(detector, 1), processing.load(detector.path, "openvino"))
    cleanup.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.processed, states(detection)) == ("completed", 2, [State.DONE] * 2)
    assert set(second.results.values_list("pk", flat=True)) == before
    assert first.results.count() == 2


def test_what_had_failed_before_is_cancelled_and_the_rest_is_given_back(submitted, user):
    detection = submitted(user, photo(), photo())
    failed = detection.images.order_by("pk").first()
    failed.results.all().delete()
    failed.fail("processing_failed", "It could not be processed.")
    failed.save()
    reprocess()
    cleanup.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("cancelled", 1, 0)
    assert states(detection) == [State.CANCELLED, State.DONE]
    assert found(detection) == ["alpha", "beta"]


def test_what_failed_when_it_was_done_again_is_not_given_back_as_done(submitted, user):
    detection = submitted(user, photo())
    reprocess()
    default_storage.delete(detection.images.get().image_path)
    process()
    assert cleanup.retry(detection.pk) == 1
    cleanup.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, states(detection), found(detection)) == ("cancelled", [State.CANCELLED], [])


def test_what_another_detector_found_is_not_given_back_as_this_ones(submitted, user, other):
    detection = submitted(user, photo(), photo())
    reprocess("--to-detector", "other")
    cleanup.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, states(detection)) == ("cancelled", [State.CANCELLED] * 2)
    assert results() == set()


def test_what_fails_for_good_has_no_results_of_a_former_time(submitted, user, detector, settings):
    detection = submitted(user, photo(), photo())
    _, good = detection.images.order_by("pk")
    before = set(good.results.values_list("pk", flat=True))
    reprocess()
    for _ in range(MAX_ATTEMPTS):
        DetectionImage.objects.claim(detector, 1)
        past = timezone.now() - timedelta(hours=1)
        DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=past)
        cleanup.sweep()
    assert states(detection) == [State.FAILED, State.WAITING]
    assert results() == before


@pytest.mark.postgresql
def test_putting_back_and_deleting_at_once_do_not_deadlock(at_once, submitted, user):
    for _ in range(5):
        detections = [submitted(user, photo()) for _ in range(6)]
        ids = [detection.pk for detection in detections]
        again = Reprocessing(Detection.objects.all(), timezone.now())
        at_once(
            lambda again=again, ids=ids: again.put_back(ids),
            lambda ids=ids: cleanup.delete([ids[4], ids[1]]),
            lambda ids=ids: cleanup.cancel(ids[3]),
        )
        process()
        left = Detection.objects.filter(pk__in=ids)
        assert left.count() == 4
        assert set(left.values_list("status", flat=True)) <= {"completed", "cancelled"}


# On real processes


def test_beside_serve_it_is_the_sweep_that_finds_what_was_put_back(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        client = stack.serve().client().sign_up()
        detection = client.upload(photo(), wait=20).json()

        def result_ids():
            (image,) = client.get(f"detect/{detection['id']}").json()["images"]
            return {result["id"] for result in image["results"]}

        before = result_ids()
        stack.manage("reprocess_detections")
        assert len(before) == len(result_ids()) == 2
        until(lambda: not result_ids() & before, 20)
        assert client.finished(detection["id"])["status"] == "completed"
        assert len(result_ids()) == 2


OLD, NEW = ["alpha", "beta"], ["delta", "gamma"]
COUNT, REACHED = 2 * cleanup.BATCH + 3, 2 * cleanup.BATCH


def shown(stack):
    """What is found on an image, and how many images show that."""
    rows = stack.rows(
        "SELECT classes, count(*) FROM (SELECT array_agg(object_class ORDER BY object_class) AS classes "
        "FROM detections_detectionimage i LEFT JOIN detections_detectionresult r ON r.image_id = i.id "
        "GROUP BY i.id) images GROUP BY classes"
    )
    return {tuple(classes): count for classes, count in rows}


def completed(stack):
    return stack.value("SELECT count(*) FROM detections_detection WHERE status = 'completed'")


@pytest.mark.services
def test_a_killed_run_is_completed_by_another_and_old_results_are_readable_until_then(
    tmp_path, standin_folder
):
    other = standin.build(tmp_path / "other", classes=("gamma", "delta"))
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.manage("prepare_detector", other)
        client = stack.web().client().sign_up()
        stack.worker("one")
        with ThreadPoolExecutor(8) as pool:
            assert {r.status_code for r in pool.map(client.upload, [photo()] * COUNT)} == {202}
        until(lambda: completed(stack) == COUNT)
        stack.stop("one")
        last = stack.value("SELECT id FROM detections_detection ORDER BY id DESC LIMIT 1")

        # It waits for this lock in the middle of its last batch, and is killed there.
        with stack.connection.transaction():
            stack.connection.execute("SELECT 1 FROM detections_detection WHERE id = %s FOR UPDATE", [last])
            with stack.begun("reprocess_detections", "--to-detector", "other") as killed:
                until(lambda: completed(stack) == COUNT - REACHED)
                killed.send_signal(signal.SIGKILL)
                _, err = killed.communicate()
        assert shown(stack) == {tuple(OLD): COUNT}
        assert len(client.get(f"detect/{last}").json()["images"][0]["results"]) == 2

        stack.worker("two")  # nobody has rung
        stack.background()
        seen = []

        def done():
            seen.append(shown(stack))
            return completed(stack) == COUNT

        until(done)
        assert shown(stack) == {tuple(OLD): COUNT - REACHED, tuple(NEW): REACHED}
        (time,) = {line.rpartition(" ")[2] for line in err.splitlines() if "--before" in line}
        again = stack.attempt("reprocess_detections", "--to-detector", "other", "--before", time)
        assert again.returncode == 0
        assert f"Put back: {COUNT - REACHED} detections" in again.stderr
        until(done)
        assert shown(stack) == {tuple(NEW): COUNT}
        assert {classes for look in seen for classes in look} == {tuple(OLD), tuple(NEW)}
