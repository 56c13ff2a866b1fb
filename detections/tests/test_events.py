"""What happens to detections and exports becomes events, in the commit of the change."""

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, transaction

from detections import caching
from detections.exports import runs
from detections.inference import Options
from detections.jobs import actions, processing, progress, sweep
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, Export
from detections.uploads import intake
from notifications.models import Event
from objectvision.lib import logs, wakeups
from testing.files.pictures import photo

pytestmark = pytest.mark.django_db


def told(user):
    """The types of the user's events, in order, each with what it is about."""
    return [(event.type, event.subject_id) for event in user.events.order_by("pk")]


def process():
    processing.process_waiting()


def lapse(**values):
    DetectionImage.objects.update(state="claimed", claimed_at="2020-01-01T00:00Z", **values)
    sweep.release_lapsed_claims()


def test_a_detection_that_is_processed_has_started_and_completed(submit, user, stranger):
    detection = submit(user, photo(), photo())
    assert told(user) == []
    process()
    assert told(user) == [("detection.started", detection.pk), ("detection.completed", detection.pk)]
    assert told(stranger) == []


def test_an_event_tells_what_the_change_left(submit, user):
    detection = submit(user, photo(), photo())
    Detection.objects.update(name="Street")
    process()
    started, completed = user.events.order_by("pk")
    assert started.data == {
        "name": "Street", "status": "processing", "total": 2, "processed": 0, "failed": 0, "error": "",
    }  # fmt: skip
    assert completed.data == started.data | {"status": "completed", "processed": 2}
    assert detection.created_at < started.created_at < completed.created_at


def test_events_keep_the_id_of_the_request_that_asked_for_the_work(submit, user):
    with logs.on_behalf_of("the-upload"):
        submit(user, photo())
    with logs.on_behalf_of("the-export"):
        runs.submit_export(user, "csv", {})
    process()
    runs.make_next_export()
    assert list(user.events.order_by("pk").values_list("type", "request_id")) == [
        ("detection.started", "the-upload"),
        ("detection.completed", "the-upload"),
        ("export.completed", "the-export"),
    ]


def test_a_detection_whose_images_all_fail_has_failed(submit, user, media):
    detection = submit(user, photo())
    for path in media.rglob("*.jpg"):
        path.unlink()
    process()
    assert told(user)[1:] == [("detection.failed", detection.pk)]
    assert user.events.last().data["error"] == "The image's file is no longer in the storage."


def test_a_detection_that_is_cancelled_says_so_once(submit, user):
    detection = submit(user, photo())
    actions.cancel(detection.pk)
    actions.cancel(detection.pk)
    assert told(user) == [("detection.cancelled", detection.pk)]


def test_cancelling_what_was_cancelled_after_it_was_claimed_starts_nothing(submit, user, detector):
    detection = submit(user, photo())
    claim = DetectionImage.objects.claim(detector, 1)
    actions.cancel(detection.pk)
    progress.begin_detections(claim)
    assert told(user) == [("detection.cancelled", detection.pk)]


def test_each_run_of_a_detection_starts_once(submit, user, media):
    detection = submit(user, *[photo()] * (processing.CHUNK + 1))
    next(media.rglob("*.jpg")).unlink()
    process()
    assert [event for event, _ in told(user)] == ["detection.started", "detection.completed"]
    path = detection.images.get(state="failed").image_path
    (media / path).write_bytes(photo())
    actions.retry(detection.pk)
    process()
    assert [event for event, _ in told(user)] == ["detection.started", "detection.completed"] * 2


def test_the_sweep_tells_that_a_detection_has_failed(submit, user):
    detection = submit(user, photo())
    lapse(attempts=MAX_ATTEMPTS - 1)
    assert told(user) == []
    lapse(attempts=MAX_ATTEMPTS)
    assert told(user) == [("detection.failed", detection.pk)]


def test_an_upload_whose_results_are_known_completes_at_once(submit, user, detector):
    submit(user, photo())
    process()
    files = [ContentFile(photo(), "photo.jpg")]
    known = intake.submit_images(intake.Submission(user, detector, Options(), reuse=True), files)
    assert told(user)[2:] == [("detection.completed", known.pk)]


def test_a_change_that_is_rolled_back_is_not_told(submit, user, monkeypatch):
    detection = submit(user, photo())

    def fail(*_):
        raise OperationalError

    monkeypatch.setattr(caching, "drop_after_commit", fail)
    with pytest.raises(OperationalError), transaction.atomic():
        actions.cancel(detection.pk)
    assert (told(user), Detection.objects.get().status) == ([], "pending")


def test_an_export_completes_or_fails(submit, user):
    submit(user, photo())
    process()
    Event.objects.all().delete()
    export = runs.submit_export(user, "csv", {})
    runs.make_next_export()
    lost = runs.submit_export(user, "coco", {})
    Export.objects.filter(pk=lost.pk).update(status="processing", claimed_at="2020-01-01T00:00Z", attempts=1)
    runs.sweep_exports()
    assert told(user) == [("export.completed", export.pk)]
    assert user.events.get().data == {
        "format": "csv", "status": "completed", "total": 1, "processed": 1, "error": "",
    }  # fmt: skip
    Export.objects.filter(pk=lost.pk).update(
        status="processing", claimed_at="2020-01-01T00:00Z", attempts=MAX_ATTEMPTS
    )
    runs.sweep_exports()
    assert told(user)[1:] == [("export.failed", lost.pk)]
    assert "3 attempts" in user.events.last().data["error"]


@pytest.mark.django_db(transaction=True)
def test_the_owner_is_woken_by_each_change_once_it_is_committed(submit, user, detector):
    woken = []

    def is_woken(change):
        woken.clear()
        change()
        return bool(woken)

    with wakeups.telling(user.pk, lambda _: woken.append(len(told(user)))):
        detection = submit(user, photo())
        claim = DetectionImage.objects.claim(detector, 1)
        assert is_woken(lambda: progress.begin_detections(claim))
        assert woken == [1]  # the event is there to be read
        lapse(attempts=MAX_ATTEMPTS)
        assert woken[-1] == 2
        assert is_woken(lambda: actions.retry(detection.pk))
        assert is_woken(process)
        cancelled = submit(user, photo())
        assert is_woken(lambda: actions.cancel(cancelled.pk))
        runs.submit_export(user, "csv", {})
        assert is_woken(runs.make_next_export)
        files = [ContentFile(photo(), "photo.jpg")]
        known = intake.Submission(user, detector, Options(), reuse=True)
        assert is_woken(lambda: intake.submit_images(known, files))
