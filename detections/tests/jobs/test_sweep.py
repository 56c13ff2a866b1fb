"""Every in-between state has a sweep that ends it, and taking work away harms nobody who has it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import UserSettings
from detections import cleanup, processing, tasks
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult
from objectvision.tests.stack import photo

State = DetectionImage.State


def lapse():
    past = timezone.now() - timedelta(hours=1)
    DetectionImage.objects.filter(state=State.CLAIMED).update(claimed_at=past)


def files(media):
    return {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}


def test_a_sweep_says_whether_any_image_waits(submit, user):
    assert cleanup.sweep() is False
    submit(user, photo())
    assert cleanup.sweep() is True
    processing.run(lambda: None)
    assert cleanup.sweep() is False


def test_a_sweep_leaves_claims_alone_that_hold(submit, user, detector):
    submit(user, photo())
    claim = DetectionImage.objects.claim(detector, 1)
    assert cleanup.sweep() is False
    image = DetectionImage.objects.get()
    assert (image.state, image.claim) == (State.CLAIMED, claim.fence)


def test_a_lapsed_claim_goes_back_and_counts(submit, user, detector):
    submit(user, photo())
    DetectionImage.objects.claim(detector, 1)
    lapse()
    assert cleanup.sweep() is True
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
        cleanup.sweep()
    deadly.refresh_from_db()
    assert (deadly.state, deadly.claim, deadly.attempts) == (State.FAILED, None, MAX_ATTEMPTS)
    assert deadly.error_code == "processing_failed"
    assert deadly.error == "The image could not be processed in 3 attempts."
    assert deadly.processed_at is not None
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("pending", 0, 1)
    processing.run(lambda: None)
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 1, 1)
    assert good.results.count() == 2


def test_the_failure_of_the_last_image_ends_its_detection(submit, user, detector):
    detection = submit(user, photo())
    DetectionImage.objects.update(attempts=MAX_ATTEMPTS - 1)
    DetectionImage.objects.claim(detector, 1)
    lapse()
    assert cleanup.sweep() is False
    detection.refresh_from_db()
    assert (detection.status, detection.failed) == ("failed", 1)
    assert detection.error == "The image could not be processed in 3 attempts."
    assert detection.finished_at is not None


def test_many_lapsed_claims_go_back_in_several_steps(submit, user, detector, monkeypatch):
    monkeypatch.setattr(cleanup, "BATCH", 2)
    for _ in range(5):
        submit(user, photo())
    DetectionImage.objects.claim(detector, 5)
    lapse()
    assert cleanup.sweep() is True
    assert set(DetectionImage.objects.values_list("state", flat=True)) == {State.WAITING}


@pytest.mark.parametrize(
    ("states", "status"),
    [([State.DONE, State.FAILED], "completed"), ([State.FAILED, State.FAILED], "failed"), ([], "failed")],
)
def test_a_detection_whose_images_have_all_ended_is_finished(submit, user, states, status):
    """As after a crash between the two, which no path foresees."""
    detection = submit(user, photo(), photo())
    Detection.objects.update(status=Detection.Status.PROCESSING)
    if not states:
        detection.images.all().delete()
    for image, state in zip(detection.images.order_by("id"), states, strict=True):
        DetectionImage.objects.filter(pk=image.pk).update(state=state)
    cleanup.sweep()
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at is not None) == (status, True)
    assert (detection.processed, detection.failed) == (states.count(State.DONE), states.count(State.FAILED))


def test_a_detection_with_open_images_is_not_finished(submit, user):
    detection = submit(user, photo(), photo())
    DetectionImage.objects.filter(pk=detection.images.first().pk).update(state=State.DONE)
    cleanup.sweep()
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at) == ("pending", None)


def test_many_ended_detections_are_finished_in_several_steps(submit, user, monkeypatch):
    monkeypatch.setattr(cleanup, "BATCH", 2)
    for _ in range(5):
        submit(user, photo())
    DetectionImage.objects.update(state=State.DONE)
    cleanup.sweep()
    assert list(Detection.objects.values_list("status", flat=True)) == ["completed"] * 5


def test_cancelling_ends_a_detection_and_what_waits_of_it(submit, user, detector):
    detection, other = submit(user, photo(), photo()), submit(user, photo())
    DetectionImage.objects.claim(detector, 1)
    cleanup.cancel(detection.pk)
    detection.refresh_from_db()
    assert (detection.status, detection.finished_at is not None) == ("cancelled", True)
    assert list(detection.images.values_list("state", "claim")) == [(State.CANCELLED, None)] * 2
    assert other.images.get().state == State.WAITING


def test_cancelling_what_has_ended_changes_nothing(submit, user):
    detection = submit(user, photo())
    processing.run(lambda: None)
    before = Detection.objects.values().get()
    cleanup.cancel(detection.pk)
    assert Detection.objects.values().get() == before
    assert detection.results.count() == 2


def test_deleting_removes_rows_at_once_and_files_after_the_commit(
    submit, user, media, django_capture_on_commit_callbacks
):
    deleted, kept = submit(user, photo(), photo()), submit(user, photo())
    processing.run(lambda: None)
    all_files = files(media)
    with django_capture_on_commit_callbacks() as callbacks:
        cleanup.delete([deleted.pk])
    assert list(Detection.objects.all()) == [kept]
    assert set(DetectionResult.objects.values_list("detection", flat=True)) == {kept.pk}
    assert files(media) == all_files
    assert len(all_files) == 3
    for callback in callbacks:
        callback()
    assert files(media) == {kept.images.get().image_path}


def test_deleting_what_is_gone_already_is_no_error(submit, user, media, django_capture_on_commit_callbacks):
    detection = submit(user, photo())
    for path in files(media):
        (media / path).unlink()
    with django_capture_on_commit_callbacks(execute=True):
        cleanup.delete([detection.pk])
        cleanup.delete([detection.pk])
    assert not Detection.objects.exists()


# What is kept no longer than its owner wants


def aged(detection, days):
    Detection.objects.filter(pk=detection.pk).update(created_at=timezone.now() - timedelta(days=days))
    return detection


def test_what_is_older_than_its_owner_wants_is_deleted_with_its_files(
    submit, user, stranger, media, django_capture_on_commit_callbacks
):
    UserSettings.objects.create(user=user, retention_days=30)
    UserSettings.objects.create(user=stranger)
    aged(submit(user, photo()), 31)
    new = aged(submit(user, photo()), 29)
    others = aged(submit(stranger, photo()), 1000)
    processing.run(lambda: None)
    with django_capture_on_commit_callbacks(execute=True):
        assert cleanup.delete_expired() == 1
    assert set(Detection.objects.values_list("pk", flat=True)) == {new.pk, others.pk}
    assert files(media) == set(DetectionImage.objects.values_list("image_path", flat=True))


def test_what_is_not_finished_is_kept_until_it_is(submit, user):
    UserSettings.objects.create(user=user, retention_days=1)
    aged(submit(user, photo()), 2)
    assert cleanup.delete_expired() == 0
    processing.run(lambda: None)
    assert cleanup.delete_expired() == 1


def test_each_keeps_theirs_as_long_as_they_want(submit, user, stranger):
    UserSettings.objects.create(user=user, retention_days=1)
    UserSettings.objects.create(user=stranger, retention_days=10)
    for owner in (user, stranger):
        aged(submit(owner, photo()), 5)
    processing.run(lambda: None)
    tasks.delete_expired()
    assert Detection.objects.get().user == stranger
