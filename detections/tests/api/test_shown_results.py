"""A detection shows a limited number of results; pages and the ZIP have all of them."""

import json
import random
import zipfile
from io import BytesIO
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from detections import rendering, reports
from detections.api import large_answers, takeout
from detections.images.boxes import Box
from detections.models import Detection, DetectionImage, DetectionResult
from testing.api import content_of
from testing.files.pictures import photo


@pytest.fixture
def found(detector):
    """A detection with an image for each count, with that many results: `found(user, 3, 0, 1)`."""

    def found(user, *counts):
        detection = Detection.objects.create(
            user=user, detector=detector, status="completed", total=len(counts), processed=len(counts)
        )
        images = DetectionImage.objects.bulk_create(
            DetectionImage(
                detection=detection, user=user, detector=detector, original_name="photo.jpg", state="done",
                width=640, height=480, processed_at=timezone.now(),
            )
            for _ in counts
        )  # fmt: skip
        chance = random.Random(1)
        results = [
            DetectionResult(
                user=user, detection=detection, image=image, object_class="alpha", class_id=0,
                confidence=round(chance.random(), 2),  # some alike
                bbox_x=chance.random() / 2, bbox_y=chance.random() / 2,
                bbox_width=chance.random() / 2, bbox_height=chance.random() / 2,
            )
            for image, count in zip(images, counts, strict=True)
            for _ in range(count)
        ]  # fmt: skip
        chance.shuffle(results)
        DetectionResult.objects.bulk_create(results)
        return detection

    return found


@pytest.fixture
def few(monkeypatch):
    """Limits so low that a few results exceed them."""
    monkeypatch.setattr(reports, "MOST_SHOWN_OF_IMAGE", 3)
    monkeypatch.setattr(reports, "MOST_SHOWN", 5)
    monkeypatch.setattr(reports, "FEW", 2)
    monkeypatch.setattr(reports, "FEW", 2)


def url(detection, page=""):
    return f"/api/v1/detect/{detection.pk}{page}"


def images_of(response):
    assert response.status_code == 200, response.content
    return response.json()["images"]


def ids(results):
    return [result["id"] for result in results]


def ordered(**conditions):
    """Ids of the rows, ordered by confidence."""
    rows = DetectionResult.objects.filter(**conditions)
    return [str(row.pk) for row in sorted(rows, key=lambda row: (-row.confidence, row.pk))]


# A detection itself


@pytest.mark.parametrize("counts", [(2, 1), (3, 2), (4, 0), (5, 1), (4, 4, 4), (10, 0, 1), (1,) * 7, (9, 9)])
def test_a_detection_shows_its_most_confident_results_per_image_and_in_all(api, user, found, few, counts):
    detection = found(user, *counts)
    images = images_of(api(user).get(url(detection)))
    of_each = {row.pk: ordered(image=row)[:3] for row in detection.images.order_by("pk")}
    among_all = [pk for pk in ordered(detection=detection) if any(pk in shown for shown in of_each.values())]
    for image, count, shown in zip(images, counts, of_each.values(), strict=True):
        assert image["results_total"] == count
        assert ids(image["results"]) == [pk for pk in shown if pk in among_all[:5]]


@pytest.mark.slow
def test_a_detection_shows_1000_results_per_image_and_10000_in_all(api, user, found):
    detection = found(user, 1001, *[1000] * 10)
    response = api(user).get(url(detection))
    images = images_of(response)
    assert [image["results_total"] for image in images] == [1001, *[1000] * 10]
    assert sum(len(image["results"]) for image in images) == 10_000
    assert max(len(image["results"]) for image in images) <= 1000
    assert len(response.content) < 6_000_000


@pytest.mark.parametrize(
    ("counts", "queries"), [((2,), 4), ((1, 1), 4), ((3,), 6), ((3,) * 3, 6), ((4, 4), 6)]
)
def test_showing_over_the_result_limits_takes_two_more_queries(
    api, user, found, few, counts, queries, django_assert_num_queries
):
    client, detection = api(user), found(user, *counts)
    with django_assert_num_queries(queries):  # session, detection, images, few results; how many, which
        client.get(url(detection))


@pytest.mark.parametrize("counts", [(2,), (1, 1, 1)])
def test_renaming_a_detection_takes_five_queries(api, user, found, counts, django_assert_num_queries):
    client, detection = api(user), found(user, *counts)
    with django_assert_num_queries(5):  # session, detection, images; the change; results
        client.patch(url(detection), {"name": "Car park"})


def test_a_second_large_answer_of_a_user_answers_503_and_small_ones_do_not(
    api, user, stranger, found, few, monkeypatch
):
    monkeypatch.setattr("objectvision.lib.fair_slots.LONGEST_WAIT_SECONDS", 0)
    large, small, other = found(user, 3), found(user, 2), found(stranger, 3)
    client = api(user)
    client.raise_request_exception = False
    with large_answers.making.slot(user.pk):
        response = client.get(url(large))
        assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "busy")
        assert client.get(url(small)).status_code == 200
        assert api(stranger).get(url(other)).status_code == 200
    assert client.get(url(large)).status_code == 200


def test_the_answer_to_a_rename_has_the_same_result_limits(api, user, found, few):
    detection = found(user, 4, 4)
    shown = images_of(api(user).get(url(detection)))
    assert images_of(api(user).patch(url(detection), {"name": "Car park"})) == shown


def test_an_annotated_picture_shows_only_the_most_confident_results(user, found, few):
    image = found(user, 5).images.get()
    confidences = sorted(image.results.values_list("confidence", flat=True), reverse=True)
    drawn = rendering.labels_of(image, 0, [])
    assert all(isinstance(label, Box) for label in drawn)
    assert [label.confidence for label in drawn] == confidences[:3]


def test_results_have_exactly_the_fields_of_the_openapi_schema(api, user, stranger, found):
    detection = found(user, 1)
    found(stranger, 1)
    client = api(user)
    (alone,) = client.get(url(detection, "/results")).json()["items"]
    (searched,) = client.get("/api/v1/detect/results").json()["items"]
    (shown,) = images_of(client.get(url(detection)))[0]["results"]
    document = client.get("/openapi.json").json()["components"]["schemas"]
    for row, name in ((shown, "Result"), (alone, "ImageResult"), (searched, "FoundResult")):
        assert set(row) == set(document[name]["properties"])
        assert row.items() >= shown.items()


def test_answers_with_results_drop_their_data_after_rendering(api, user, found):
    detection = found(user, 2)
    client = api(user)
    for page in ("", "/results"):
        response = client.get(url(detection, page))
        assert (response.status_code, response.data) == (200, None)


# All of them, in pages


def test_pages_of_a_detection_hold_all_results_by_confidence(api, user, stranger, found, few):
    detection = found(user, 4, 0, 7)
    found(user, 2)
    found(stranger, 2)
    client = api(user)
    pages = [client.get(url(detection, f"/results?limit=4&offset={start}")).json() for start in (0, 4, 8)]
    assert [page["total"] for page in pages] == [11] * 3
    items = [item for page in pages for item in page["items"]]
    assert ids(items) == ordered(detection=detection)
    images = {str(pk): str(image) for pk, image in detection.results.values_list("pk", "image")}
    assert all(item["image_id"] == images[item["id"]] for item in items)
    assert {item["bbox"]["x1"] > 0 for item in items} == {True}


def test_results_can_be_filtered_by_image(api, user, found):
    detection = found(user, 2, 3)
    image = detection.images.order_by("pk").last()
    page = api(user).get(url(detection, f"/results?image_id={image.pk}")).json()
    assert (page["total"], ids(page["items"])) == (3, ordered(image=image))


def test_filtering_results_by_a_foreign_image_is_404_and_by_a_bad_id_400(api, user, stranger, found):
    detection, other, foreign = found(user, 1), found(user, 1), found(stranger, 1)
    client = api(user)
    for image in (other.images.get().pk, foreign.images.get().pk, uuid4()):
        assert client.get(url(detection, f"/results?image_id={image}")).status_code == 404
    for image in ("", "1", "%00"):
        response = client.get(url(detection, f"/results?image_id={image}"))
        assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "image_id")
    assert api(stranger).get(url(detection, "/results?image_id=1")).status_code == 404


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_of_results_takes_four_queries(api, user, found, count, django_assert_num_queries):
    client, detection = api(user), found(user, *[2] * count)
    with django_assert_num_queries(4):  # session, detection, page, its images
        assert client.get(url(detection, "/results")).json()["total"] == 2 * count


# API keys without the scope `read`


@pytest.fixture
def key(user):
    """A client with an API key of these scopes."""
    return lambda *scopes: APIClient(HTTP_X_API_KEY=keys.issue(user, "Camera", scopes, None)[1])


def wait_for(client):
    file = SimpleUploadedFile("bus.jpg", photo())
    return client.post(
        "/api/v1/detect/image", {"image": file}, format="multipart", headers={"Prefer": "wait=20"}
    )


def test_a_key_without_the_read_scope_renames_but_sees_no_results(key, user, found):
    detection = found(user, 2)
    (seen,) = images_of(key("detect", "read").patch(url(detection), {}))
    (unseen,) = images_of(key("detect").patch(url(detection), {"name": "Car park"}))
    assert (seen.pop("results_total"), len(seen.pop("results"))) == (2, 2)
    assert unseen == seen
    assert Detection.objects.get().name == "Car park"


@pytest.mark.django_db(transaction=True)
def test_a_key_without_the_read_scope_waits_but_sees_no_results(key, user, detector, eager):
    (seen,) = images_of(wait_for(key("detect", "read")))
    (unseen,) = images_of(wait_for(key("detect")))
    assert (seen["results_total"], len(seen["results"])) == (2, 2)
    assert set(seen) - set(unseen) == {"results_total", "results"}
    assert unseen["state"] == "done"


# Everything as a ZIP


def detections_in(client):
    with zipfile.ZipFile(BytesIO(content_of(client.get("/api/v1/users/export")))) as archive:
        assert archive.testzip() is None
        names = [name for name in archive.namelist() if name.startswith("detections/")]
        return [json.loads(archive.read(name)) for name in names]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 100])
def test_the_zip_of_an_account_holds_all_results(api, user, found, few, monkeypatch, most):
    monkeypatch.setattr(takeout, "MOST_RESULTS", most)
    sent = [found(user, *counts) for counts in ((4, 0, 1), (), (2,), (6, 6))]
    client = api(user)
    written = detections_in(client)
    assert [detection["id"] for detection in written] == [str(detection.pk) for detection in sent]
    for detection in written:
        shown = client.get(f"/api/v1/detect/{detection['id']}").json()
        for image, bounded in zip(detection["images"], shown["images"], strict=True):
            assert ids(image["results"]) == ordered(image=image["id"])
            assert image["results"][: len(bounded["results"])] == bounded.pop("results")
            del image["results"]
        assert detection.pop("shares") == []
        assert detection == shown
