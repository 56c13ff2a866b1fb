import hashlib
import time

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError

from detections.inference import Options
from detections.models import Detection, DetectionImage
from detections.uploads import intake
from objectvision.celery import app
from objectvision.lib import logs
from testing.files.pictures import photo
from testing.outages import fails_at


def files(media):
    return sorted(path for path in media.rglob("*") if path.is_file())


def test_an_upload_becomes_a_detection_with_a_waiting_image_and_a_stored_file(submit, user, detector, media):
    content = photo(80, 40)
    detection = submit(user, content, confidence=0.5)
    stored = Detection.objects.get()
    image = stored.images.get()
    assert stored == detection
    assert (stored.user, stored.detector, stored.status, stored.total) == (user, detector, "pending", 1)
    assert stored.parameters == {
        "confidence": 0.5, "iou": 0.7, "classes": None, "max_detections": 300, "image_size": None,
        "augment": False, "tile": 0, "overlap": 0.2,
    }  # fmt: skip  # a list to read at a glance
    assert (image.user, image.detector, image.state, image.attempts) == (user, detector, "waiting", 0)
    assert (image.width, image.height, image.original_name) == (80, 40, "photo-1.jpg")
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    assert image.image_path == f"users/{user.pk}/images/{image.pk}.jpg"
    assert files(media) == [media / image.image_path]
    assert files(media)[0].read_bytes() == content


def test_a_detection_keeps_the_id_of_its_request(submit, user):
    with logs.on_behalf_of("this-one"):
        sent = submit(user, photo())
    assert Detection.objects.get(pk=sent.pk).request_id == "this-one"
    assert submit(user, photo()).request_id == ""  # by a command


def test_a_single_image_has_priority_over_a_batch(submit, user):
    single, batch = submit(user, photo()), submit(user, photo(), photo())
    assert [image.priority for image in single.images.all()] == [DetectionImage.Priority.SINGLE]
    assert [image.priority for image in batch.images.all()] == [DetectionImage.Priority.BATCH] * 2


def test_images_of_a_batch_get_ids_and_turns_in_order(submit, user):
    submit(user, photo(), photo(), photo())
    rows = DetectionImage.objects.order_by("id").values_list("original_name", "turn")
    assert list(rows) == [("photo-1.jpg", 1), ("photo-2.jpg", 2), ("photo-3.jpg", 3)]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\x.jpg", "a/b.jpg", "", "x" * 400 + ".php"]
)
def test_an_uploads_file_name_never_decides_its_storage_path(detector, user, media, name):
    file = ContentFile(photo())
    file.name = name
    intake.submit_image(intake.Submission(user, detector, Options()), file)
    image = DetectionImage.objects.get()
    assert image.image_path == f"users/{user.pk}/images/{image.pk}.jpg"
    assert files(media) == [media / image.image_path]
    assert image.original_name == name[-255:]


def rings():
    """How many messages wait for inference workers; removes them."""
    with app.connection_for_read() as broker, broker.SimpleQueue("inference") as queue:
        count = queue.qsize()
        queue.clear()
    return count


def test_a_worker_is_notified_after_the_commit(submit, user, django_capture_on_commit_callbacks):
    rings()
    with django_capture_on_commit_callbacks() as callbacks:
        submit(user, photo(), photo())
    assert rings() == 0
    for call in callbacks:
        call()
    assert rings() == 1


@pytest.mark.django_db(transaction=True)
def test_an_upload_succeeds_within_ten_seconds_without_a_broker(
    submit, user, closed_redis, read_settings, monkeypatch, caplog
):
    deployed = read_settings(REDIS_URL=closed_redis)
    monkeypatch.setitem(app.conf, "broker_transport", deployed["CELERY_BROKER_TRANSPORT"])
    monkeypatch.setitem(app.conf, "broker_write_url", deployed["CELERY_BROKER_URL"])
    monkeypatch.setitem(app.conf, "broker_transport_options", deployed["CELERY_BROKER_TRANSPORT_OPTIONS"])
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    started = time.monotonic()
    detection = submit(user, photo())
    assert time.monotonic() - started < 10
    assert "ring_without_connection in on_commit()" in caplog.text
    assert Detection.objects.get() == detection
    assert DetectionImage.objects.get().state == "waiting"


@pytest.mark.parametrize("table", ["detections_detection", "detections_detectionimage"])
def test_a_database_error_leaves_no_file(submit, user, media, table):
    with fails_at(table), pytest.raises(OperationalError):
        submit(user, photo(), photo())
    assert files(media) == []
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()


class FailingFile(ContentFile):
    """Can be read once, for its hash; a second read fails."""

    def chunks(self, chunk_size=None):
        self.times = getattr(self, "times", 0) + 1
        if self.times > 1:
            raise OSError("unplugged")
        return super().chunks(chunk_size)


def test_a_storage_error_in_a_batch_leaves_no_rows_and_no_stored_pictures(detector, user, media):
    batch = [ContentFile(photo(), "good.jpg"), FailingFile(photo(), "bad.jpg")]
    with pytest.raises(OSError, match="unplugged"):
        intake.submit_images(intake.Submission(user, detector, Options()), batch)
    assert not Detection.objects.exists()
    assert [path for path in files(media) if path.stat().st_size] == []
