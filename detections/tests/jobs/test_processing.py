"""Waiting images become rows of results, also when workers fail, stop or lose their claims."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from celery.signals import worker_shutting_down
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from kombu import exceptions

from detections import erasure
from detections.jobs import actions, processing, sweep
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from objectvision.celery import app
from objectvision.lib import doorbell, logs
from testing.files.pictures import photo
from testing.waiting import until

State = DetectionImage.State
GREY, BLACK, WHITE = (128, 128, 128), (0, 0, 0), (255, 255, 255)


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
    """The boxes that the stand-in finds on a square picture of one colour."""
    found = [
        ("alpha", 0, round(0.5 + 0.5 * brightness, 2), 0.125, 0.125, 0.5, 0.375),
        ("beta", 1, 0.4, 0.25, 0.25, 0.5, 0.625),
    ]
    return found + [("alpha", 0, 0.1, 0.0, 0.0, 0.125, 0.125)] * third


def claim(detector, count=processing.CHUNK):
    return DetectionImage.objects.claim(detector, count)


def predict(claimed, loaded):
    """The outcomes of the images, by id. Nothing is recorded."""
    work = processing.begin_work(claimed, loaded)
    processing.keep_claims(work)
    return work.outcomes()


@pytest.fixture
def loaded(detector):
    return processing.cached_detector(detector.path, detector.backend)


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


# Results


@pytest.mark.parametrize(
    ("detections", "images", "beginning"), [(1, 1, 0), (1, 15, 0), (15, 1, 0), (1, 16, 5), (16, 1, 5)]
)
def test_a_chunk_takes_as_many_statements_whatever_is_in_it(
    user, submit, loaded, detector, detections, images, beginning, django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr(processing, "BEGIN_SECONDS", 60)  # on a busy machine, too
    for _ in range(detections):
        submit(user, *[photo()] * images)
    # The claim; of a full chunk: begun detections, webhooks, events; what is still claimed, webhooks, all
    # that is recorded; and two for a transaction. SQLite looks before it claims, in a transaction, and
    # inserts table by table.
    at_once = connection.vendor == "postgresql"
    with django_assert_num_queries(1 + beginning + 5 if at_once else 4 + beginning + 8):
        processing.process_claim(claim(detector), loaded)
    with django_assert_num_queries(1 if at_once else 3):  # nothing waits
        assert claim(detector) is None


def told(user):
    return [(event.type, event.data["status"]) for event in user.events.order_by("pk")]


STARTED, COMPLETED = ("detection.started", "processing"), ("detection.completed", "completed")


def test_what_is_done_soon_begins_and_ends_in_one_commit(user, submit, loaded, detector, monkeypatch):
    monkeypatch.setattr(processing, "BEGIN_SECONDS", 60)
    monkeypatch.setattr(processing, "begin_detections", None)
    detection = submit(user, photo())
    claimed = claim(detector)
    processing.process_claim(claimed, loaded)
    detection.refresh_from_db()
    assert (detection.status, detection.started_at) == ("completed", claimed.at)
    assert told(user) == [STARTED, COMPLETED]


def test_what_takes_longer_is_seen_to_have_begun(user, submit, loaded, detector, monkeypatch):
    begun, begin, predict = threading.Event(), processing.begin_detections, processing.outcome_of

    def begin_and_look(claimed):
        begin(claimed)
        assert (Detection.objects.get().status, told(user)) == ("processing", [STARTED])
        begun.set()

    def wait_and_predict(*arguments, **options):
        assert begun.wait(20)
        return predict(*arguments, **options)

    monkeypatch.setattr(processing, "begin_detections", begin_and_look)
    monkeypatch.setattr(processing, "outcome_of", wait_and_predict)
    detection = submit(user, photo())
    claimed = claim(detector)
    processing.process_claim(claimed, loaded)
    detection.refresh_from_db()
    assert detection.status == "completed"
    assert claimed.at < detection.started_at < detection.finished_at
    assert told(user) == [STARTED, COMPLETED]


def test_a_detection_whose_images_are_left_out_has_not_begun(user, submit, loaded, detector, monkeypatch):
    left_out, done = submit(user, photo()), submit(user, photo())
    predict = processing.predict_image

    def predict_one(image, *arguments, **options):
        wanted = image.detection_id == done.pk
        return predict(image, *arguments, **options) if wanted else None

    monkeypatch.setattr(processing, "BEGIN_SECONDS", 60)
    monkeypatch.setattr(processing, "predict_image", predict_one)
    processing.process_claim(claim(detector), loaded)
    left_out.refresh_from_db()
    assert (left_out.status, left_out.started_at) == ("pending", None)
    assert set(user.events.values_list("subject_id", flat=True)) == {done.pk}


@pytest.mark.parametrize(("colour", "brightness"), [(BLACK, 0), (GREY, 128 / 255), (WHITE, 1)])
def test_boxes_are_recorded_and_the_detection_completes(submit, user, colour, brightness):
    detection = submit(user, photo(64, 64, colour))
    assert process_waiting() is False
    detection.refresh_from_db()
    image = detection.images.get()
    assert boxes(image) == known(brightness)
    assert {result.detection for result in image.results.all()} == {detection}
    assert (image.state, image.claim, image.claimed_at, image.attempts) == (State.DONE, None, None, 1)
    assert (image.width, image.height, image.error, image.error_code) == (64, 64, "", "")
    assert image.inference_ms > 0
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 0)
    assert detection.created_at <= detection.started_at <= image.processed_at <= detection.finished_at


def test_boxes_of_a_wide_picture_refer_to_the_whole_picture(submit, user):
    image = submit(user, photo(128, 64, BLACK)).images.get()
    process_waiting()
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
    process_waiting()
    assert boxes(plain.images.get()) == known(0)
    assert boxes(special.images.get()) == expected


def test_each_full_chunk_rings_the_doorbell_and_all_images_are_processed(submit, user, rings):
    detection = submit(user, *[photo()] * (2 * processing.CHUNK + 3))
    assert process_waiting() is False
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("completed", 2 * processing.CHUNK + 3)
    assert rings == ["detections.process_images"] * 2


def test_full_chunks_are_processed_while_the_broker_is_away(submit, user, monkeypatch):
    def fail(_task):
        raise exceptions.OperationalError("Connection refused")

    monkeypatch.setattr(doorbell, "ring_doorbell", fail)
    detection = submit(user, *[photo()] * 33)
    assert process_waiting() is False
    assert detection.images.filter(state=State.DONE, attempts=1).count() == 33


def test_process_waiting_ends_after_its_time_and_reports_more_work(submit, user, monkeypatch):
    monkeypatch.setattr(processing, "TURN_SECONDS", -1)
    detection = submit(user, *[photo()] * (processing.CHUNK + 1))
    assert process_waiting() is True
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("processing", processing.CHUNK)
    assert process_waiting() is True
    detection.refresh_from_db()
    assert detection.status == "completed"


def test_the_sweep_rings_for_images_whose_doorbell_was_lost(submit, user, eager):
    detection = submit(user, photo())
    app.tasks["detections.sweep"].delay()
    detection.refresh_from_db()
    assert detection.status == "completed"


def test_a_detector_is_loaded_once_and_cached(submit, user, loaded):
    submit(user, photo())
    hits = processing.cached_detector.cache_info().hits
    process_waiting()
    assert processing.cached_detector.cache_info().hits == hits + 1


# Recording


def test_recording_twice_leaves_the_same_rows(submit, user, detector, loaded):
    submit(user, photo(64, 64, BLACK), photo(64, 64, WHITE))
    claimed = claim(detector)
    outcomes = predict(claimed, loaded)
    processing.record_outcomes(claimed, outcomes)
    before = rows()
    assert len(before[1]) == 4
    processing.record_outcomes(claimed, outcomes)
    assert rows() == before


def test_recording_replaces_older_results(submit, user, detector, loaded):
    image = submit(user, photo(64, 64, BLACK)).images.get()
    process_waiting()
    DetectionImage.objects.update(state=State.WAITING)
    process_waiting()
    assert boxes(image) == known(0)


def test_a_late_worker_whose_claim_was_reassigned_writes_nothing(submit, user, detector, loaded):
    submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    late = claim(detector)
    outcomes = predict(late, loaded)
    lapse()
    sweep.release_lapsed_claims()
    before = rows()
    processing.record_outcomes(late, outcomes)
    assert rows() == before
    assert {state for _, state, *_ in before[0]} == {State.WAITING}
    process_waiting()
    after = rows()
    assert (len(after[1]), after[2][0][1]) == (4, "completed")
    processing.record_outcomes(late, outcomes)
    assert rows() == after


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_no_disk_and_what_is_recorded_does(submit, user, detector, loaded):
    def waits():
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return cursor.fetchone()[0]

    submit(user, photo())
    with transaction.atomic():
        claimed = claim(detector)
        assert waits() == "off"
    assert waits() == "on"
    with transaction.atomic():
        processing.record_outcomes(claimed, predict(claimed, loaded))
        assert waits() == "on"


def test_a_late_worker_writes_only_images_it_still_claims(submit, user, detector, loaded):
    taken, kept = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    late = claim(detector)
    outcomes = predict(late, loaded)
    taken.images.all().put_back(counted=True)
    processing.record_outcomes(late, outcomes)
    assert list(taken.images.values_list("state", flat=True)) == [State.WAITING]
    assert not taken.results.exists()
    assert boxes(kept.images.get()) == known(0)


def lapse(*_):
    DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=timezone.now() - timedelta(hours=1))


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_detection_finishes_once_when_two_workers_end_its_last_images(
    at_once, submit, user, detector, loaded
):
    for _ in range(20):
        detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
        claims = [claim(detector, 1), claim(detector, 1)]
        work = [(each, predict(each, loaded)) for each in claims]
        at_once(*(lambda each=each: processing.record_outcomes(*each) for each in work))
        detection.refresh_from_db()
        assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 0)
        assert [boxes(image) for image in detection.images.all()] == [known(0)] * 2
        finished_at = detection.finished_at
        at_once(*(lambda each=each: processing.record_outcomes(*each) for each in work))
        detection.refresh_from_db()
        assert detection.finished_at == finished_at


@pytest.mark.postgresql
def test_an_image_that_is_cancelled_while_its_worker_waits_to_record_gets_no_results(
    at_once, submit, user, detector, loaded
):
    """The worker's statement begins before the image is cancelled, and waits for the detection's lock."""
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    work = claim(detector)
    outcomes = predict(work, loaded)
    taken, kept = detection.images.order_by("pk")
    locked = threading.Event()

    def cancel_one():
        with transaction.atomic():
            Detection.objects.lock([detection.pk])
            locked.set()
            until(waits_for_lock)
            DetectionImage.objects.filter(pk=taken.pk).cancel()

    def record():
        locked.wait(10)
        processing.record_outcomes(work, outcomes)

    at_once(cancel_one, record)
    for image in (taken, kept, detection):
        image.refresh_from_db()
    assert (taken.state, boxes(taken), kept.state, boxes(kept)) == (State.CANCELLED, [], State.DONE, known(0))
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 0)


def waits_for_lock():
    """Whether another transaction does."""
    own = "datname = current_database() AND wait_event_type = 'Lock'"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees the same at each look
        cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {own}")
        return cursor.fetchone()[0]


@pytest.mark.slow
@pytest.mark.postgresql
def test_recording_releasing_deleting_and_cancelling_do_not_deadlock(at_once, submit, user, detector, loaded):
    for _ in range(10):
        detections = [submit(user, photo()) for _ in range(8)]
        claimed = claim(detector)
        outcomes = predict(claimed, loaded)
        lapse()
        at_once(
            lambda claimed=claimed, outcomes=outcomes: processing.record_outcomes(claimed, outcomes),
            sweep.release_lapsed_claims,
            lambda detections=detections: erasure.delete_detections([detections[5].pk, detections[2].pk]),
            lambda detections=detections: actions.cancel(detections[4].pk),
        )
        process_waiting()
        left = Detection.objects.filter(pk__in=[detection.pk for detection in detections])
        assert left.count() == 6
        assert set(left.values_list("status", flat=True)) <= {"completed", "cancelled"}
        for image in DetectionImage.objects.filter(detection__in=left, state=State.DONE):
            assert image.results.count() == 2


@pytest.mark.postgresql
def test_concurrent_workers_process_every_image_once(at_once, submit, user, stranger, loaded):
    for owner in (user, stranger):
        submit(owner, *[photo()] * 40)
    at_once(*[process_waiting] * 3)
    process_waiting()
    assert list(Detection.objects.values_list("status", "processed")) == [("completed", 40)] * 2
    assert DetectionResult.objects.count() == 2 * 80
    assert set(DetectionImage.objects.values_list("attempts", flat=True)) == {1}


# What goes wrong


def test_an_image_with_a_missing_file_fails_and_the_others_complete(submit, user):
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    missing, good = detection.images.order_by("id")
    default_storage.delete(missing.image_path)
    process_waiting()
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
def test_an_undecodable_image_fails_and_the_others_complete(submit, user, content):
    """The file is damaged after validation, as by a faulty disk."""
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK), photo(64, 64, BLACK))
    first, bad, last = detection.images.order_by("id")
    overwrite(bad, content)
    process_waiting()
    detection.refresh_from_db()
    bad.refresh_from_db()
    assert (bad.state, bad.error_code, bad.attempts) == (State.FAILED, "corrupt_image", 1)
    assert bad.error.endswith(".")
    assert str(default_storage.location) not in bad.error
    assert [boxes(first), boxes(bad), boxes(last)] == [known(0), [], known(0)]
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 1)


def test_a_detection_fails_with_the_reason_if_all_its_images_failed(submit, user):
    detection = submit(user, photo())
    default_storage.delete(detection.images.get().image_path)
    process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("failed", 0, 1)
    assert detection.error == "The image's file is no longer in the storage."


def test_a_storage_error_is_retried_when_the_claim_lapses(submit, user, media, caplog):
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    unreadable, good = detection.images.order_by("id")
    default_storage.delete(unreadable.image_path)
    (
        media / unreadable.image_path
    ).mkdir()  # reading it is an error of the storage, and not that there is none
    process_waiting()
    unreadable.refresh_from_db()
    assert (unreadable.state, unreadable.attempts, unreadable.error_code) == (State.CLAIMED, 1, "")
    assert f"Image {unreadable.pk} waits for its next attempt" in caplog.text
    assert boxes(good) == known(0)
    process_waiting()
    unreadable.refresh_from_db()
    assert unreadable.attempts == 1  # the next one comes a lease later
    (media / unreadable.image_path).rmdir()
    overwrite(unreadable, photo(64, 64, BLACK))
    lapse()
    assert sweep.sweep_detections() is True
    process_waiting()
    unreadable.refresh_from_db()
    assert (unreadable.state, unreadable.attempts) == (State.DONE, 2)
    assert boxes(unreadable) == known(0)


def test_an_error_is_logged_with_the_request_id_of_the_upload(submit, user, media, caplog):
    caplog.handler.setFormatter(logs.formatter(logs.LINE))
    with logs.on_behalf_of("this-one"):
        image = submit(user, photo()).images.get()
    submit(user, photo())
    default_storage.delete(image.image_path)
    (media / image.image_path).mkdir()
    process_waiting()
    (fault,) = [line for line in caplog.text.splitlines() if f"Image {image.pk}" in line]
    assert f"ERROR detections.jobs.processing [this-one] Image {image.pk} waits" in fault
    assert f"detection_id={image.detection_id}" in fault
    assert logs.current_request() == ""  # reset afterwards


def test_a_slow_chunk_releases_the_images_it_has_not_begun(submit, user, monkeypatch):
    monkeypatch.setattr(processing, "CHUNK_SECONDS", -1)
    submit(user, photo(), photo())
    detector = Detector.objects.get()
    claimed = DetectionImage.objects.claim(detector, 2)
    processing.process_claim(claimed, processing.cached_detector(detector.path, detector.backend))
    images = DetectionImage.objects.values_list("state", "claim", "attempts")
    assert list(images) == [("waiting", None, 0)] * 2


def test_images_that_a_slow_chunk_has_not_begun_are_processed_in_the_same_turn(submit, user, monkeypatch):
    chunks = iter([-1])  # the first chunk is over at once
    takes_more = processing.Effort.takes_more

    def of_first_chunk(effort):
        if effort.deadline is None:
            monkeypatch.setattr(processing, "CHUNK_SECONDS", next(chunks, 60))
        return takes_more(effort)

    monkeypatch.setattr(processing.Effort, "takes_more", of_first_chunk)
    detection = submit(user, photo(), photo())
    assert process_waiting() is False
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("completed", 2)


def test_a_finished_detection_is_logged_with_its_duration(submit, user, caplog):
    caplog.set_level("INFO", "detections.jobs.processing")
    detection = submit(user, photo(), photo())
    Detection.objects.update(created_at=timezone.now() - timedelta(seconds=90))
    process_waiting()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"Detection {detection.pk} completed in 90.")
    assert line.endswith("images processed 2, failed 0")


def test_a_detector_that_fails_to_load_claims_nothing_and_blocks_no_other(submit, user, detector, caplog):
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
    assert process_waiting() is False
    waiting, done = first.images.get(), second.images.get()
    assert (waiting.state, waiting.attempts, waiting.claim) == (State.WAITING, 0, None)
    assert done.state == State.DONE
    assert "Nothing claimed for the detector broken 1 (openvino)" in caplog.text


def test_each_image_runs_on_its_own_detector(submit, user, detector, standin_folder):
    from testing.detectors import build_standin

    folder = build_standin(standin_folder.parent / "another", classes=("gamma", "delta"))
    another = Detector.objects.create(
        name="another", version="1", sha256="1" * 64, path=folder.name, backend="openvino", image_size=64,
        classes=["gamma", "delta"],
    )  # fmt: skip  # a row at a glance
    first, second = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    first.images.update(detector=another)
    process_waiting()
    assert [row.object_class for row in first.results.order_by("-confidence")] == ["gamma", "delta"]
    assert [row.object_class for row in second.results.order_by("-confidence")] == ["alpha", "beta"]


# Stopping


def test_a_process_told_to_stop_claims_nothing(submit, user, stopping):
    image = submit(user, photo()).images.get()
    processing.stopping.set()
    assert process_waiting() is True  # there may be work for the next worker
    image.refresh_from_db()
    assert (image.state, image.attempts) == (State.WAITING, 0)


def test_a_worker_that_shuts_down_stops_processing(stopping):
    app.loader.import_default_modules()  # as a worker does: receivers stand beside the tasks
    worker_shutting_down.send(sender="worker@host", sig="SIGTERM", how="Warm", exitcode=0)
    assert processing.stopping.is_set()


def test_a_stop_releases_claims_without_counting_the_attempt(submit, user, detector, loaded, stopping):
    submit(user, photo(), photo())
    claimed = claim(detector)
    processing.stopping.set()
    processing.process_claim(claimed, loaded)
    left = DetectionImage.objects.values_list("state", "claim", "claimed_at", "attempts")
    assert list(left) == [(State.WAITING, None, None, 0)] * 2
    processing.stopping.clear()
    process_waiting()
    assert Detection.objects.get().status == "completed"


class StoppingStorage(FileSystemStorage):
    """Stops the process while the first image is read."""

    def _open(self, name, mode="rb"):
        processing.stopping.set()
        return super()._open(name, mode)


def test_images_begun_before_a_stop_are_finished_and_recorded(
    submit, user, settings, media, stopping, loaded
):
    detection = submit(user, *[photo(64, 64, BLACK)] * processing.CHUNK)
    storage = {"BACKEND": f"{__name__}.StoppingStorage", "OPTIONS": {"location": media}}
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    process_waiting()
    done = DetectionImage.objects.filter(state=State.DONE)
    back = DetectionImage.objects.filter(state=State.WAITING, attempts=0, claim=None)
    assert 1 <= done.count() <= loaded.lanes
    assert done.count() + back.count() == processing.CHUNK
    assert [boxes(image) for image in done] == [known(0)] * done.count()
    detection.refresh_from_db()
    assert (detection.status, detection.processed) == ("processing", done.count())


# Leases


def test_a_claim_is_renewed_while_its_images_are_processed(submit, user, detector, settings):
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
        processing.keep_claims(processing.Work(claimed, {slow: None}, processing.Effort()))
    assert slow.done()
    image = DetectionImage.objects.get()
    assert (image.claim, image.claimed_at > before) == (claimed.fence, True)


def test_no_image_is_begun_after_the_claim_was_lost(submit, user, detector, settings):
    settings.CLAIM_LEASE_SECONDS = 0.03
    submit(user, photo())
    claimed = claim(detector)
    DetectionImage.objects.all().put_back(counted=True)
    effort = processing.Effort()
    with ThreadPoolExecutor(1) as lane:
        begun, not_begun = lane.submit(effort.lost.wait, 10), lane.submit(effort.takes_more)
        futures = dict.fromkeys([begun, not_begun])
        processing.keep_claims(processing.Work(claimed, futures, effort))
    assert (begun.result(), not_begun.result()) == (True, False)


# Chunks behind each other


@pytest.fixture
def seen(monkeypatch):
    """The states of all images, by turn, whenever a chunk is about to be recorded."""
    looks = []
    record = processing.record_outcomes

    def look_and_record(*arguments):
        looks.append("".join(state[0] for state in in_turn("state")))
        record(*arguments)

    monkeypatch.setattr(processing, "record_outcomes", look_and_record)
    return looks


def in_turn(field):
    return list(DetectionImage.objects.order_by("turn").values_list(field, flat=True))


def test_the_next_chunk_is_claimed_before_a_full_one_is_recorded(submit, user, seen, rings):
    chunk = processing.CHUNK
    submit(user, *[photo()] * (2 * chunk + 1))
    process_waiting()
    assert seen == [
        "c" * 2 * chunk + "w",
        "d" * chunk + "c" * (chunk + 1),
        "d" * 2 * chunk + "c",
    ]
    assert Detection.objects.get().processed == 2 * chunk + 1


def test_an_image_that_was_tried_before_is_claimed_beside_no_other_chunk(submit, user, seen, rings):
    chunk = processing.CHUNK
    submit(user, *[photo()] * (chunk + 2))
    tried = DetectionImage.objects.order_by("turn")[chunk]
    DetectionImage.objects.filter(pk=tried.pk).update(attempts=1)
    process_waiting()
    assert seen == ["c" * chunk + "ww", "d" * chunk + "cw", "d" * (chunk + 1) + "c"]


def test_a_stop_gives_back_the_chunk_behind_uncounted(submit, user, seen, rings, stopping, monkeypatch):
    submit(user, *[photo()] * 2 * processing.CHUNK)
    claim_chunk = processing.claim_chunk

    def claim_and_stop(*arguments, untried=False):
        claimed = claim_chunk(*arguments, untried=untried)
        if untried:
            processing.stopping.set()
        return claimed

    monkeypatch.setattr(processing, "claim_chunk", claim_and_stop)
    assert process_waiting() is True
    assert set(zip(in_turn("state"), in_turn("attempts"), strict=True)) == {
        (State.DONE, 1),
        (State.WAITING, 0),
    }
    assert in_turn("state")[processing.CHUNK :] == [State.WAITING] * processing.CHUNK


def test_lanes_begin_no_further_image_after_a_fault(submit, user, rings, monkeypatch):
    submit(user, *[photo()] * 2 * processing.CHUNK)
    efforts = []

    def fail(work, *behind):
        efforts.extend(each.effort for each in (work, *behind))
        raise OperationalError

    monkeypatch.setattr(processing, "finish_work", fail)
    with pytest.raises(OperationalError):
        process_waiting()
    assert [effort.takes_more() for effort in efforts] == [False, False]


# Deleted or cancelled in the middle


def test_deleting_a_detection_during_processing_harms_no_other(
    submit, user, detector, loaded, django_capture_on_commit_callbacks
):
    deleted, other = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    claimed = claim(detector)
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([deleted.pk])
    processing.process_claim(claimed, loaded)
    assert list(Detection.objects.values_list("pk", "status")) == [(other.pk, "completed")]
    assert boxes(other.images.get()) == known(0)
    assert DetectionResult.objects.count() == 2


def test_a_detection_deleted_before_recording_leaves_no_results(submit, user, detector, loaded):
    deleted, other = submit(user, photo(64, 64, BLACK)), submit(user, photo(64, 64, BLACK))
    claimed = claim(detector)
    outcomes = predict(claimed, loaded)
    erasure.delete_detections([deleted.pk])
    processing.record_outcomes(claimed, outcomes)
    assert list(Detection.objects.values_list("pk", "status")) == [(other.pk, "completed")]
    assert DetectionResult.objects.count() == 2


def test_cancelling_during_processing_keeps_done_images_and_harms_no_other(submit, user, detector, loaded):
    cancelled = submit(user, photo(64, 64, BLACK), photo(64, 64, BLACK))
    first = claim(detector, 1)
    processing.process_claim(first, loaded)
    other = submit(user, photo(64, 64, BLACK))
    second = claim(detector)
    actions.cancel(cancelled.pk)
    processing.process_claim(second, loaded)
    cancelled.refresh_from_db()
    other.refresh_from_db()
    assert (cancelled.status, cancelled.processed, cancelled.failed) == ("cancelled", 1, 0)
    assert [(image.state, boxes(image)) for image in cancelled.images.order_by("id")] == [
        (State.DONE, known(0)),
        (State.CANCELLED, []),
    ]
    assert (other.status, boxes(other.images.get())) == ("completed", known(0))
