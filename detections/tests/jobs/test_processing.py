"""Waiting images become rows of results, whatever happens to whoever works on them."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from celery.signals import worker_shutting_down
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import connection
from django.utils import timezone

from detections import cleanup, processing
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from objectvision import logs
from objectvision.celery import app
from objectvision.tests.stack import photo

State = DetectionImage.State
GREY, BLACK, WHITE = (128, 128, 128), (0, 0, 0), (255, 255, 255)


def process():
    return processing.run(lambda: None)


def boxes(image):
    rows = image.results.order_by("-confidence", "id")
    return [
        (
            row.object_class,
            row.class_id,
            round(row.confidence, 2),
            *(round(side, 3) for side in (row.bbox_x, row.bbox_y, row.bbox_width, row.bbox_height)),
        )
        for row in rows
    ]


def known(brightness, *, third=False):
    """What the stand-in finds on a square picture of one colour."""
    found = [
        ("alpha", 0, round(0.5 + 0.5 * brightness, 2), 0.125, 0.125, 0.5, 0.375),
        ("beta", 1, 0.4, 0.25, 0.25, 0.5, 0.625),
    ]
    return found + [("alpha", 0, 0.1, 0.0, 0.0, 0.125, 0.125)] * third


def claim(detector, count=processing.CHUNK):
    return DetectionImage.objects.claim(detector, count)


@pytest.fixture
def loaded(detector):
    return processing.load(detector.path, detector.backend)


def rows():
    """Everything that processing writes."""
    images = DetectionImage.objects.order_by("id").values_list(
        "id", "state", "claim", "attempts", "processed_at"
    )
    results = DetectionResult.objects.order_by("image", "-confidence").values_list(
        "image", "class_id", "confidence"
    )
    detections = Detection.objects.order_by("id").values_list(
        "id", "status", "processed", "failed", "finished_at"
    )
    return list(images), list(results), list(detections)


# What is found


@pytest.mark.parametrize(("colour", "brightness"), [(BLACK, 0), (GREY, 128 / 255), (WHITE, 1)])
def test_what_the_detector_finds_is_recorded(submit, user, colour, brightness):
    detection = submit(user, photo(64, 64, colour))
    assert process() is False
    detection.refresh_from_db()
    image = detection.images.get()
    assert boxes(image) == known(brightness)
    assert {result.detection for result in image.results.all()} == {detection}
    assert (image.state, image.claim, image.claimed_at, image.attempts) == (State.DONE, None, None, 1)
    assert (image.width, image.height, image.error, image.error_code) == (64, 64, "", "")
    assert image.inference_ms > 0
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 0)
    assert detection.created_at <= detection.started_at <= image.processed_at <= detection.finished_at


def test_boxes_refer_to_the_whole_picture_whatever_its_shape(submit, user):
    image = submit(user, photo(128, 64, BLACK)).images.get()
    process()
    image.refresh_from_db()
    # It lies in the middle half of the detector's square, between grey bars: heights count double.
    bars = 0.5 * 114 / 255
    assert (image.width, image.height) == (128, 64)
    assert boxes(image) == [
        ("alpha", 0, round(0.5 + 0.5 * bars, 2), 0.125, 0.0, 0.5, 0.5),
        ("beta", 1, 0.4, 0.25, 0.0, 0.5, 1.0),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"confidence": 0.05}, known(0, third=True)),
        ({"confidence": 0.45}, known(0)[:1]),
        ({"confidence": 1.0}, []),
        ({"classes": (1,)}, known(0)[1:]),
        ({"max_detections": 1}, known(0)[:1]),
    ],
)
def test_each_detection_is_processed_with_its_own_parameters(submit, user, options, expected):
    plain, special = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK), **options)
    process()
    assert boxes(plain.images.get()) == known(0)
    assert boxes(special.images.get()) == expected


def test_more_images_than_a_chunk_are_all_processed_and_ring_for_each_full_one(submit, user):
    detection = submit(user, *[photo()] * (2 * processing.CHUNK + 3))
    rung = []
    assert processing.run(lambda: rung.append(1)) is False
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("completed", 2 * processing.CHUNK + 3)
    assert len(rung) == 2


def test_a_turn_ends_after_its_time_and_says_that_more_may_wait(submit, user, monkeypatch):
    monkeypatch.setattr(processing, "TURN_SECONDS", -1)
    detection = submit(user, *[photo()] * (processing.CHUNK + 1))
    assert process() is True
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("processing", processing.CHUNK)
    assert process() is True
    detection.refresh_from_db()
    assert detection.status == "completed"


def test_a_doorbell_that_nobody_heard_is_rung_again_by_the_sweep(submit, user, eager):
    detection = submit(user, photo())
    app.tasks["detections.sweep"].delay()
    detection.refresh_from_db()
    assert detection.status == "completed"


def test_a_detector_is_loaded_once(submit, user, loaded):
    submit(user, photo())
    hits = processing.load.cache_info().hits
    process()
    assert processing.load.cache_info().hits == hits + 1


# Recording


def test_recording_twice_leaves_the_same_rows(submit, user, detector, loaded):
    submit(user, photo(64, 64, BLACK), photo(64, 64, WHITE))
    claimed = claim(detector)
    outcomes = processing.predict(claimed, loaded)
    processing.record(claimed, outcomes)
    before = rows()
    assert len(before[1]) == 4
    processing.record(claimed, outcomes)
    assert rows() == before


def test_recording_takes_the_place_of_older_results(submit, user, detector, loaded):
    image = submit(user, photo(64, 64, BLACK)).images.get()
    process()
    DetectionImage.objects.update(state=State.WAITING)
    process()
    assert boxes(image) == known(0)


def test_a_late_worker_whose_claim_was_given_away_writes_nothing(submit, user, detector, loaded):
    submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    late = claim(detector)
    outcomes = processing.predict(late, loaded)
    lapse()
    cleanup.release_lapsed_claims()
    before = rows()
    processing.record(late, outcomes)
    assert rows() == before
    assert {state for _, state, *_ in before[0]} == {State.WAITING}
    process()
    after = rows()
    assert (len(after[1]), after[2][0][1]) == (4, "completed")
    processing.record(late, outcomes)
    assert rows() == after


def test_a_late_worker_writes_only_what_it_still_holds(submit, user, detector, loaded):
    taken, kept = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    late = claim(detector)
    outcomes = processing.predict(late, loaded)
    taken.images.all().put_back(counted=True)
    processing.record(late, outcomes)
    assert list(taken.images.values_list("state", flat=True)) == [State.WAITING]
    assert not taken.results.exists()
    assert boxes(kept.images.get()) == known(0)


def lapse(*_):
    DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=timezone.now() - timedelta(hours=1))


@pytest.mark.postgresql
def test_two_workers_that_finish_the_last_two_images_at_once_finish_the_detection_once(
    at_once, submit, user, detector, loaded
):
    for _ in range(20):
        detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
        claims = [claim(detector, 1), claim(detector, 1)]
        work = [(each, processing.predict(each, loaded)) for each in claims]
        at_once(*(lambda each=each: processing.record(*each) for each in work))
        detection.refresh_from_db()
        assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 0)
        assert [boxes(image) for image in detection.images.all()] == [known(0)] * 2
        finished_at = detection.finished_at
        at_once(*(lambda each=each: processing.record(*each) for each in work))
        detection.refresh_from_db()
        assert detection.finished_at == finished_at


@pytest.mark.postgresql
def test_whoever_takes_claims_away_and_whoever_records_do_not_deadlock(
    at_once, submit, user, detector, loaded
):
    for _ in range(10):
        detections = [submit(user, photo()) for _ in range(8)]
        claimed = claim(detector)
        outcomes = processing.predict(claimed, loaded)
        lapse()
        at_once(
            lambda claimed=claimed, outcomes=outcomes: processing.record(claimed, outcomes),
            cleanup.release_lapsed_claims,
            lambda detections=detections: cleanup.delete([detections[5].pk, detections[2].pk]),
            lambda detections=detections: cleanup.cancel(detections[4].pk),
        )
        process()
        left = Detection.objects.filter(pk__in=[detection.pk for detection in detections])
        assert left.count() == 6
        assert set(left.values_list("status", flat=True)) <= {"completed", "cancelled"}
        for image in DetectionImage.objects.filter(detection__in=left, state=State.DONE):
            assert image.results.count() == 2


@pytest.mark.postgresql
def test_workers_at_once_process_everything_once(at_once, submit, user, stranger, loaded):
    for owner in (user, stranger):
        submit(owner, *[photo()] * 40)
    at_once(*[process] * 3)
    process()
    assert list(Detection.objects.values_list("status", "processed")) == [("completed", 40)] * 2
    assert DetectionResult.objects.count() == 2 * 80
    assert set(DetectionImage.objects.values_list("attempts", flat=True)) == {1}


# What goes wrong


def test_a_missing_file_fails_at_once_and_the_others_complete(submit, user):
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    missing, good = detection.images.order_by("id")
    default_storage.delete(missing.image_path)
    process()
    detection.refresh_from_db()
    missing.refresh_from_db()
    assert (missing.state, missing.claim, missing.attempts) == (State.FAILED, None, 1)
    assert (missing.error_code, missing.error) == (
        "file_missing",
        "The image's file is no longer in the storage.",
    )
    assert missing.processed_at is not None
    assert boxes(good) == known(0)
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 1)


def overwrite(image, content):
    default_storage.delete(image.image_path)
    with default_storage.open(image.image_path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize(
    "content",
    [photo(400, 400)[:300], b"\xff\xd8\xff", b"", b"<svg/>", photo()[:20] + b"\0" * 500],
    ids=["truncated", "a beginning", "empty", "text", "zeros"],
)
def test_a_file_that_nobody_can_decode_fails_at_once_and_the_others_complete(submit, user, content):
    """Behind the validators' back, as by a fault of a disk."""
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK), photo(64, 64, BLACK))
    first, bad, last = detection.images.order_by("id")
    overwrite(bad, content)
    process()
    detection.refresh_from_db()
    bad.refresh_from_db()
    assert (bad.state, bad.error_code, bad.attempts) == (State.FAILED, "corrupt_image", 1)
    assert bad.error.endswith(".")
    assert str(default_storage.location) not in bad.error
    assert [boxes(first), boxes(bad), boxes(last)] == [known(0), [], known(0)]
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 1)


def test_a_detection_all_of_whose_images_failed_has_failed_and_says_why(submit, user):
    detection = submit(user, photo())
    default_storage.delete(detection.images.get().image_path)
    process()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("failed", 0, 1)
    assert detection.error == "The image's file is no longer in the storage."


def test_a_storage_that_fails_leaves_the_claim_to_lapse_and_the_others_complete(submit, user, media, caplog):
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    unreadable, good = detection.images.order_by("id")
    default_storage.delete(unreadable.image_path)
    (
        media / unreadable.image_path
    ).mkdir()  # reading it is an error of the storage, and not that there is none
    process()
    unreadable.refresh_from_db()
    assert (unreadable.state, unreadable.attempts, unreadable.error_code) == (State.CLAIMED, 1, "")
    assert f"Image {unreadable.pk} waits for its next attempt" in caplog.text
    assert boxes(good) == known(0)
    process()
    unreadable.refresh_from_db()
    assert unreadable.attempts == 1  # the next one comes a lease later
    (media / unreadable.image_path).rmdir()
    overwrite(unreadable, photo(64, 64, BLACK))
    lapse()
    assert cleanup.sweep() is True
    process()
    unreadable.refresh_from_db()
    assert (unreadable.state, unreadable.attempts) == (State.DONE, 2)
    assert boxes(unreadable) == known(0)


def test_a_fault_is_logged_with_the_request_that_sent_the_image(submit, user, media, caplog):
    caplog.handler.addFilter(logs.RequestIdFilter())
    with logs.on_behalf_of("this-one"):
        image = submit(user, photo()).images.get()
    submit(user, photo())
    default_storage.delete(image.image_path)
    (media / image.image_path).mkdir()
    process()
    (fault,) = [record for record in caplog.records if str(image.pk) in record.getMessage()]
    assert (fault.levelname, fault.request_id) == ("ERROR", "this-one")
    assert logs.current_request() == ""  # and nothing of it stays


def test_a_chunk_that_takes_long_begins_no_more_and_gives_the_rest_back(submit, user, monkeypatch):
    monkeypatch.setattr(processing, "CHUNK_SECONDS", -1)
    submit(user, photo(), photo())
    detector = Detector.objects.get()
    claimed = DetectionImage.objects.claim(detector, 2)
    processing.process(claimed, processing.load(detector.path, detector.backend))
    images = DetectionImage.objects.values_list("state", "claim", "attempts")
    assert list(images) == [("waiting", None, 0)] * 2


def test_a_finished_detection_is_logged_with_how_long_it_took(submit, user, caplog):
    caplog.set_level("INFO", "detections.processing")
    detection = submit(user, photo(), photo())
    Detection.objects.update(created_at=timezone.now() - timedelta(seconds=90))
    process()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"Detection {detection.pk} completed in 90.")
    assert line.endswith("images processed 2, failed 0")


def test_a_detector_that_does_not_load_claims_nothing_and_keeps_nobody_waiting(
    submit, user, detector, caplog
):
    first = submit(user, photo())
    broken = Detector.objects.create(
        name="broken",
        version="1",
        sha256="1" * 64,
        path="gone",
        backend="openvino",
        image_size=64,
        classes=["a"],
    )
    first.images.update(detector=broken)
    second = submit(user, photo())
    assert process() is False
    waiting, done = first.images.get(), second.images.get()
    assert (waiting.state, waiting.attempts, waiting.claim) == (State.WAITING, 0, None)
    assert done.state == State.DONE
    assert "Nothing claimed for the detector broken 1 (openvino)" in caplog.text


def test_each_image_runs_on_its_own_detector(submit, user, detector, standin_folder):
    from detections.tests import standin

    folder = standin.build(standin_folder.parent / "another", classes=("gamma", "delta"))
    another = Detector.objects.create(
        name="another", version="1", sha256="1" * 64, path=folder.name, backend="openvino", image_size=64,
        classes=["gamma", "delta"],
    )  # fmt: skip  # a row at a glance
    first, second = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    first.images.update(detector=another)
    process()
    assert [row.object_class for row in first.results.order_by("-confidence")] == ["gamma", "delta"]
    assert [row.object_class for row in second.results.order_by("-confidence")] == ["alpha", "beta"]


# Stopping


def test_a_process_told_to_stop_claims_nothing(submit, user, stopping):
    image = submit(user, photo()).images.get()
    processing.stopping.set()
    assert process() is True  # there may be work, for whoever is rung next
    image.refresh_from_db()
    assert (image.state, image.attempts) == (State.WAITING, 0)


def test_a_worker_that_shuts_down_stops_processing(stopping):
    worker_shutting_down.send(sender="worker@host", sig="SIGTERM", how="Warm", exitcode=0)
    assert processing.stopping.is_set()


def test_a_stop_gives_claims_back_uncounted(submit, user, detector, loaded, stopping):
    submit(user, photo(), photo())
    claimed = claim(detector)
    processing.stopping.set()
    processing.process(claimed, loaded)
    left = DetectionImage.objects.values_list("state", "claim", "claimed_at", "attempts")
    assert list(left) == [(State.WAITING, None, None, 0)] * 2
    processing.stopping.clear()
    process()
    assert Detection.objects.get().status == "completed"


class StoppingStorage(FileSystemStorage):
    """The stop comes while the first image is read."""

    def _open(self, name, mode="rb"):
        processing.stopping.set()
        return super()._open(name, mode)


def test_what_was_begun_before_a_stop_is_finished_and_recorded(
    submit, user, settings, media, stopping, loaded
):
    detection = submit(user, *[photo(64, 64, BLACK)] * processing.CHUNK)
    storage = {"BACKEND": f"{__name__}.StoppingStorage", "OPTIONS": {"location": media}}
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    process()
    done = DetectionImage.objects.filter(state=State.DONE)
    back = DetectionImage.objects.filter(state=State.WAITING, attempts=0, claim=None)
    assert 1 <= done.count() <= loaded.lanes
    assert done.count() + back.count() == processing.CHUNK
    assert [boxes(image) for image in done] == [known(0)] * done.count()
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("processing", done.count())


# Leases


def test_a_claim_is_renewed_while_its_images_are_worked_on(submit, user, detector, settings):
    settings.CLAIM_LEASE_SECONDS = 0.03
    submit(user, photo())
    claimed = claim(detector)
    before = DetectionImage.objects.get().claimed_at
    slow = Future()
    slow.set_running_or_notify_cancel()

    def ends_when_renewed(run, sql, *rest):
        result = run(sql, *rest)
        if sql.startswith("UPDATE"):
            slow.set_result(None)
        return result

    with connection.execute_wrapper(ends_when_renewed):
        processing.keep_claim_until_done(claimed, [slow], processing.Effort())
    assert slow.done()
    image = DetectionImage.objects.get()
    assert (image.claim, image.claimed_at > before) == (claimed.fence, True)


def test_what_was_not_begun_when_the_claim_was_taken_away_is_not_begun(submit, user, detector, settings):
    settings.CLAIM_LEASE_SECONDS = 0.03
    submit(user, photo())
    claimed = claim(detector)
    DetectionImage.objects.all().put_back(counted=True)
    effort = processing.Effort()
    with ThreadPoolExecutor(1) as lane:
        begun, not_begun = lane.submit(effort.lost.wait, 10), lane.submit(effort.takes_more)
        processing.keep_claim_until_done(claimed, [begun, not_begun], effort)
    assert (begun.result(), not_begun.result()) == (True, False)


# Deleted or cancelled in the middle


def test_a_detection_deleted_while_it_is_processed_harms_no_other(
    submit, user, detector, loaded, django_capture_on_commit_callbacks
):
    deleted, other = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    claimed = claim(detector)
    with django_capture_on_commit_callbacks(execute=True):
        cleanup.delete([deleted.pk])
    processing.process(claimed, loaded)
    assert list(Detection.objects.values_list("pk", "status")) == [(other.pk, "completed")]
    assert boxes(other.images.get()) == known(0)
    assert DetectionResult.objects.count() == 2


def test_a_detection_deleted_after_its_prediction_leaves_nothing(submit, user, detector, loaded):
    deleted, other = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    claimed = claim(detector)
    outcomes = processing.predict(claimed, loaded)
    cleanup.delete([deleted.pk])
    processing.record(claimed, outcomes)
    assert list(Detection.objects.values_list("pk", "status")) == [(other.pk, "completed")]
    assert DetectionResult.objects.count() == 2


def test_a_detection_cancelled_while_it_is_processed_keeps_what_was_done_and_harms_no_other(
    submit, user, detector, loaded
):
    cancelled = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    first = claim(detector, 1)
    processing.process(first, loaded)
    other = submit(user, photo(64, 64, BLACK))
    second = claim(detector)
    cleanup.cancel(cancelled.pk)
    processing.process(second, loaded)
    cancelled.refresh_from_db()
    other.refresh_from_db()
    assert (cancelled.status, cancelled.processed, cancelled.failed) == ("cancelled", 1, 0)
    assert [(image.state, boxes(image)) for image in cancelled.images.order_by("id")] == [
        (State.DONE, known(0)),
        (State.CANCELLED, []),
    ]
    assert (other.status, boxes(other.images.get())) == ("completed", known(0))
