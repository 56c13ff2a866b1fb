"""Connections and time that an upload takes, and its answer when the disk is full."""

import errno
import hashlib
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from django.core.files.storage import FileSystemStorage, storages
from django.db import OperationalError, connection
from django.test.client import encode_multipart

from detections import erasure
from detections.images import validation
from detections.models import Detection, DetectionImage
from detections.uploads import inspection, intake, zip_reader
from objectvision.api import idempotency
from testing.api import BATCH, IMAGE, faults, file_of, send_archive, send_batch, zipped
from testing.files import pictures
from testing.files.pictures import photo
from testing.outages import fails_at, mounted
from testing.waiting import until


class Meeting:
    """A point at which threads wait until `over` is set."""

    def __init__(self):
        self.held = []
        self.over = threading.Event()

    def hold(self, *_):
        self.held.append(connection.connection is not None)
        self.over.wait(20)


class HangingStorage(FileSystemStorage):
    meeting = None

    def _save(self, name, content):
        self.meeting.hold()
        return super()._save(name, content)

    def delete(self, name):
        self.meeting.hold()
        super().delete(name)


@pytest.fixture
def hanging(settings, media, monkeypatch):
    meeting = Meeting()
    monkeypatch.setattr(HangingStorage, "meeting", meeting)
    backend = f"{HangingStorage.__module__}.{HangingStorage.__qualname__}"
    settings.STORAGES = {
        **storages.backends,
        "default": {"BACKEND": backend, "OPTIONS": {"location": media}},
    }
    yield meeting
    meeting.over.set()


def sending(client, content, key=None):
    """Sends from a thread of its own, as the server does."""

    def send_it():
        try:
            headers = {"Idempotency-Key": key} if key else None
            return client.post(IMAGE, {"image": file_of(content)}, format="multipart", headers=headers)
        finally:
            connection.close()

    return send_it


@pytest.mark.postgresql
def test_uploads_to_a_hanging_storage_hold_no_database_connections(
    api, user, stranger, detector, transactional_db, hanging, monkeypatch
):
    monkeypatch.setattr("objectvision.lib.fair_slots.MOST_QUEUED", 100)  # all of them are one user's
    pool = connection.settings_dict["OPTIONS"]["pool"]["max_size"]
    clients = [api(user) for _ in range(pool + 4)]
    other = api(stranger)
    with ThreadPoolExecutor(len(clients)) as threads:
        answers = [
            threads.submit(sending(client, photo(), f"key-{number}" if number % 2 else None))
            for number, client in enumerate(clients)
        ]
        until(lambda: len(hanging.held) == len(clients), 20)
        assert hanging.held == [False] * len(clients)
        assert other.get("/api/v1/users/get-profile").json()["email"] == stranger.email
        hanging.over.set()
        assert {answer.result().status_code for answer in answers} == {202}
    assert Detection.objects.filter(user=user).count() == len(clients)


def test_deleting_files_holds_no_database_connection(api, user, detector, transactional_db, hanging, media):
    hanging.over.set()
    client = api(user)
    detection = sending(client, photo())().json()["detection_id"]
    assert client.delete(f"/api/v1/detect/{detection}").status_code == 204
    assert hanging.held == [False] * 4  # the upload is saved; later it and pictures drawn of it are deleted
    sending(client, photo())()
    erasure.erase_account(user, deadline=time.monotonic() + 10)
    assert hanging.held[4:] == [False] * len(hanging.held[4:])
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_cleaning_up_after_a_database_error_holds_no_connection(
    submit, user, transactional_db, hanging, media
):
    hanging.over.set()
    with fails_at("detections_detectionimage"), pytest.raises(OperationalError):
        submit(user, photo())
    assert hanging.held == [False, False]
    assert [path for path in media.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("batch", [False, True])
def test_parsing_hashing_and_inspecting_files_holds_no_connection(
    api, user, detector, transactional_db, monkeypatch, batch
):
    held = {}

    def watched(owner, name):
        original = getattr(owner, name)

        def call(*arguments, **options):
            held.setdefault(name, []).append(connection.connection is not None)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    watched(idempotency, "fingerprint")
    watched(validation, "_facts")
    watched(intake, "image_of")
    watched(zip_reader.UploadedZip, "_blocks")
    client = api(user)
    if batch:
        archive = file_of(zipped({"a.jpg": photo(), "b.jpg": photo()}), "a.zip")
        answer = client.post(
            BATCH, {"archive": archive}, format="multipart", headers={"Idempotency-Key": "k"}
        )
    else:
        answer = sending(client, photo(), "k")()
    assert answer.status_code == 202
    assert held.pop("_blocks", None) == ([False, False] if batch else None)
    assert {name: set(found) for name, found in held.items()} == {
        "fingerprint": {False},
        "_facts": {False},
        "image_of": {False},
    }


# Time


@pytest.fixture
def no_time(monkeypatch):
    monkeypatch.setattr(validation, "MOST_SECONDS", -1)


def test_an_archive_that_takes_too_long_to_inspect_is_refused(api, user, detector, no_time, media):
    answer = send_archive(api(user), zipped({"a.jpg": photo()}))
    assert faults(answer) == [("bad_archive", "archive")]
    assert "3 seconds of a processor's time" in answer.json()["errors"][0]["detail"]
    assert not Detection.objects.exists()


def test_a_batch_that_takes_too_long_to_inspect_is_refused(api, user, detector, no_time, media):
    answer = send_batch(api(user), photo(), photo())
    assert faults(answer) == [("corrupt_image", "images")]
    assert "3 seconds of a processor's time" in answer.json()["errors"][0]["detail"]
    assert not Detection.objects.exists()


@pytest.mark.parametrize("path", [IMAGE, BATCH])
def test_a_second_upload_of_a_busy_user_answers_503_with_retry_after(
    api, user, stranger, detector, monkeypatch, path
):
    monkeypatch.setattr("objectvision.lib.fair_slots.LONGEST_WAIT_SECONDS", 0)
    field = {IMAGE: "image", BATCH: "images"}[path]

    def upload(who):
        return api(who).post(path, {field: file_of(photo())}, format="multipart")

    with inspection.inspections.slot(user.pk):
        answer = upload(user)
        assert upload(stranger).status_code == 202
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "busy")
    assert "Retry-After" in answer.headers
    assert upload(user).status_code == 202


@pytest.mark.parametrize("form", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_takes_too_long_to_unpack_is_refused(api, user, detector, monkeypatch, media, form):
    monkeypatch.setattr(validation, "MOST_UNPACKING_SECONDS", 0)
    pictures = {"a.jpg": photo(), "b.jpg": photo()}
    answer = send_archive(api(user), zipped(pictures, form))
    assert faults(answer) == [("bad_archive", "archive")]
    assert "Unpacking the archive takes more than 10 seconds" in answer.json()["errors"][0]["detail"]
    assert [path for path in media.rglob("*") if path.is_file()] == []


def unpacking_to_nothing(megabytes):
    """An archive whose entry is made of empty blocks: all of it is work for one read."""
    content = b"\0\0\0\xff\xff" * (megabytes * (1 << 20) // 5)
    data = bytearray(zipped({"a.jpg": content}, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = zipfile.ZIP_DEFLATED
    return bytes(data)


def test_the_unpacking_time_is_checked_within_an_entry_of_empty_blocks():
    times = []

    def check():
        times.append(1)
        if len(times) == 5:
            raise validation.SlowFileError(validation.SLOW_TO_UNPACK)

    files = zip_reader.UploadedZip(BytesIO(unpacking_to_nothing(1))).files(check)
    with pytest.raises(validation.SlowFileError):
        next(files)
    assert len(times) == 5


def test_an_archive_with_one_entry_that_unpacks_too_long_is_refused(api, user, detector, monkeypatch, media):
    unpack = zip_reader.UploadedZip._blocks

    def use_up(archive, entry):
        archive._file.check.__self__.unpacking_until = 0
        return unpack(archive, entry)

    monkeypatch.setattr(zip_reader.UploadedZip, "_blocks", use_up)
    answer = send_archive(api(user), unpacking_to_nothing(1))
    assert faults(answer) == [("bad_archive", "archive")]
    assert "Unpacking the archive takes more than 10 seconds" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("path", [IMAGE, BATCH])
def test_an_upload_over_the_users_queue_limit_answers_429(api, user, stranger, detector, monkeypatch, path):
    monkeypatch.setattr("objectvision.lib.fair_slots.MOST_QUEUED", 1)
    field = {IMAGE: "image", BATCH: "images"}[path]

    def upload(who):
        return api(who).post(path, {field: file_of(photo())}, format="multipart")

    with inspection.inspections.queue(user.pk):
        answer = upload(user)
        assert upload(stranger).status_code == 202
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (429, "throttled")
    assert "1 requests of yours" in answer.json()["errors"][0]["detail"]
    assert answer.headers["Retry-After"] == "1"
    assert upload(user).status_code == 202


def test_a_failed_batch_leaves_the_queue(api, user, detector, monkeypatch):
    def save(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(FileSystemStorage, "_save", save)
    client = api(user)
    client.raise_request_exception = False
    assert send_batch(client, photo(), photo()).status_code == 503
    assert inspection.inspections._queued == {}


# Space


@pytest.fixture
def client(api, user):
    """The user's client; errors of the server become answers instead of exceptions."""
    client = api(user)
    client.raise_request_exception = False
    return client


def assert_nothing_is_left(answer, *folders):
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "unavailable"), answer.content
    assert answer.headers["Retry-After"]
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()
    assert [path for folder in folders for path in folder.rglob("*") if path.is_file()] == []


def noise(count):
    """Bytes that do not compress, the same each time."""
    return b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(count // 32))


def test_an_upload_to_a_full_disk_answers_503_and_leaves_nothing(client, detector, media):
    large = pictures.bmp(400, 400)
    with mounted(media, "size=64k"):
        answer = client.post(IMAGE, {"image": file_of(large, "a.bmp")}, format="multipart")
        assert_nothing_is_left(answer, media)
        answer = send_batch(client, photo(), large)
        assert_nothing_is_left(answer, media)
        assert client.post(IMAGE, {"image": file_of(photo())}, format="multipart").status_code == 202


def test_an_upload_to_a_read_only_disk_answers_503_and_leaves_nothing(client, detector, media):
    with mounted(media, "ro"):
        answer = client.post(IMAGE, {"image": file_of(photo())}, format="multipart")
        assert_nothing_is_left(answer, media)


def test_unpacking_to_a_full_disk_answers_503_and_leaves_nothing(client, detector, media, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    pattern = noise(10_000)
    large = pictures.bmp(1000, 1000)
    large = large[:54] + (pattern * 301)[: len(large) - 54]
    archive = zipped({"a.jpg": photo(), "large.bmp": large})
    assert len(archive) < 1 << 20
    with mounted(settings.FILE_UPLOAD_TEMP_DIR, "size=1m"):
        assert_nothing_is_left(send_archive(client, archive), media, settings.FILE_UPLOAD_TEMP_DIR)
    assert send_archive(client, archive).status_code == 202
    assert set(DetectionImage.objects.values_list("state", flat=True)) == {"waiting"}


def test_an_archive_of_too_many_entries_is_refused_before_zipfile_reads_it(client, detector, monkeypatch):
    import zipfile

    archive = zipped({f"{number}": b"" for number in range(1001)})

    def make(*_, **__):
        raise AssertionError("zipfile has read it")

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", make)
    answer = send_archive(client, archive)
    assert faults(answer) == [("bad_archive", "archive")]
    assert "too many entries" in answer.json()["errors"][0]["detail"]


def test_the_type_of_a_form_may_be_written_in_capitals(client, detector):
    body = encode_multipart("XX", {"image": file_of(photo())})
    assert client.generic("POST", IMAGE, body, "Multipart/Form-Data; BOUNDARY=XX").status_code == 202


def test_a_compressed_body_answers_415(client, detector):
    answer = client.post(
        IMAGE, {"image": file_of(photo())}, format="multipart", headers={"Content-Encoding": "gzip"}
    )
    assert faults(answer, 415) == [("unsupported_media_type", None)]
    assert "Content-Encoding" in answer.json()["errors"][0]["detail"]
