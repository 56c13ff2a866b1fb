"""Finished detections are processed again and keep their results until then."""

from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from detections import erasure
from detections.inference import Options
from detections.jobs import actions, processing, sweep
from detections.jobs.processing import process_waiting
from detections.jobs.reprocessing import Reprocessing, translated_parameters
from detections.models import (
    MAX_ATTEMPTS,
    Detection,
    DetectionImage,
    DetectionResult,
    Detector,
)
from detections.uploads import intake
from objectvision.lib import doorbell
from testing.commands import run
from testing.detectors import build_standin
from testing.files.pictures import photo

State = DetectionImage.State


@pytest.fixture
def submitted(submit, rings):
    """Uploaded and processed: `submitted(user, photo())`."""

    def submitted(*arguments, **options):
        detection = submit(*arguments, **options)
        process_waiting()
        detection.refresh_from_db()
        rings.clear()
        return detection

    return submitted


@pytest.fixture
def other(detector, standin_folder):
    """A detector with the same boxes and other class names."""
    folder = build_standin(standin_folder.parent / "other", classes=("gamma", "alpha"))
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


def test_results_are_kept_until_new_ones_replace_them(submitted, user, rings):
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
    assert rings == ["detections.process_images"]
    process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("completed", 2)
    assert detection.finished_at is not None
    assert found(detection) == ["alpha", "alpha", "beta", "beta"]
    assert not results() & before


def test_failed_images_are_reprocessed_with_all_their_attempts(submitted, user):
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
    process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 0)
    assert set(good.results.values_list("pk", flat=True)) == before


def test_another_detector_gets_the_requested_classes_by_name(submitted, user, other):
    everything = submitted(user, photo())
    alpha = submitted(user, photo(), classes=(0,))
    assert reprocess("--to-detector", "other")[0] == 0
    for detection in (everything, alpha):
        detection.refresh_from_db()
        assert (detection.detector, detection.images.get().detector) == (other, other)
    assert (everything.parameters["classes"], alpha.parameters["classes"]) == (None, [1])
    process_waiting()
    assert (found(everything), found(alpha)) == (["alpha", "gamma"], ["alpha"])


def test_a_class_named_1_is_not_translated_to_class_id_1(submitted, user, other):
    Detector.objects.exclude(pk=other.pk).update(classes=["1", "beta"])
    submitted(user, photo(), classes=(0,))
    status, _, err = reprocess("--to-detector", "other")
    assert status == 1
    assert "other knows no 1, but gamma, alpha." in err


@pytest.mark.parametrize(
    ("theirs", "wanted", "translated"),
    [
        (["car", "car", "bus"], [1], [1]),
        (["bus", "car", "car"], [0], [1, 2]),
        (["car"], [0, 1], [0]),
    ],
)
def test_duplicate_class_names_are_translated_to_all_unless_lists_are_equal(theirs, wanted, translated):
    detection = Detection(detector=Detector(classes=["car", "car", "bus"]), parameters={"classes": wanted})
    assert translated_parameters(detection, Detector(classes=theirs)) == {"classes": translated}


def test_a_detection_whose_classes_the_other_detector_lacks_is_skipped_and_named(submitted, user, other):
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
    process_waiting()
    gone.refresh_from_db()
    assert gone.status == "completed"
    assert results() & before == before - replaced
    assert DetectionResult.objects.count() == 6


def test_results_of_a_skipped_image_are_not_reused_for_other_classes(submitted, user, other, detector):
    content = photo()
    detection = submitted(user, content, photo(), classes=(0,))
    default_storage.delete(detection.images.order_by("pk").first().image_path)
    reprocess("--to-detector", "other")
    file = ContentFile(content, "again.jpg")
    submission = intake.Submission(user, detector, Options(classes=(1,)), reuse=True)
    again = intake.submit_image(submission, file)
    process_waiting()
    assert found(again) == ["beta"]


def test_a_detection_whose_files_are_all_gone_keeps_its_detector(submitted, user, other):
    gone = submitted(user, photo())
    default_storage.delete(gone.images.get().image_path)
    status, _, err = reprocess("--to-detector", "other")
    assert (status, "Put back: 0 detections" in err) == (1, True)
    gone.refresh_from_db()
    assert (gone.status, gone.detector.name) == ("completed", "standin")


def test_fileless_images_cancelled_and_unfinished_detections_are_skipped(submitted, submit, user):
    refused = submitted(user, photo())
    refused.images.update(image_path="", state=State.FAILED)
    cancelled, waiting = submit(user, photo(), photo()), submit(user, photo())
    actions.cancel(cancelled.pk)
    assert "Put back: 0 detections with 0 images" in reprocess()[2]
    assert (states(refused), states(cancelled)) == ([State.FAILED], [State.CANCELLED] * 2)
    assert states(waiting) == [State.WAITING]


def test_a_second_run_with_before_skips_detections_done_since_the_first(submitted, user, rings):
    first, second = submitted(user, photo()), submitted(user, photo())
    _, _, err = reprocess("--user", user.email)
    (time,) = {line.rpartition(" ")[2] for line in err.splitlines() if "--before" in line}
    Detection.objects.filter(pk=second.pk).update(status="completed")  # as if it had not been reached
    second.images.update(state=State.DONE)
    process_waiting()
    done = set(first.results.values_list("pk", flat=True))
    assert "Put back: 1 detections with 1 images" in reprocess("--before", time)[2]
    assert states(second) == [State.WAITING]
    process_waiting()
    assert set(first.results.values_list("pk", flat=True)) == done
    rings.clear()
    assert "Put back: 0 detections" in reprocess("--before", time)[2]
    assert rings == []


def test_filters_choose_the_detections_to_reprocess(submitted, user, stranger, other):
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


def test_uploads_are_claimed_before_reprocessed_images(submitted, submit, user, stranger, detector):
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


def test_reprocessing_succeeds_without_a_broker(submitted, user, monkeypatch):
    from kombu.exceptions import OperationalError

    def ring(task):
        raise OperationalError

    submitted(user, photo())
    monkeypatch.setattr(doorbell, "ring_doorbell", ring)
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


# Cancelling a reprocessing


def test_cancelling_a_reprocessing_restores_the_former_results(submitted, user, api, detector):
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


def test_cancelling_a_reprocessing_keeps_images_already_done_again(submitted, user, detector):
    detection = submitted(user, photo(), photo())
    first, second = detection.images.order_by("pk")
    before = set(second.results.values_list("pk", flat=True))
    reprocess()
    processing.process_claim(
        DetectionImage.objects.claim(detector, 1), processing.cached_detector(detector.path, "openvino")
    )
    actions.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.processed, states(detection)) == ("completed", 2, [State.DONE] * 2)
    assert set(second.results.values_list("pk", flat=True)) == before
    assert first.results.count() == 2


def test_cancelling_a_reprocessing_restores_done_images_and_cancels_failed_ones(submitted, user):
    detection = submitted(user, photo(), photo())
    failed = detection.images.order_by("pk").first()
    failed.results.all().delete()
    failed.fail("processing_failed", "It could not be processed.")
    failed.save()
    reprocess()
    actions.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("cancelled", 1, 0)
    assert states(detection) == [State.CANCELLED, State.DONE]
    assert found(detection) == ["alpha", "beta"]


def test_an_image_that_failed_in_reprocessing_is_not_restored_as_done(submitted, user):
    detection = submitted(user, photo())
    reprocess()
    default_storage.delete(detection.images.get().image_path)
    process_waiting()
    assert actions.retry(detection.pk) == 1
    actions.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, states(detection), found(detection)) == ("cancelled", [State.CANCELLED], [])


def test_cancelling_does_not_restore_results_of_another_detector(submitted, user, other):
    detection = submitted(user, photo(), photo())
    reprocess("--to-detector", "other")
    actions.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, states(detection)) == ("cancelled", [State.CANCELLED] * 2)
    assert results() == set()


def test_an_image_that_fails_all_attempts_loses_its_former_results(submitted, user, detector, settings):
    detection = submitted(user, photo(), photo())
    _, good = detection.images.order_by("pk")
    before = set(good.results.values_list("pk", flat=True))
    reprocess()
    for _ in range(MAX_ATTEMPTS):
        DetectionImage.objects.claim(detector, 1)
        past = timezone.now() - timedelta(hours=1)
        DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=past)
        sweep.sweep_detections()
    assert states(detection) == [State.FAILED, State.WAITING]
    assert results() == before


@pytest.mark.slow
@pytest.mark.postgresql
def test_concurrent_reprocessing_deleting_and_cancelling_do_not_deadlock(at_once, submitted, user):
    for _ in range(5):
        detections = [submitted(user, photo()) for _ in range(6)]
        ids = [detection.pk for detection in detections]
        again = Reprocessing(Detection.objects.all(), timezone.now())
        at_once(
            lambda again=again, ids=ids: again.put_back(ids),
            lambda ids=ids: erasure.delete_detections([ids[4], ids[1]]),
            lambda ids=ids: actions.cancel(ids[3]),
        )
        process_waiting()
        left = Detection.objects.filter(pk__in=ids)
        assert left.count() == 4
        assert set(left.values_list("status", flat=True)) <= {"completed", "cancelled"}
