"""Uploads of one image, their detections and annotated pictures over the API."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from PIL import Image
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.models import UserSettings
from detections.api import uploads
from detections.jobs import processing, snapshots
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from objectvision.lib import wakeups
from testing.api import IMAGE, MULTIPART, content_of, faults
from testing.files.pictures import HOSTILE, photo
from testing.waiting import until

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def url(detection, page=""):
    return f"/api/v1/detect/{detection.pk}{page}"


def upload(client, content=None, headers=None, **fields):
    file = SimpleUploadedFile("bus.jpg", photo(64, 64, BLACK) if content is None else content)
    return client.post(IMAGE, {"image": file, **fields}, format="multipart", headers=headers)


def test_an_uploaded_image_answers_202_with_its_job(api, user, detector):
    response = upload(api(user))
    detection = Detection.objects.get()
    job_url = f"http://testserver/api/v1/detect/jobs/{detection.pk}"
    assert response.status_code == 202
    assert response.json() == {
        "detection_id": str(detection.pk),
        "job_id": str(detection.pk),
        "status": "pending",
        "job_url": job_url,
    }
    assert response["Location"] == job_url
    assert response["Retry-After"] == "1"
    assert detection.user == user
    assert detection.images.get().original_name == "bus.jpg"
    assert api(user).get(job_url).json()["status"] == "pending"


def test_links_use_api_base_url_if_set(api, user, detector, settings):
    settings.API_BASE_URL = "https://api.example.com/pictures/"
    response = upload(api(user))
    job_url = f"https://api.example.com/pictures/api/v1/detect/jobs/{Detection.objects.get().pk}"
    assert (response.json()["job_url"], response["Location"]) == (job_url, job_url)


def test_name_is_public_and_confidence_are_read_from_the_form(api, user, detector):
    upload(api(user), name="Holiday", is_public="true", confidence="0.6")
    detection = Detection.objects.get()
    assert (detection.name, detection.is_public, detection.parameters["confidence"]) == ("Holiday", True, 0.6)


@pytest.mark.parametrize("fields", [{}, {"confidence": "", "name": ""}])
def test_without_a_confidence_that_of_the_environment_is_used(api, user, detector, settings, fields):
    settings.CONFIDENCE_THRESHOLD = 0.45
    upload(api(user), **fields)
    detection = Detection.objects.get()
    assert (detection.name, detection.is_public, detection.parameters["confidence"]) == ("", False, 0.45)
    process_waiting()
    assert list(detection.results.values_list("object_class", flat=True)) == ["alpha"]


@pytest.mark.parametrize("confidence", ["0", "1", "0.5", "1e-3"])
def test_a_confidence_from_0_to_1_is_accepted(api, user, detector, confidence):
    assert upload(api(user), confidence=confidence).status_code == 202
    assert Detection.objects.get().parameters["confidence"] == float(confidence)


@pytest.mark.parametrize(
    ("confidence", "code", "told"),
    [
        ("1.01", "max_value", "less than or equal to 1"),
        ("-0.1", "min_value", "greater than or equal to 0"),
        ("inf", "invalid", "number"),
        ("nan", "invalid", "number"),
        ("high", "invalid", "number"),
    ],
)
def test_a_confidence_out_of_range_is_refused_with_the_range(
    api, user, detector, nothing_stored, confidence, code, told
):
    response = upload(api(user), confidence=confidence)
    assert faults(response) == [(code, "confidence")]
    assert told in response.json()["errors"][0]["detail"]


def test_an_upload_without_a_detector_answers_503_naming_prepare_detector(api, user, nothing_stored):
    client = api(user)
    client.raise_request_exception = False
    response = upload(client)
    assert faults(response, 503) == [("no_detector", None)]
    assert "prepare_detector" in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_code_and_nothing_is_stored(
    api, user, detector, nothing_stored, caplog, name
):
    content, code = HOSTILE[name]
    response = upload(api(user), content)
    assert faults(response) == [(code, "image")]
    assert caplog.records == []


def test_a_file_over_max_upload_mb_is_refused_with_its_size_and_the_limit(
    api, user, detector, nothing_stored, settings
):
    settings.MAX_UPLOAD_MB = 1
    response = upload(api(user), photo() + bytes(1 << 20))
    assert faults(response) == [("too_large", "image")]
    assert response.json()["errors"][0]["detail"] == "The file is 1.1 MB; at most 1 MB are allowed."


def test_a_picture_with_too_many_pixels_is_refused_with_the_limit(
    api, user, detector, nothing_stored, settings
):
    settings.MAX_IMAGE_PIXELS = 4095
    response = upload(api(user), photo(64, 64))
    assert faults(response) == [("too_many_pixels", "image")]
    assert "4,095" in response.json()["errors"][0]["detail"]


def test_a_file_of_another_name_is_refused(api, user, detector, nothing_stored):
    files = {"picture": SimpleUploadedFile("bus.jpg", photo())}
    response = api(user).post(IMAGE, files, format="multipart")
    assert faults(response) == [("required", "image"), ("unknown_field", "picture")]


@pytest.mark.parametrize("fields", [{}, {"name": "Holiday"}])
def test_without_a_file_the_image_is_required(api, user, detector, nothing_stored, fields):
    response = api(user).post(IMAGE, fields, format="multipart")
    assert faults(response) == [("required", "image")]


@pytest.mark.parametrize("value", ["text", "", "/etc/passwd", "data:image/png;base64,AAAA"])
def test_text_in_place_of_a_file_is_refused(api, user, detector, nothing_stored, value):
    response = api(user).post(IMAGE, {"image": value}, format="multipart")
    assert faults(response) == [("invalid", "image")]


PART = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", PART + b"\r\n" + photo() + b"\r\n--edge--\r\n"),
        ("multipart/form-data; boundary=", PART + b"\r\n" + photo() + b"\r\n--edge--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 300, b""),
        (MULTIPART, b""),
        (MULTIPART, b"nonsense"),
        (MULTIPART, PART),
        (MULTIPART, b"--edge--\r\n"),
        (MULTIPART, PART + b"Content-Transfer-Encoding: base64\r\n\r\n!!!\r\n--edge--\r\n"),
        (MULTIPART, PART + b"Content-Type: image/jpeg; charset=utf-77\r\n\r\nx\r\n--edge--\r\n"),
        (MULTIPART, b'--edge\r\nContent-Disposition: form-data; name="image\r\n\r\nx\r\n--edge--\r\n'),
        (MULTIPART + "; charset=nonsense", PART + b"\r\nx\r\n--edge--\r\n"),
        (MULTIPART + "; charset=rot13", PART + b"\r\nx\r\n--edge--\r\n"),
    ],
)
def test_a_malformed_form_answers_400_and_logs_no_error(
    api, user, detector, nothing_stored, caplog, content_type, body
):
    response = api(user).generic("POST", IMAGE, body, content_type=content_type)
    kind = response.json()["type"]
    assert kind in {"client_error", "validation_error"}
    assert faults(response, 400, kind)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("kind", ["application/json", "image/jpeg", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_multipart_answers_415(api, user, detector, nothing_stored, kind):
    response = api(user).generic("POST", IMAGE, b"{}", content_type=kind)
    assert faults(response, 415) == [("unsupported_media_type", None)]


def test_an_anonymous_upload_answers_401(api, detector, nothing_stored):
    assert faults(upload(api()), 401) == [("not_authenticated", None)]


def test_a_name_over_200_characters_is_refused(api, user, detector, nothing_stored):
    response = upload(api(user), name="x" * 201)
    assert faults(response) == [("max_length", "name")]


def test_a_failed_insert_answers_503_and_leaves_no_file(api, user, detector, nothing_stored):
    client = api(user)
    client.raise_request_exception = False

    def full(run, sql, *rest):
        if 'INSERT INTO "detections_detectionimage"' in sql:
            raise OperationalError("disk full")
        return run(sql, *rest)

    with connection.execute_wrapper(full):
        response = upload(client)
    assert faults(response, 503) == [("unavailable", None)]


# Uploads that wait for results


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("wait=10", 10),
        ("WAIT=10", 10),
        (" wait = 10 ", 10),
        ('wait="5"', 5),
        ("respond-async, wait=3", 3),
        ("wait=4; foo=bar", 4),
        ("wait=0", 0),
        ("wait=30", 30),
        ("wait=31", 30),
        ("wait=" + "9" * 400, 30),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=soon", 0),
        ("wait=", 0),
        ("wait", 0),
        ("wait=²", 0),
        ("return=minimal", 0),
        ("", 0),
    ],
)
def test_prefer_wait_is_parsed_and_malformed_values_are_ignored(prefer, seconds):
    headers = {} if prefer is None else {"Prefer": prefer}
    request = Request(APIRequestFactory().post(IMAGE, headers=headers))
    assert uploads.preferred_wait(request) == seconds


@pytest.fixture
def without_polling(monkeypatch):
    monkeypatch.setattr(wakeups, "LOOK_AGAIN_SECONDS", 60)


@pytest.mark.django_db(transaction=True)
def test_a_waiting_upload_answers_with_the_finished_detection(api, user, detector, eager):
    client = api(user)
    response = upload(client, headers={"Prefer": "wait=20"})
    assert response.status_code == 200
    assert "Location" not in response
    detection = Detection.objects.get()
    assert response.json() == client.get(url(detection)).json()
    assert response.json()["status"] == "completed"
    assert len(response.json()["images"][0]["results"]) == 2


OF_TRANSACTIONS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


@pytest.fixture
def statements():
    """The SQL statements of a block, without those that begin and end transactions."""

    @contextmanager
    def noted():
        sent = []
        with CaptureQueriesContext(connection) as captured:
            yield sent
        sent += [each["sql"] for each in captured if not each["sql"].startswith(OF_TRANSACTIONS)]

    return noted


@pytest.mark.django_db(transaction=True)
def test_a_photo_takes_9_statements_from_request_to_answer(
    api, user, detector, eager, statements, monkeypatch
):
    monkeypatch.setattr(processing, "BEGIN_SECONDS", 60)  # on a busy machine, too
    client = api(user)
    with statements() as sent:
        assert upload(client, headers={"Prefer": "wait=20"}).status_code == 200
    # Session, detector, end of the line, the upload's rows; detectors with images, claim, what is still
    # claimed, webhooks, all that is recorded. SQLite inserts table by table.
    assert len(sent) == (4 + 5 if connection.vendor == "postgresql" else 5 + 9)


@pytest.mark.django_db(transaction=True)
def test_a_photo_of_many_results_is_answered_by_its_rows(api, user, detector, eager, statements, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_RESULTS", 1)
    client = api(user)
    with statements() as sent:
        response = upload(client, headers={"Prefer": "wait=20"})
    assert any('FROM "detections_detectionresult"' in each for each in sent)
    assert len(response.json()["images"][0]["results"]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_of_a_worker_of_another_version_is_answered_by_rows(
    api, user, detector, eager, monkeypatch
):
    columns = snapshots.columns
    monkeypatch.setattr(snapshots, "columns", lambda row: {**columns(row), "new": 1})
    client = api(user)
    response = upload(client, headers={"Prefer": "wait=20"})
    assert response.json() == client.get(url(Detection.objects.get())).json()


@pytest.mark.parametrize("text", ["5", "[1, 2, 3]", "[[], [], []]", "null", "[", '"text"', "wrong values"])
@pytest.mark.django_db(transaction=True)
def test_a_wake_up_that_is_no_snapshot_is_answered_by_rows(api, user, detector, eager, monkeypatch, text):
    taken = snapshots.taken

    def changed(detection, image, results):
        return (
            text if text != "wrong values" else taken(detection, image, results).replace(str(image.pk), "?")
        )

    monkeypatch.setattr(snapshots, "taken", changed)
    response = upload(api(user), headers={"Prefer": "wait=20"})
    assert response.json()["status"] == "completed"


@pytest.mark.django_db(transaction=True)
def test_a_repeated_upload_is_answered_by_its_rows_not_by_its_first_wake_up(api, user, detector, eager):
    client, headers = api(user), {"Prefer": "wait=20", "Idempotency-Key": "once"}
    first = upload(client, headers=headers).json()
    assert client.patch(url(Detection.objects.get()), {"name": "Renamed"}, format="json").status_code == 200
    assert upload(client, headers=headers).json() == {**first, "name": "Renamed"}


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_waiting_upload_is_woken_by_the_worker(at_once, api, user, detector, without_polling):
    def worker():
        until(DetectionImage.objects.waiting().exists)
        until(lambda: wakeups._told)
        process_waiting()

    response, _ = at_once(lambda: upload(api(user), headers={"Prefer": "wait=30"}), worker)
    assert response.status_code == 200
    assert response.json()["status"] == "completed"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_waiting_uploads_hold_no_database_connections(at_once, api, user, detector, stopping):
    """More uploads wait than there are connections, and another request is answered."""
    pool = connection.pool.max_size

    def upload_all():
        with ThreadPoolExecutor(pool + 4) as clients:
            waits = [
                clients.submit(upload, api(user), headers={"Prefer": "wait=30"}) for _ in range(pool + 4)
            ]
            until(lambda: len(wakeups._told) == pool + 4)
            assert api(user).get("/api/v1/users/get-profile").status_code == 200
            process_waiting()
            return [wait.result() for wait in waits]

    (responses,) = at_once(upload_all)
    assert [response.status_code for response in responses] == [200] * (pool + 4)


@pytest.mark.django_db(transaction=True)
def test_an_upload_that_waits_too_long_answers_202_with_its_job(api, user, detector):
    started = time.monotonic()
    response = upload(api(user), headers={"Prefer": "wait=1"})
    assert time.monotonic() - started >= 1
    assert response.status_code == 202
    assert response.json()["status"] == "pending"
    assert response["Location"].endswith(f"/jobs/{Detection.objects.get().pk}")


def test_a_waiting_upload_answers_404_if_its_detection_is_deleted(at_once, api, user, detector):
    def delete():
        detection = until(Detection.objects.first, 10)
        assert api(user).delete(url(detection)).status_code == 204

    response, _ = at_once(lambda: upload(api(user), headers={"Prefer": "wait=2"}), delete)
    assert faults(response, 404) == [("not_found", None)]


@pytest.mark.django_db(transaction=True)
def test_a_waiting_upload_is_answered_when_the_server_stops(api, user, detector, stopping):
    wakeups.stop()
    started = time.monotonic()
    response = upload(api(user), headers={"Prefer": "wait=30"})
    assert time.monotonic() - started < 25
    assert response.status_code == 202


# Jobs and detections


@pytest.fixture
def done(submit, user):
    """A detection that is processed, with two images."""
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, WHITE))
    process_waiting()
    detection.refresh_from_db()
    return detection


def test_a_job_shows_its_progress_from_pending_to_completed(api, user, stranger, submit, detector):
    submit(stranger, photo())
    detection = submit(user, photo(), photo())
    client = api(user)
    job = client.get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert set(job) == {
        "job_id", "detection_id", "status", "progress", "queue_position", "created_at", "started_at",
        "finished_at", "error",
    }  # fmt: skip  # as the contract lists them
    assert (job["job_id"], job["detection_id"]) == (str(detection.pk), str(detection.pk))
    assert (job["status"], job["queue_position"]) == ("pending", 2)
    assert job["progress"] == {"total": 2, "processed": 0, "failed": 0, "percent": 0}
    assert (job["started_at"], job["finished_at"]) == (None, None)
    DetectionImage.objects.claim(detector, 1)
    processing.process_claim(
        DetectionImage.objects.claim(detector, 1), processing.cached_detector(detector.path, detector.backend)
    )
    job = client.get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert (job["status"], job["queue_position"]) == ("processing", 1)
    assert job["progress"] == {"total": 2, "processed": 1, "failed": 0, "percent": 50}
    process_waiting()
    job = client.get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert (job["status"], job["queue_position"], job["error"]) == ("completed", 0, "")
    assert job["progress"] == {"total": 2, "processed": 2, "failed": 0, "percent": 100}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_a_detection_shows_its_images_and_results_by_confidence(api, user, submit):
    detection = submit(user, photo(128, 128, BLACK), confidence=0.05)
    process_waiting()
    content = api(user).get(url(detection)).json()
    (image,) = content.pop("images")
    results = image.pop("results")
    assert image.pop("results_total") == len(results)
    assert set(content) == {
        "id", "name", "status", "detector", "parameters", "source", "total", "processed", "failed",
        "is_public", "moderation", "moderation_reason",
        "error", "created_at", "started_at", "finished_at",
    }  # fmt: skip  # as the contract lists them
    assert (content["id"], content["status"], content["detector"]) == (
        str(detection.pk),
        "completed",
        "standin",
    )
    assert image.pop("inference_ms") > 0
    assert image == {
        "id": str(detection.images.get().pk),
        "original_name": "photo-1.jpg",
        "width": 128,
        "height": 128,
        "state": "done",
        "processed": True,
        "error": None,
    }
    assert [(row["object_class"], row["class_id"]) for row in results] == [
        ("alpha", 0),
        ("beta", 1),
        ("alpha", 0),
    ]
    assert [row["confidence"] for row in results] == pytest.approx([0.5, 0.4, 0.1], abs=0.01)
    assert results[0]["bbox"] == {"x1": 16, "y1": 16, "x2": 80, "y2": 64, "width": 64, "height": 48}
    assert results[0]["bbox_normalized"] == {"x": 0.125, "y": 0.125, "width": 0.5, "height": 0.375}
    assert {row["id"] for row in results} == {
        str(pk) for pk in DetectionResult.objects.values_list("pk", flat=True)
    }


def test_a_failed_image_shows_its_error(api, user, submit):
    detection = submit(user, photo(), photo())
    default_storage.delete(detection.images.order_by("id").first().image_path)
    process_waiting()
    failed, good = api(user).get(url(detection)).json()["images"]
    assert (failed["state"], failed["processed"], failed["results"]) == ("failed", False, [])
    assert failed["error"] == {
        "code": "file_missing",
        "detail": "The image's file is no longer in the storage.",
    }
    assert (good["state"], good["error"], len(good["results"])) == ("done", None, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_showing_a_detection_takes_four_queries(api, user, submit, django_assert_num_queries, count):
    detection = submit(user, *[photo()] * count)
    process_waiting()
    client = api(user)
    with django_assert_num_queries(4):  # session and user; detection and detector; images; results
        assert len(client.get(url(detection)).json()["images"]) == count


def test_showing_a_job_takes_three_queries(api, user, submit, django_assert_num_queries):
    detection = submit(user, photo())
    client = api(user)
    with django_assert_num_queries(3):  # session and user; detection; its place
        client.get(f"/api/v1/detect/jobs/{detection.pk}")


PAGES = ["/api/v1/detect/jobs/{}", "/api/v1/detect/{}", "/api/v1/detect/{}/image"]


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_gets_the_same_404_as_for_a_missing_detection(api, user, stranger, done, page):
    assert api(user).get(page.format(done.pk)).status_code == 200
    theirs, none = api(stranger).get(page.format(done.pk)), api(stranger).get(page.format(uuid4()))
    assert faults(theirs, 404) == [("not_found", None)]
    assert theirs.content == none.content


@pytest.mark.parametrize("page", PAGES)
def test_staff_get_404_for_detections_of_others(api, stranger, done, page):
    stranger.is_staff = stranger.is_superuser = True
    stranger.save()
    assert faults(api(stranger).get(page.format(done.pk)), 404) == [("not_found", None)]


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_request_answers_401(api, done, page):
    response = api().get(page.format(done.pk))
    assert faults(response, 401) == [("not_authenticated", None)]
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("page", PAGES)
def test_an_unsupported_method_answers_405(api, user, done, page):
    assert faults(api(user).post(page.format(done.pk), {}), 405) == [("method_not_allowed", None)]


# The annotated picture


def picture(client, detection, **headers):
    return client.get(url(detection, "/image"), headers=headers)


def test_the_annotated_picture_is_a_jpeg_of_the_first_image_with_boxes(api, user, submit):
    detection = submit(user, photo(400, 300, BLACK), photo(64, 64, WHITE))
    process_waiting()
    response = picture(api(user), detection)
    assert response.status_code == 200
    assert response["Content-Type"] == "image/jpeg"
    assert response["Cache-Control"] == "private, no-cache"
    content = content_of(response)
    assert response["Content-Length"] == str(len(content))
    image = Image.open(BytesIO(content))
    assert (image.format, image.size, image.mode) == ("JPEG", (400, 300), "RGB")
    assert max(high for _, high in image.getextrema()) > 128  # black before


def test_a_large_annotated_picture_is_streamed_completely(api, user, submit):
    noise = Image.effect_noise((1200, 1200), 100).convert("RGB")
    file = BytesIO()
    noise.save(file, "JPEG", quality=95)
    detection = submit(user, file.getvalue())
    process_waiting()
    content = content_of(picture(api(user), detection))
    assert len(content) > 1 << 17
    assert Image.open(BytesIO(content)).convert("RGB").size == (1200, 1200)


@pytest.mark.parametrize("accept", ["image/jpeg", "image/*", "text/html", "application/json", "nonsense"])
def test_the_annotated_picture_ignores_the_accept_header(api, user, done, accept):
    response = picture(api(user), done, Accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, "image/jpeg")


def test_an_unchanged_annotated_picture_answers_304(api, user, done):
    client = api(user)
    etag = picture(client, done)["ETag"]
    assert picture(client, done)["ETag"] == etag
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        response = picture(client, done, **{"If-None-Match": known})
        assert (response.status_code, response["ETag"], response.content) == (304, etag, b"")
    assert picture(client, done, **{"If-None-Match": '"other"'}).status_code == 200


def test_another_or_a_reprocessed_picture_has_another_etag(api, user, done, submit):
    client = api(user)
    before = picture(client, done)["ETag"]
    another = submit(user, photo())
    process_waiting()
    assert picture(client, another)["ETag"] != before
    done.images.update(state="waiting")
    process_waiting()
    assert picture(client, done)["ETag"] != before


def test_a_stranger_with_the_etag_gets_404(api, user, stranger, done):
    etag = picture(api(user), done)["ETag"]
    response = picture(api(stranger), done, **{"If-None-Match": etag})
    assert faults(response, 404) == [("not_found", None)]


def test_the_annotated_picture_of_a_waiting_image_answers_409(api, user, submit):
    detection = submit(user, photo())
    assert faults(picture(api(user), detection), 409) == [("not_processed", None)]


def test_the_annotated_picture_of_a_failed_image_answers_409(api, user, submit):
    detection = submit(user, photo())
    default_storage.delete(detection.images.get().image_path)
    process_waiting()
    assert faults(picture(api(user), detection), 409) == [("not_processed", None)]


def test_a_picture_whose_file_was_damaged_answers_409_with_the_reason(api, user, done, media):
    image = done.images.order_by("id").first()
    (media / image.image_path).write_bytes(photo()[:200])
    answer = picture(api(user), done)
    assert faults(answer, 409) == [("no_file", None)]
    assert answer.json()["errors"][0]["detail"].startswith("The picture cannot be decoded: ")


def test_the_annotated_picture_of_a_lost_file_answers_404(api, user, done):
    default_storage.delete(done.images.order_by("id").first().image_path)
    response = picture(api(user), done)
    assert faults(response, 404) == [("not_found", None)]
    assert default_storage.location not in response.content.decode()


def test_the_annotated_picture_of_a_detection_without_images_answers_404(api, user, detector):
    detection = Detection.objects.create(user=user, detector=detector)
    assert faults(picture(api(user), detection), 404) == [("not_found", None)]


# Classes and the user's defaults


def parameters(response):
    assert response.status_code == 202, response.content
    return Detection.objects.get(pk=response.json()["detection_id"]).parameters


@pytest.mark.parametrize(
    ("classes", "ids"),
    [("beta", [1]), ("1", [1]), (" beta , alpha,beta ", [0, 1]), ("", None), (",", None), ("*", None)],
)
def test_classes_can_be_given_by_name_or_number(api, user, detector, classes, ids):
    assert parameters(upload(api(user), classes=classes))["classes"] == ids


def test_only_the_requested_classes_are_recorded(api, user, detector):
    upload(api(user), confidence="0.05", classes="beta")
    process_waiting()
    assert set(DetectionResult.objects.values_list("object_class", flat=True)) == {"beta"}


@pytest.mark.parametrize("classes", ["gamma", "alpha,gamma", "2", "-1", "Alpha"])
def test_an_unknown_class_is_refused_with_the_known_classes(api, user, detector, nothing_stored, classes):
    response = upload(api(user), classes=classes)
    assert faults(response) == [("unknown_class", "classes")]
    assert "alpha, beta" in response.json()["errors"][0]["detail"]


def test_a_class_name_takes_precedence_over_a_class_number(api, user, detector):
    detector.classes = ["zero", "0"]
    detector.save()
    assert parameters(upload(api(user), classes="0"))["classes"] == [1]


def test_user_settings_apply_where_a_request_gives_no_values(api, user, detector):
    UserSettings.objects.create(user=user, default_confidence=0.6, default_classes=["beta", "person"])
    client = api(user)
    by_default = parameters(upload(client))
    assert (by_default["confidence"], by_default["classes"]) == (0.6, [1])
    named = parameters(upload(client, confidence="0.3", classes="alpha"))
    assert (named["confidence"], named["classes"]) == (0.3, [0])
    assert parameters(upload(client, classes="*"))["classes"] is None


def test_a_default_confidence_of_zero_is_used(api, user, detector):
    UserSettings.objects.create(user=user, default_confidence=0)
    assert parameters(upload(api(user)))["confidence"] == 0


def test_unknown_default_classes_are_refused_naming_the_user_settings(api, user, detector, nothing_stored):
    UserSettings.objects.create(user=user, default_classes=["person"])
    response = upload(api(user))
    assert faults(response) == [("unknown_class", "classes")]
    assert "default_classes of your settings" in response.json()["errors"][0]["detail"]


def test_the_defaults_of_another_user_are_not_used(api, user, stranger, detector):
    UserSettings.objects.create(user=stranger, default_confidence=0.6, default_classes=["beta"])
    mine = parameters(upload(api(user)))
    assert (mine["confidence"], mine["classes"]) == (0.25, None)


# Parameters


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        ("iou", "0.5", 0.5),
        ("max_detections", "7", 7),
        ("augment", "true", True),
        ("tile", "640", 640),
        ("overlap", "0.3", 0.3),
        ("image_size", "64", None),
    ],
)
def test_parameters_are_stored_with_the_detection(api, user, detector, name, sent, kept):
    assert parameters(upload(api(user), **{name: sent}))[name] == kept


def test_an_image_size_is_accepted_if_the_weights_take_any_size(api, user, detector):
    Detector.objects.update(takes_any_size=True)
    assert parameters(upload(api(user), image_size="640"))["image_size"] == 640


@pytest.mark.parametrize(
    ("name", "sent", "code", "told"),
    [
        ("iou", "1.1", "max_value", "1"),
        ("max_detections", "0", "min_value", "1"),
        ("max_detections", "3001", "max_value", "3000"),
        ("tile", "63", "min_value", "64"),
        ("tile", "0", "min_value", "64"),
        ("overlap", "0.6", "max_value", "0.5"),
        ("augment", "perhaps", "invalid", "true or false"),
        ("image_size", "100", "invalid", "multiple of 32"),
        ("image_size", "640", "fixed_size", "64"),
        ("detector", "yolo99", "unknown_detector", "standin"),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_the_range(
    api, user, detector, nothing_stored, name, sent, code, told
):
    response = upload(api(user), **{name: sent})
    assert faults(response) == [(code, name)]
    assert told in response.json()["errors"][0]["detail"]


def test_a_picture_of_over_64_tiles_is_refused(api, user, detector, nothing_stored):
    response = upload(api(user), photo(2000, 2000), tile="64")
    assert faults(response) == [("too_many_tiles", "tile")]
    assert "at most 64" in response.json()["errors"][0]["detail"]


def test_a_detector_is_chosen_by_name(api, user, detector):
    second = Detector.objects.get()
    second.pk, second.name, second.is_default = None, "second", False
    second.id = uuid4()
    second.save(force_insert=True)
    upload(api(user), detector="second")
    assert Detection.objects.get().detector == second
    upload(api(user), detector="")
    assert Detection.objects.newest_first().first().detector.name == "standin"
    second.is_active = False
    second.save()
    assert faults(upload(api(user), detector="second")) == [("unknown_detector", "detector")]
