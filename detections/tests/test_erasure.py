"""Deleting detections: rows at once, files after the commit, by request or by retention."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import UserSettings
from detections import erasure, tasks
from detections.jobs import processing
from detections.models import Detection, DetectionImage, DetectionResult
from testing.files.pictures import photo


def files(media):
    return {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}


def test_deleting_removes_rows_at_once_and_files_after_the_commit(
    submit, user, media, django_capture_on_commit_callbacks
):
    deleted, kept = submit(user, photo(), photo()), submit(user, photo())
    processing.process_waiting()
    all_files = files(media)
    with django_capture_on_commit_callbacks() as callbacks:
        erasure.delete_detections([deleted.pk])
    assert list(Detection.objects.all()) == [kept]
    assert set(DetectionResult.objects.values_list("detection", flat=True)) == {kept.pk}
    assert files(media) == all_files
    assert len(all_files) == 3
    for callback in callbacks:
        callback()
    assert files(media) == {kept.images.get().image_path}


def test_deleting_a_deleted_detection_raises_nothing(submit, user, media, django_capture_on_commit_callbacks):
    detection = submit(user, photo())
    for path in files(media):
        (media / path).unlink()
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([detection.pk])
        erasure.delete_detections([detection.pk])
    assert not Detection.objects.exists()


def test_an_error_while_deleting_files_is_logged(
    submit, user, monkeypatch, caplog, django_capture_on_commit_callbacks
):
    def fail(paths):
        raise ValueError("The storage is misconfigured.")

    detection = submit(user, photo())
    monkeypatch.setattr("detections.storage.delete_files", fail)
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([detection.pk])
    assert not Detection.objects.exists()
    assert "The storage is misconfigured." in caplog.text


# Retention


def aged(detection, days):
    Detection.objects.filter(pk=detection.pk).update(created_at=timezone.now() - timedelta(days=days))
    return detection


def test_detections_past_their_owners_retention_are_deleted_with_their_files(
    submit, user, stranger, media, django_capture_on_commit_callbacks
):
    UserSettings.objects.create(user=user, retention_days=30)
    UserSettings.objects.create(user=stranger)
    aged(submit(user, photo()), 31)
    new = aged(submit(user, photo()), 29)
    others = aged(submit(stranger, photo()), 1000)
    processing.process_waiting()
    with django_capture_on_commit_callbacks(execute=True):
        assert erasure.delete_expired_detections() == 1
    assert set(Detection.objects.values_list("pk", flat=True)) == {new.pk, others.pk}
    assert files(media) == set(DetectionImage.objects.values_list("image_path", flat=True))


def test_an_unfinished_detection_is_kept_past_its_retention(submit, user):
    UserSettings.objects.create(user=user, retention_days=1)
    aged(submit(user, photo()), 2)
    assert erasure.delete_expired_detections() == 0
    processing.process_waiting()
    assert erasure.delete_expired_detections() == 1


def test_retention_is_that_of_each_user(submit, user, stranger):
    UserSettings.objects.create(user=user, retention_days=1)
    UserSettings.objects.create(user=stranger, retention_days=10)
    for owner in (user, stranger):
        aged(submit(owner, photo()), 5)
    processing.process_waiting()
    tasks.delete_expired()
    assert Detection.objects.get().user == stranger
