"""A photo goes in over HTTP, rows and an annotated picture come out; the stranger gets nothing of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from PIL import Image
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.models import UserSettings
from detections import processing, upload_views
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from detections.tests.answers import content_of
from detections.tests.images import HOSTILE
from notifications import news
from objectvision.tests.stack import photo, until

UPLOAD = "/api/v1/detect/image"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def url(detection, page=""):
    return f"/api/v1/detect/{detection.pk}{page}"


def upload(client, content=None, headers=None, **fields):
    file = SimpleUploadedFile("bus.jpg", photo(64, 64, BLACK) if content is None else content)
    return client.post(UPLOAD, {"image": file, **fields}, format="multipart", headers=headers)


def process():
    processing.run(lambda: None)


def faults(response, status, kind="client_error"):
    """Code and field of every error in an answer of the contract's form."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/json")
    content = response.json()
    assert set(content) == {"type", "errors"}
    assert content["type"] == kind
    assert all(set(error) == {"code", "detail", "attr"} and error["detail"] for error in content["errors"])
    return [(error["code"], error["attr"]) for error in content["errors"]]


@pytest.fixture
def nothing_stored(media):
    """What a refusal leaves behind."""
    yield
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


# Sending an image


def test_an_image_is_taken_and_its_job_is_told(api, user, detector):
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


def test_links_go_by_the_address_that_clients_use_where_it_is_set(api, user, detector, settings):
    settings.API_BASE_URL = "https://api.example.com/pictures/"
    response = upload(api(user))
    job_url = f"https://api.example.com/pictures/api/v1/detect/jobs/{Detection.objects.get().pk}"
    assert (response.json()["job_url"], response["Location"]) == (job_url, job_url)


def test_name_visibility_and_confidence_are_taken_from_the_form(api, user, detector):
    upload(api(user), name="Holiday", is_public="true", confidence="0.6")
    detection = Detection.objects.get()
    assert (detection.name, detection.is_public, detection.parameters["confidence"]) == ("Holiday", True, 0.6)


@pytest.mark.parametrize("fields", [{}, {"confidence": "", "name": ""}])
def test_without_a_confidence_the_environments_holds(api, user, detector, settings, fields):
    settings.CONFIDENCE_THRESHOLD = 0.45
    upload(api(user), **fields)
    detection = Detection.objects.get()
    assert (detection.name, detection.is_public, detection.parameters["confidence"]) == ("", False, 0.45)
    process()
    assert list(detection.results.values_list("object_class", flat=True)) == ["alpha"]


@pytest.mark.parametrize("confidence", ["0", "1", "0.5", "1e-3"])
def test_a_confidence_within_its_range_is_taken(api, user, detector, confidence):
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
def test_a_confidence_out_of_range_is_refused_naming_the_range(
    api, user, detector, nothing_stored, confidence, code, told
):
    response = upload(api(user), confidence=confidence)
    assert faults(response, 400, "validation_error") == [(code, "confidence")]
    assert told in response.json()["errors"][0]["detail"]


def test_without_a_detector_the_answer_is_503_and_says_what_to_do(api, user, nothing_stored):
    client = api(user)
    client.raise_request_exception = False
    response = upload(client)
    assert faults(response, 503, "server_error") == [("no_detector", None)]
    assert "prepare_detector" in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_file_is_refused_with_its_code_and_leaves_nothing(
    api, user, detector, nothing_stored, caplog, name
):
    content, code = HOSTILE[name]
    response = upload(api(user), content)
    assert faults(response, 400, "validation_error") == [(code, "image")]
    assert caplog.records == []


def test_a_file_over_the_limit_is_refused_naming_both(api, user, detector, nothing_stored, settings):
    settings.MAX_UPLOAD_MB = 1
    response = upload(api(user), photo() + bytes(1 << 20))
    assert faults(response, 400, "validation_error") == [("too_large", "image")]
    assert response.json()["errors"][0]["detail"] == "The file is 1.1 MB; at most 1 MB are allowed."


def test_a_picture_with_too_many_pixels_is_refused_naming_the_limit(
    api, user, detector, nothing_stored, settings
):
    settings.MAX_IMAGE_PIXELS = 4095
    response = upload(api(user), photo(64, 64))
    assert faults(response, 400, "validation_error") == [("too_many_pixels", "image")]
    assert "4,095" in response.json()["errors"][0]["detail"]


def test_every_file_of_a_form_counts_but_only_the_image_is_read(api, user, detector, nothing_stored):
    files = {"picture": SimpleUploadedFile("bus.jpg", photo())}
    assert faults(api(user).post(UPLOAD, files, format="multipart"), 400, "validation_error") == [
        ("required", "image")
    ]


@pytest.mark.parametrize("fields", [{}, {"name": "Holiday"}])
def test_without_a_file_the_image_is_required(api, user, detector, nothing_stored, fields):
    response = api(user).post(UPLOAD, fields, format="multipart")
    assert faults(response, 400, "validation_error") == [("required", "image")]


@pytest.mark.parametrize("value", ["text", "", "/etc/passwd", "data:image/png;base64,AAAA"])
def test_text_in_place_of_a_file_is_refused(api, user, detector, nothing_stored, value):
    response = api(user).post(UPLOAD, {"image": value}, format="multipart")
    assert faults(response, 400, "validation_error") == [("invalid", "image")]


MULTIPART = "multipart/form-data; boundary=edge"
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
def test_a_malformed_form_is_400_and_no_fault_of_ours(
    api, user, detector, nothing_stored, caplog, content_type, body
):
    response = api(user).generic("POST", UPLOAD, body, content_type=content_type)
    kind = response.json()["type"]
    assert kind in {"client_error", "validation_error"}
    assert len(faults(response, 400, kind)) == 1
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("kind", ["application/json", "image/jpeg", "application/x-www-form-urlencoded", ""])
def test_another_kind_of_body_is_415(api, user, detector, nothing_stored, kind):
    response = api(user).generic("POST", UPLOAD, b"{}", content_type=kind)
    assert faults(response, 415) == [("unsupported_media_type", None)]


def test_whoever_is_not_logged_in_sends_nothing(api, detector, nothing_stored):
    assert faults(upload(api()), 401) == [("not_authenticated", None)]


def test_a_name_may_be_long_but_not_longer(api, user, detector, nothing_stored):
    response = upload(api(user), name="x" * 201)
    assert faults(response, 400, "validation_error") == [("max_length", "name")]


def test_rows_that_cannot_be_written_leave_no_file(api, user, detector, nothing_stored):
    client = api(user)
    client.raise_request_exception = False

    def full(run, sql, *rest):
        if sql.startswith('INSERT INTO "detections_detectionimage"'):
            raise OperationalError("disk full")
        return run(sql, *rest)

    with connection.execute_wrapper(full):
        response = upload(client)
    assert faults(response, 503, "server_error") == [("unavailable", None)]


# Waiting for the answer


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
def test_a_preference_to_wait_is_read_and_what_is_none_is_ignored(prefer, seconds):
    headers = {} if prefer is None else {"Prefer": prefer}
    request = Request(APIRequestFactory().post(UPLOAD, headers=headers))
    assert upload_views.preferred_wait(request) == seconds


@pytest.fixture
def only_news_wakes(monkeypatch):
    monkeypatch.setattr(news, "LOOK_AGAIN_SECONDS", 60)


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_gets_the_finished_detection(api, user, detector, eager):
    client = api(user)
    response = upload(client, headers={"Prefer": "wait=20"})
    assert response.status_code == 200
    assert "Location" not in response
    detection = Detection.objects.get()
    assert response.json() == client.get(url(detection)).json()
    assert response.json()["status"] == "completed"
    assert len(response.json()["images"][0]["results"]) == 2


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_whoever_waits_is_woken_by_the_worker(at_once, api, user, detector, only_news_wakes):
    def worker():
        until(DetectionImage.objects.waiting().exists)
        until(lambda: news._waiting)
        process()

    response, _ = at_once(lambda: upload(api(user), headers={"Prefer": "wait=30"}), worker)
    assert response.status_code == 200
    assert response.json()["status"] == "completed"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_whoever_waits_holds_no_connection(at_once, api, user, detector, stopping):
    """More of them wait than there are connections, and others get their answers."""
    pool = connection.pool.max_size

    def everybody():
        with ThreadPoolExecutor(pool + 4) as clients:
            waits = [
                clients.submit(upload, api(user), headers={"Prefer": "wait=30"}) for _ in range(pool + 4)
            ]
            until(lambda: len(news._waiting) == pool + 4)
            assert api(user).get("/api/v1/users/get-profile").status_code == 200
            process()
            return [wait.result() for wait in waits]

    (responses,) = at_once(everybody)
    assert [response.status_code for response in responses] == [200] * (pool + 4)


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_in_vain_gets_the_job(api, user, detector):
    started = time.monotonic()
    response = upload(api(user), headers={"Prefer": "wait=1"})
    assert 1 <= time.monotonic() - started < 10
    assert response.status_code == 202
    assert response.json()["status"] == "pending"
    assert response["Location"].endswith(f"/jobs/{Detection.objects.get().pk}")


def test_whoever_waits_for_what_is_deleted_meanwhile_is_told_that_it_is_gone(at_once, api, user, detector):
    def delete():
        detection = until(Detection.objects.first, 10)
        assert api(user).delete(url(detection)).status_code == 204

    response, _ = at_once(lambda: upload(api(user), headers={"Prefer": "wait=2"}), delete)
    assert faults(response, 404) == [("not_found", None)]


@pytest.mark.django_db(transaction=True)
def test_a_server_that_stops_keeps_nobody_waiting(api, user, detector, stopping):
    news.stop()
    started = time.monotonic()
    response = upload(api(user), headers={"Prefer": "wait=30"})
    assert time.monotonic() - started < 5
    assert response.status_code == 202


# Reading what came of it


@pytest.fixture
def done(submit, user):
    """A detection that is processed, with two images."""
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, WHITE))
    process()
    detection.refresh_from_db()
    return detection


def test_a_job_tells_its_progress_from_beginning_to_end(api, user, stranger, submit, detector):
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
    processing.process(
        DetectionImage.objects.claim(detector, 1), processing.load(detector.path, detector.backend)
    )
    job = client.get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert (job["status"], job["queue_position"]) == ("processing", 1)
    assert job["progress"] == {"total": 2, "processed": 1, "failed": 0, "percent": 50}
    process()
    job = client.get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert (job["status"], job["queue_position"], job["error"]) == ("completed", 0, "")
    assert job["progress"] == {"total": 2, "processed": 2, "failed": 0, "percent": 100}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_a_detection_shows_its_images_and_results_the_most_confident_first(api, user, submit):
    detection = submit(user, photo(128, 128, BLACK), confidence=0.05)
    process()
    content = api(user).get(url(detection)).json()
    (image,) = content.pop("images")
    results = image.pop("results")
    assert set(content) == {
        "id", "name", "status", "detector", "parameters", "total", "processed", "failed", "is_public",
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


def test_an_image_that_failed_says_why(api, user, submit):
    detection = submit(user, photo(), photo())
    default_storage.delete(detection.images.order_by("id").first().image_path)
    process()
    failed, good = api(user).get(url(detection)).json()["images"]
    assert (failed["state"], failed["processed"], failed["results"]) == ("failed", False, [])
    assert failed["error"] == {
        "code": "file_missing",
        "detail": "The image's file is no longer in the storage.",
    }
    assert (good["state"], good["error"], len(good["results"])) == ("done", None, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_detection_takes_as_many_queries_with_one_image_as_with_three(
    api, user, submit, django_assert_num_queries, count
):
    detection = submit(user, *[photo()] * count)
    process()
    client = api(user)
    with django_assert_num_queries(4):  # session and user; detection and detector; images; results
        assert len(client.get(url(detection)).json()["images"]) == count


def test_a_job_takes_four_queries(api, user, submit, django_assert_num_queries):
    detection = submit(user, photo())
    client = api(user)
    with django_assert_num_queries(4):  # session and user; detection; its first waiting image; those in front
        client.get(f"/api/v1/detect/jobs/{detection.pk}")


PAGES = ["/api/v1/detect/jobs/{}", "/api/v1/detect/{}", "/api/v1/detect/{}/image"]


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_finds_nothing_not_even_that_there_is_something(api, user, stranger, done, page):
    assert api(user).get(page.format(done.pk)).status_code == 200
    theirs, none = api(stranger).get(page.format(done.pk)), api(stranger).get(page.format(uuid4()))
    assert faults(theirs, 404) == [("not_found", None)]
    assert theirs.content == none.content


@pytest.mark.parametrize("page", PAGES)
def test_staff_are_strangers_here(api, stranger, done, page):
    stranger.is_staff = stranger.is_superuser = True
    stranger.save()
    assert faults(api(stranger).get(page.format(done.pk)), 404) == [("not_found", None)]


@pytest.mark.parametrize("page", PAGES)
def test_whoever_is_not_logged_in_is_told_so(api, done, page):
    response = api().get(page.format(done.pk))
    assert faults(response, 401) == [("not_authenticated", None)]
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("page", PAGES)
def test_what_the_api_does_not_do_is_405(api, user, done, page):
    assert faults(api(user).post(page.format(done.pk), {}), 405) == [("method_not_allowed", None)]


# The annotated picture


def picture(client, detection, **headers):
    return client.get(url(detection, "/image"), headers=headers)


def test_the_annotated_picture_is_a_jpeg_of_the_first_image_with_boxes_on_it(api, user, submit):
    detection = submit(user, photo(400, 300, BLACK), photo(64, 64, WHITE))
    process()
    response = picture(api(user), detection)
    assert response.status_code == 200
    assert response["Content-Type"] == "image/jpeg"
    assert response["Cache-Control"] == "private, no-cache"
    content = content_of(response)
    assert response["Content-Length"] == str(len(content))
    image = Image.open(BytesIO(content))
    assert (image.format, image.size, image.mode) == ("JPEG", (400, 300), "RGB")
    assert max(high for _, high in image.getextrema()) > 128  # black before


def test_a_large_picture_comes_in_pieces_and_whole(api, user, submit):
    noise = Image.effect_noise((1200, 1200), 100).convert("RGB")
    file = BytesIO()
    noise.save(file, "JPEG", quality=95)
    detection = submit(user, file.getvalue())
    process()
    content = content_of(picture(api(user), detection))
    assert len(content) > 1 << 17
    assert Image.open(BytesIO(content)).convert("RGB").size == (1200, 1200)


@pytest.mark.parametrize("accept", ["image/jpeg", "image/*", "text/html", "application/json", "nonsense"])
def test_the_picture_comes_whatever_the_client_says_it_accepts(api, user, done, accept):
    response = picture(api(user), done, Accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, "image/jpeg")


def test_an_unchanged_picture_is_not_sent_again(api, user, done):
    client = api(user)
    etag = picture(client, done)["ETag"]
    assert picture(client, done)["ETag"] == etag
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        response = picture(client, done, **{"If-None-Match": known})
        assert (response.status_code, response["ETag"], response.content) == (304, etag, b"")
    assert picture(client, done, **{"If-None-Match": '"other"'}).status_code == 200


def test_another_picture_and_the_same_processed_again_have_other_etags(api, user, done, submit):
    client = api(user)
    before = picture(client, done)["ETag"]
    another = submit(user, photo())
    process()
    assert picture(client, another)["ETag"] != before
    done.images.update(state="waiting")
    process()
    assert picture(client, done)["ETag"] != before


def test_a_304_is_only_for_the_owner(api, user, stranger, done):
    etag = picture(api(user), done)["ETag"]
    response = picture(api(stranger), done, **{"If-None-Match": etag})
    assert faults(response, 404) == [("not_found", None)]


def test_before_the_image_is_done_there_is_no_picture(api, user, submit):
    detection = submit(user, photo())
    assert faults(picture(api(user), detection), 409) == [("not_processed", None)]


def test_of_an_image_that_failed_there_is_no_picture(api, user, submit):
    detection = submit(user, photo())
    default_storage.delete(detection.images.get().image_path)
    process()
    assert faults(picture(api(user), detection), 409) == [("not_processed", None)]


def test_a_picture_that_only_the_worker_can_read_is_409_and_says_so(api, user, submit):
    """Pillow refuses it for the head of a colour profile without its numbers, which OpenCV passes over."""
    content = photo()
    detection = submit(user, content[:2] + b"\xff\xe2\x00\x0eICC_PROFILE\x00" + content[2:])
    process()
    detection.refresh_from_db()
    assert detection.status == "completed"
    answer = picture(api(user), detection)
    assert faults(answer, 409) == [("no_file", None)]
    assert answer.json()["errors"][0]["detail"].startswith("The picture cannot be decoded: ")


def test_a_picture_whose_file_is_gone_is_404(api, user, done):
    default_storage.delete(done.images.order_by("id").first().image_path)
    response = picture(api(user), done)
    assert faults(response, 404) == [("not_found", None)]
    assert default_storage.location not in response.content.decode()


def test_a_detection_without_images_has_no_picture(api, user, detector):
    detection = Detection.objects.create(user=user, detector=detector)
    assert faults(picture(api(user), detection), 404) == [("not_found", None)]


# Which classes, and whose defaults


def parameters(response):
    assert response.status_code == 202, response.content
    return Detection.objects.get(pk=response.json()["detection_id"]).parameters


@pytest.mark.parametrize(
    ("classes", "ids"),
    [("beta", [1]), ("1", [1]), (" beta , alpha,beta ", [0, 1]), ("", None), (",", None), ("*", None)],
)
def test_classes_are_named_or_numbered(api, user, detector, classes, ids):
    assert parameters(upload(api(user), classes=classes))["classes"] == ids


def test_only_those_classes_are_found(api, user, detector):
    upload(api(user), confidence="0.05", classes="beta")
    process()
    assert set(DetectionResult.objects.values_list("object_class", flat=True)) == {"beta"}


@pytest.mark.parametrize("classes", ["gamma", "alpha,gamma", "2", "-1", "Alpha"])
def test_a_class_that_the_detector_does_not_know_is_refused_naming_those_that_it_knows(
    api, user, detector, nothing_stored, classes
):
    response = upload(api(user), classes=classes)
    assert faults(response, 400, "validation_error") == [("unknown_class", "classes")]
    assert "alpha, beta" in response.json()["errors"][0]["detail"]


def test_a_class_called_like_a_number_goes_before_the_number(api, user, detector):
    detector.classes = ["zero", "0"]
    detector.save()
    assert parameters(upload(api(user), classes="0"))["classes"] == [1]


def test_the_users_defaults_hold_where_a_request_names_none(api, user, detector):
    UserSettings.objects.create(user=user, default_confidence=0.6, default_classes=["beta", "person"])
    client = api(user)
    by_default = parameters(upload(client))
    assert (by_default["confidence"], by_default["classes"]) == (0.6, [1])
    named = parameters(upload(client, confidence="0.3", classes="alpha"))
    assert (named["confidence"], named["classes"]) == (0.3, [0])
    assert parameters(upload(client, classes="*"))["classes"] is None


def test_a_default_confidence_of_nought_is_one(api, user, detector):
    UserSettings.objects.create(user=user, default_confidence=0)
    assert parameters(upload(api(user)))["confidence"] == 0


def test_defaults_of_which_the_detector_knows_none_are_refused_and_say_whose_they_are(
    api, user, detector, nothing_stored
):
    UserSettings.objects.create(user=user, default_classes=["person"])
    response = upload(api(user))
    assert faults(response, 400, "validation_error") == [("unknown_class", "classes")]
    assert "default_classes of your settings" in response.json()["errors"][0]["detail"]


def test_anothers_defaults_are_not_ones_own(api, user, stranger, detector):
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
def test_parameters_are_kept_with_the_detection(api, user, detector, name, sent, kept):
    assert parameters(upload(api(user), **{name: sent}))[name] == kept


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
def test_a_parameter_out_of_range_is_refused_naming_the_range(
    api, user, detector, nothing_stored, name, sent, code, told
):
    response = upload(api(user), **{name: sent})
    assert faults(response, 400, "validation_error") == [(code, name)]
    assert told in response.json()["errors"][0]["detail"]


def test_no_picture_is_cut_into_more_tiles_than_anyone_waits_for(api, user, detector, nothing_stored):
    response = upload(api(user), photo(2000, 2000), tile="64")
    assert faults(response, 400, "validation_error") == [("too_many_tiles", "tile")]
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
    assert faults(upload(api(user), detector="second"), 400, "validation_error") == [
        ("unknown_detector", "detector")
    ]
