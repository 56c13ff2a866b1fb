"""Cancelling a detection, also while workers hold claims on its images."""

from detections.jobs import actions, processing
from detections.models import Detection, DetectionImage
from testing.files.pictures import photo

State = DetectionImage.State


def test_cancelling_ends_a_detection_and_its_open_images(submit, user, detector):
    detection, other = submit(user, photo(), photo()), submit(user, photo())
    DetectionImage.objects.claim(detector, 1)
    actions.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at is not None) == ("cancelled", True)
    assert list(detection.images.values_list("state", "claim")) == [(State.CANCELLED, None)] * 2
    assert other.images.get().state == State.WAITING


def test_cancelling_a_finished_detection_changes_nothing(submit, user):
    detection = submit(user, photo())
    processing.process_waiting()
    before = Detection.objects.values().get()
    actions.cancel(detection.pk)
    assert Detection.objects.values().get() == before
    assert detection.results.count() == 2
