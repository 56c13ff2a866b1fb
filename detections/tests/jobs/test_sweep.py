"""Every in-between state has a sweep that ends it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from detections.jobs import processing, sweep
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage
from testing.files.pictures import photo

State = DetectionImage.State


def lapse(hours=1):
    past = timezone.now() - timedelta(hours=hours)
    DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=past)


def test_the_sweep_returns_whether_any_image_waits(submit, user):
    assert sweep.sweep_detections() is False
    submit(user, photo())
    assert sweep.sweep_detections() is True
    processing.process_waiting()
    assert sweep.sweep_detections() is False


def test_the_sweep_keeps_valid_claims(submit, user, detector):
    submit(user, photo())
    claim = DetectionImage.objects.claim(detector, 1)
    assert sweep.sweep_detections() is False
    image = DetectionImage.objects.get()
    assert (image.state, image.claim) == (State.CLAIMED, claim.fence)


@pytest.mark.parametrize("hours", [1, -1], ids=["old", "clock put back"])
def test_a_lapsed_claim_is_released_and_counts_as_an_attempt(submit, user, detector, hours):
    submit(user, photo())
    DetectionImage.objects.claim(detector, 1)
    lapse(hours)
    assert sweep.sweep_detections() is True
    image = DetectionImage.objects.get()
    assert (image.state, image.claim, image.claimed_at, image.attempts) == (State.WAITING, None, None, 1)
    assert Detection.objects.get().status == "pending"


def test_after_three_attempts_an_image_fails_with_a_reason_and_the_others_complete(submit, user, detector):
    detection = submit(user, photo(), photo())
    deadly, good = detection.images.order_by("id")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = DetectionImage.objects.claim(detector, 1)
        assert [image.pk for image in claimed.images] == [deadly.pk]
        assert DetectionImage.objects.get(pk=deadly.pk).attempts == attempt
        lapse()
        sweep.sweep_detections()
    deadly.refresh_from_db()
    assert (deadly.state, deadly.claim, deadly.attempts) == (State.FAILED, None, MAX_ATTEMPTS)
    assert deadly.error_code == "processing_failed"
    assert deadly.error == "The image could not be processed in 3 attempts."
    assert deadly.processed_at is not None
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("pending", 0, 1)
    processing.process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 1)
    assert good.results.count() == 2


def test_the_failure_of_the_last_image_ends_its_detection(submit, user, detector):
    detection = submit(user, photo())
    DetectionImage.objects.update(attempts=MAX_ATTEMPTS - 1)
    DetectionImage.objects.claim(detector, 1)
    lapse()
    assert sweep.sweep_detections() is False
    detection.refresh_from_db()
    assert (detection.status, detection.failed) == ("failed", 1)
    assert detection.error == "The image could not be processed in 3 attempts."
    assert detection.finished_at is not None


def test_many_lapsed_claims_are_released_in_several_steps(submit, user, detector, monkeypatch):
    monkeypatch.setattr(sweep, "LOCKED_AT_ONCE", 2)
    for _ in range(5):
        submit(user, photo())
    DetectionImage.objects.claim(detector, 5)
    lapse()
    assert sweep.sweep_detections() is True
    assert set(DetectionImage.objects.values_list("state", flat=True)) == {State.WAITING}


@pytest.mark.parametrize(
    ("states", "status"),
    [([State.DONE, State.FAILED], "completed"), ([State.FAILED, State.FAILED], "failed"), ([], "failed")],
)
def test_a_detection_whose_images_have_all_ended_is_finished(submit, user, states, status):
    """The sweep repairs a crash between the end of the images and of their detection."""
    detection = submit(user, photo(), photo())
    Detection.objects.update(status=Detection.Status.PROCESSING)
    if not states:
        detection.images.all().delete()
    for image, state in zip(detection.images.order_by("id"), states, strict=True):
        DetectionImage.objects.filter(pk=image.pk).update(state=state)
    sweep.sweep_detections()
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at is not None) == (status, True)
    assert (detection.processed, detection.failed) == (states.count(State.DONE), states.count(State.FAILED))


def test_a_detection_with_open_images_is_not_finished(submit, user):
    detection = submit(user, photo(), photo())
    DetectionImage.objects.filter(pk=detection.images.first().pk).update(state=State.DONE)
    sweep.sweep_detections()
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at) == ("pending", None)


def test_many_detections_are_finished_in_several_steps(submit, user, monkeypatch):
    monkeypatch.setattr(sweep, "LOCKED_AT_ONCE", 2)
    for _ in range(5):
        submit(user, photo())
    DetectionImage.objects.update(state=State.DONE)
    sweep.sweep_detections()
    assert list(Detection.objects.values_list("status", flat=True)) == ["completed"] * 5
