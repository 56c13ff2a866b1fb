import hashlib
import time
from dataclasses import asdict

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, connection

from detections import intake
from detections.inference import Options
from detections.models import Detection, DetectionImage
from detections.validators import ImageFacts
from objectvision import logs
from objectvision.celery import app
from objectvision.tests.stack import photo


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


def test_a_detection_remembers_the_request_that_sent_it(submit, user):
    with logs.on_behalf_of("this-one"):
        sent = submit(user, photo())
    assert Detection.objects.get(pk=sent.pk).request_id == "this-one"
    assert submit(user, photo()).request_id == ""  # by a command


def test_a_single_image_goes_before_a_batch(submit, user):
    single, batch = submit(user, photo()), submit(user, photo(), photo())
    assert [image.priority for image in single.images.all()] == [DetectionImage.Priority.SINGLE]
    assert [image.priority for image in batch.images.all()] == [DetectionImage.Priority.BATCH] * 2


def test_a_batch_keeps_its_order_in_ids_and_turns(submit, user):
    submit(user, photo(), photo(), photo())
    rows = DetectionImage.objects.order_by("id").values_list("original_name", "turn")
    assert list(rows) == [("photo-1.jpg", 1), ("photo-2.jpg", 2), ("photo-3.jpg", 3)]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\x.jpg", "a/b.jpg", "", "x" * 400 + ".php"]
)
def test_what_an_owner_calls_a_file_is_never_its_place_in_the_storage(detector, user, media, name):
    file = ContentFile(photo())
    file.name = name
    upload = intake.Upload(file, ImageFacts("jpeg", ".jpg", 64, 64))
    intake.submit(user, [upload], detector, asdict(Options()))
    image = DetectionImage.objects.get()
    assert image.image_path == f"users/{user.pk}/images/{image.pk}.jpg"
    assert files(media) == [media / image.image_path]
    assert image.original_name == name[-255:]


def rings():
    """How many messages have been sent to inference workers; takes them."""
    with app.connection_for_read() as broker, broker.SimpleQueue("inference") as queue:
        count = queue.qsize()
        queue.clear()
    return count


def test_the_worker_is_rung_once_the_rows_are_there(submit, user, django_capture_on_commit_callbacks):
    rings()
    with django_capture_on_commit_callbacks() as callbacks:
        submit(user, photo(), photo())
    assert rings() == 0
    assert callbacks == [intake.ring]
    callbacks[0]()
    assert rings() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_fails_no_upload_and_holds_none_up(
    submit, user, closed_redis, read_settings, monkeypatch, caplog
):
    deployed = read_settings(REDIS_URL=closed_redis)
    monkeypatch.setitem(app.conf, "broker_write_url", deployed["CELERY_BROKER_URL"])
    monkeypatch.setitem(app.conf, "broker_transport_options", deployed["CELERY_BROKER_TRANSPORT_OPTIONS"])
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    started = time.monotonic()
    detection = submit(user, photo())
    assert time.monotonic() - started < 2
    assert "Error calling ring in on_commit()" in caplog.text
    assert Detection.objects.get() == detection
    assert DetectionImage.objects.get().state == "waiting"


def fails_at(table):
    def execute(run, sql, parameters, many, context):
        if sql.startswith(f'INSERT INTO "{table}"'):
            raise OperationalError("disk full")
        return run(sql, parameters, many, context)

    return connection.execute_wrapper(execute)


@pytest.mark.parametrize("table", ["detections_detection", "detections_detectionimage"])
def test_what_the_database_does_not_take_leaves_no_file(submit, user, media, table):
    with fails_at(table), pytest.raises(OperationalError):
        submit(user, photo(), photo())
    assert files(media) == []
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()


class FailingFile(ContentFile):
    """Is read well once, for its hash, and then no more."""

    def chunks(self, chunk_size=None):
        self.times = getattr(self, "times", 0) + 1
        if self.times > 1:
            raise OSError("unplugged")
        return super().chunks(chunk_size)


def test_a_file_that_cannot_be_stored_leaves_neither_rows_nor_the_files_before_it(detector, user, media):
    facts = ImageFacts("jpeg", ".jpg", 64, 64)
    uploads = [
        intake.Upload(ContentFile(photo(), "good.jpg"), facts),
        intake.Upload(FailingFile(photo(), "bad.jpg"), facts),
    ]
    with pytest.raises(OSError, match="unplugged"):
        intake.submit(user, uploads, detector, asdict(Options()))
    assert not Detection.objects.exists()
    assert [path for path in files(media) if path.stat().st_size] == []
