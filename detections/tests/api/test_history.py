"""What a user has sent, found again, changed and deleted; nobody else's is touched."""

from datetime import timedelta
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image
from rest_framework.exceptions import NotFound

from detections import processing, views
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from detections.tests import scale
from notifications import news
from objectvision.tests.stack import photo

HISTORY = "/api/v1/detect/history"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture
def history(api, user):
    """The answer to a question about the user's history."""
    client = api(user)
    return lambda **question: client.get(HISTORY, question)


def ids(response):
    assert response.status_code == 200, response.content
    return [item["id"] for item in response.json()["items"]]


def strings(*detections):
    return [str(detection.pk) for detection in detections]


def process(*detections):
    processing.run(lambda: None)
    for detection in detections:
        detection.refresh_from_db()
    return detections


def test_history_shows_own_detections_newest_first_without_images(history, submit, user, stranger):
    first, second = submit(user, photo()), submit(user, photo())
    submit(stranger, photo())
    response = history()
    assert ids(response) == strings(second, first)
    assert {key: response.json()[key] for key in ("total", "limit", "offset")} == {
        "total": 2,
        "limit": 10,
        "offset": 0,
    }
    assert "images" not in response.json()["items"][0]


def test_history_is_not_for_the_anonymous(api, db):
    assert api().get(HISTORY).status_code == 401


def test_history_comes_in_pages(history, submit, user):
    one, two, three = (submit(user, photo()) for _ in range(3))
    response = history(limit=1, offset=1)
    assert ids(response) == strings(two)
    assert response.json()["total"] == 3
    assert ids(history(offset=3)) == []
    assert ids(history(limit=100)) == strings(three, two, one)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("limit", ""),
        ("limit", "٣"),
        ("offset", "-1"),
        ("offset", "1e3"),
        ("offset", "9" * 5000),
        ("offset", "0" * 20 + "9" * 20),
        ("offset", "0" * 5000),
    ],
)
def test_a_page_outside_its_limits_is_refused_by_name(history, name, value):
    response = history(**{name: value})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["code"], error["attr"]) == ("invalid", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "done"),
        ("min_confidence", "2"),
        ("min_confidence", "nan"),
        ("created_after", "yesterday"),
        ("created_after", "0001-01-01T00:00:00+14:00"),
        ("created_before", "9999-12-31T23:59:59-14:00"),
        ("ordering", "password"),
        ("search", "a\x00b"),
        ("object_class", "x" * 101),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(history, name, value):
    response = history(**{name: value})
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == name


def test_history_is_filtered_by_status_and_detector(history, submit, user):
    done = submit(user, photo())
    process(done)
    waiting = submit(user, photo())
    assert ids(history(status="completed")) == strings(done)
    assert ids(history(status="pending")) == strings(waiting)
    assert ids(history(detector="standin")) == strings(waiting, done)
    assert ids(history(detector="other")) == []


def test_history_is_filtered_by_what_was_found_by_one_and_the_same_result(history, submit, user):
    dark, bright = submit(user, photo(colour=BLACK)), submit(user, photo(colour=WHITE))
    process(dark, bright)  # alpha by 0.5 and by 1.0; beta by 0.4 on both
    assert ids(history(object_class="alpha")) == strings(bright, dark)
    assert ids(history(min_confidence=0.9)) == strings(bright)
    assert ids(history(object_class="beta", min_confidence=0.3)) == strings(bright, dark)
    assert ids(history(object_class="beta", min_confidence=0.9)) == []
    assert ids(history(object_class="gamma")) == []


def test_history_is_filtered_by_time(history, submit, user):
    old, new = submit(user, photo()), submit(user, photo())
    Detection.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert ids(history(created_after=yesterday)) == strings(new)
    assert ids(history(created_before=yesterday)) == strings(old)


def test_history_is_searched_by_names(history, submit, user):
    named, other = submit(user, photo()), submit(user, photo())
    Detection.objects.filter(pk=named.pk).update(name="Car park")
    DetectionImage.objects.filter(detection=other).update(original_name="IMG_2042.jpg")
    assert ids(history(search="car")) == strings(named)
    assert ids(history(search="2042")) == strings(other)


def test_history_is_ordered_as_asked(history, submit, user):
    first, second = submit(user, photo()), submit(user, photo())
    assert ids(history(ordering="created_at")) == strings(first, second)
    assert ids(history(ordering="-created_at")) == strings(second, first)
    Detection.objects.filter(pk=first.pk).update(name="Zoo")
    Detection.objects.filter(pk=second.pk).update(name="Ark")
    assert ids(history(ordering="name")) == strings(second, first)


def test_what_has_not_ended_comes_behind_all_that_has_and_in_front_the_other_way_round(history, submit, user):
    ended = submit(user, photo())
    process(ended)
    waiting = submit(user, photo())
    assert ids(history(ordering="finished_at")) == strings(ended, waiting)
    assert ids(history(ordering="-finished_at")) == strings(waiting, ended)


def test_pages_in_an_order_that_many_share_neither_repeat_nor_leave_out(history, submit, user):
    one, two, three = (submit(user, photo()) for _ in range(3))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # so few rows are sorted, not read from an index that has them in order
    pages = [ids(history(ordering="-total", limit=1, offset=offset)) for offset in range(3)]
    assert pages == [strings(three), strings(two), strings(one)]
    assert ids(history(ordering="total")) == strings(one, two, three)


@pytest.mark.parametrize("count", [1, 3])
def test_history_takes_three_queries(history, submit, user, count, django_assert_num_queries):
    for _ in range(count):
        submit(user, photo())
    with django_assert_num_queries(3):  # the session with its user, the total, the page
        history()


def test_a_detection_is_renamed_and_published_and_nothing_else_of_it_changes(api, user, submit):
    detection = submit(user, photo())
    body = {"name": "Car park", "is_public": True, "status": "completed", "total": 9, "error": "x"}
    response = api(user).patch(f"/api/v1/detect/{detection.pk}", body)
    assert response.status_code == 200
    detection.refresh_from_db()
    assert (detection.name, detection.is_public) == ("Car park", True)
    assert (detection.status, detection.total, detection.error) == ("pending", 1, "")


def test_a_change_does_not_undo_what_a_worker_wrote_meanwhile(user, submit):
    from detections.serializers import DetectionSerializer

    read_before = submit(user, photo())
    process()
    serializer = DetectionSerializer(read_before, {"name": "Car park"}, partial=True)
    serializer.is_valid(raise_exception=True)
    serializer.save()
    assert Detection.objects.get().status == "completed"


def test_a_detection_that_is_deleted_meanwhile_is_not_changed_back_into_being(user, submit):
    from detections.serializers import DetectionSerializer

    read_before = submit(user, photo())
    Detection.objects.all().delete()
    serializer = DetectionSerializer(read_before, {"name": "Car park"}, partial=True)
    serializer.is_valid(raise_exception=True)
    with pytest.raises(NotFound):
        serializer.save()
    assert not Detection.objects.exists()


def test_a_name_that_is_too_long_changes_nothing(api, user, submit):
    detection = submit(user, photo())
    response = api(user).patch(f"/api/v1/detect/{detection.pk}", {"name": "x" * 201})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "name")


@pytest.mark.django_db(transaction=True)
def test_a_deleted_detection_is_gone_with_its_rows_and_files(api, user, submit, media):
    deleted, kept = submit(user, photo(), photo()), submit(user, photo())
    process(deleted)
    assert api(user).delete(f"/api/v1/detect/{deleted.pk}").status_code == 204
    assert [detection.pk for detection in Detection.objects.all()] == [kept.pk]
    assert not DetectionImage.objects.filter(detection=deleted.pk).exists()
    assert set(DetectionResult.objects.values_list("detection", flat=True)) <= {kept.pk}
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1
    assert api(user).delete(f"/api/v1/detect/{deleted.pk}").status_code == 404


def test_deleting_reads_no_results(api, user, submit):
    detection = submit(user, photo(), photo())
    process(detection)
    client = api(user)
    with CaptureQueriesContext(connection) as queries:
        assert client.delete(f"/api/v1/detect/{detection.pk}").status_code == 204
    reads = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert not [read for read in reads if 'FROM "detections_detectionresult"' in read]


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_a_stranger_changes_and_deletes_nothing(api, user, stranger, submit, method):
    detection = submit(user, photo())
    path = f"/api/v1/detect/{detection.pk}"
    assert getattr(api(stranger), method)(path, {"name": "mine"}).status_code == 404
    assert getattr(api(), method)(path, {"name": "mine"}).status_code == 401
    detection.refresh_from_db()
    assert detection.name == ""


def test_detectors_that_are_active_are_listed_with_their_classes(api, user, detector):
    Detector.objects.create(
        name="retired", version="1", sha256="1" * 64, path="x", backend="openvino", image_size=64, classes=[],
        is_active=False,
    )  # fmt: skip
    (item,) = api(user).get("/api/v1/detectors").json()["items"]
    assert (item["name"], item["classes"], item["is_default"]) == ("standin", ["alpha", "beta"], True)
    assert "path" not in item
    assert api().get("/api/v1/detectors").status_code == 401


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_detectors_takes_three_queries(api, user, detector, count, django_assert_num_queries):
    client = api(user)
    for number in range(1, count):
        scale.detector(f"detector {number}")
    with django_assert_num_queries(3):  # the session with its user, the total, the page
        assert client.get("/api/v1/detectors").json()["total"] == count


@pytest.fixture
def picture(api, user):
    """An annotated picture's answer and its pixels."""
    client = api(user)

    def picture(detection, **question):
        response = client.get(f"/api/v1/detect/{detection.pk}/image", question)

        async def joined():
            return b"".join([piece async for piece in response])

        content = async_to_sync(joined)() if response.status_code == 200 else None
        return response, content and Image.open(BytesIO(content)).tobytes()

    return picture


def test_the_picture_shows_the_classes_and_confidences_that_are_asked_for(picture, submit, user):
    detection = submit(user, photo(colour=BLACK))
    process(detection)
    _, whole = picture(detection)
    _, alpha = picture(detection, classes="alpha")
    _, sure = picture(detection, min_confidence=0.45)
    _, nothing = picture(detection, min_confidence=0.99)
    assert alpha == sure  # alpha was found by 0.5, beta by 0.4
    assert len({whole, alpha, nothing}) == 3
    assert picture(detection, classes="alpha,beta")[1] == whole
    assert picture(detection, classes="gamma")[1] == nothing


def test_the_picture_of_each_image_can_be_asked_for(picture, submit, user, stranger):
    detection, theirs = submit(user, photo(80, 40), photo(40, 80)), submit(stranger, photo())
    process(detection)
    first, second = detection.images.order_by("pk")
    assert picture(detection, image_id=first.pk)[1] == picture(detection)[1]
    assert picture(detection, image_id=second.pk)[1] != picture(detection)[1]
    assert picture(detection, image_id=theirs.images.get().pk)[0].status_code == 404


def test_another_question_has_another_etag(picture, submit, user):
    detection = submit(user, photo())
    process(detection)
    questions = ({}, {"classes": "alpha"}, {"min_confidence": 0.5})
    assert len({picture(detection, **question)[0]["ETag"] for question in questions}) == 3


def test_the_picture_is_shown_or_downloaded_under_a_safe_name(picture, submit, user):
    detection = submit(user, photo())
    process(detection)
    name = f'filename="{detection.pk}.jpg"'
    assert picture(detection)[0]["Content-Disposition"] == f"inline; {name}"
    assert picture(detection, download="true")[0]["Content-Disposition"] == f"attachment; {name}"


@pytest.mark.parametrize(
    ("name", "value"), [("image_id", "1"), ("min_confidence", "2"), ("download", "maybe")]
)
def test_a_question_for_a_picture_that_makes_no_sense_is_refused(picture, submit, user, name, value):
    response, _ = picture(submit(user, photo()), **{name: value})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, name)


def test_a_condition_that_pictures_do_not_know_is_ignored(api, submit, user):
    detection = submit(user, photo())
    process(detection)
    response = api(user).get(f"/api/v1/detect/{detection.pk}/image", headers={"If-Match": '"other"'})
    assert response.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_whoever_queues_for_a_picture_holds_no_connection_and_is_let_go_at_a_stop(
    api, submit, user, stopping, monkeypatch
):
    detection = submit(user, photo())
    process(detection)
    client = api(user)
    for _ in range(2):
        assert views.drawing.acquire(timeout=1)
    held = []

    def look(timeout):
        held.append(connection.connection)
        news.stopping.set()
        return False

    monkeypatch.setattr(views.drawing, "acquire", look)
    response = client.get(f"/api/v1/detect/{detection.pk}/image")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "busy")
    assert held == [None]
    for _ in range(2):
        views.drawing.release()
