"""The history of detections, changing and deleting them, detectors and annotated pictures."""

from datetime import timedelta
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image

from detections import rendering
from detections.jobs import processing
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from objectvision.lib import wakeups
from testing import scale
from testing.files.pictures import photo

HISTORY = "/api/v1/detect/history"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture
def history(api, user):
    """Requests the user's history with these query parameters."""
    client = api(user)
    return lambda **question: client.get(HISTORY, question)


def ids(response):
    assert response.status_code == 200, response.content
    return [item["id"] for item in response.json()["items"]]


@pytest.fixture
def named(submit, user):
    """Uploads a picture of the user's under this name."""

    def named(name):
        detection = submit(user, photo())
        detection.change(name=name)
        return detection

    return named


def strings(*detections):
    return [str(detection.pk) for detection in detections]


def process_and_reload(*detections):
    processing.process_waiting()
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


def test_anonymous_requests_for_the_history_answer_401(api, db):
    assert api().get(HISTORY).status_code == 401


def test_history_is_paginated(history, submit, user):
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
def test_an_invalid_limit_or_offset_is_refused_by_name(history, name, value):
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
def test_an_invalid_filter_is_refused_by_name(history, name, value):
    response = history(**{name: value})
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == name


def test_history_is_filtered_by_status_and_detector(history, submit, user):
    done = submit(user, photo())
    process_and_reload(done)
    waiting = submit(user, photo())
    assert ids(history(status="completed")) == strings(done)
    assert ids(history(status="pending")) == strings(waiting)
    assert ids(history(detector="standin")) == strings(waiting, done)
    assert ids(history(detector="other")) == []


def test_class_and_confidence_filters_must_match_the_same_result(history, submit, user):
    dark, bright = submit(user, photo(colour=BLACK)), submit(user, photo(colour=WHITE))
    process_and_reload(dark, bright)  # alpha by 0.5 and by 1.0; beta by 0.4 on both
    assert ids(history(object_class="alpha")) == strings(bright, dark)
    assert ids(history(min_confidence=0.9)) == strings(bright)
    assert ids(history(object_class="beta", min_confidence=0.3)) == strings(bright, dark)
    assert ids(history(object_class="beta", min_confidence=0.9)) == []
    assert ids(history(object_class="gamma")) == []


def test_history_is_filtered_by_creation_time(history, submit, user):
    old, new = submit(user, photo()), submit(user, photo())
    Detection.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert ids(history(created_after=yesterday)) == strings(new)
    assert ids(history(created_before=yesterday)) == strings(old)


def test_history_is_searched_by_detection_and_file_names(history, submit, user):
    named, other = submit(user, photo()), submit(user, photo())
    Detection.objects.filter(pk=named.pk).update(name="Car park")
    DetectionImage.objects.filter(detection=other).update(original_name="IMG_2042.jpg")
    assert ids(history(search="car")) == strings(named)
    assert ids(history(search="2042")) == strings(other)


def test_history_is_ordered_by_creation_time_or_name(history, submit, user):
    first, second = submit(user, photo()), submit(user, photo())
    assert ids(history(ordering="created_at")) == strings(first, second)
    assert ids(history(ordering="-created_at")) == strings(second, first)
    Detection.objects.filter(pk=first.pk).update(name="Zoo")
    Detection.objects.filter(pk=second.pk).update(name="Ark")
    assert ids(history(ordering="name")) == strings(second, first)


def test_unfinished_detections_sort_after_finished_ones(history, submit, user):
    ended = submit(user, photo())
    process_and_reload(ended)
    waiting = submit(user, photo())
    assert ids(history(ordering="finished_at")) == strings(ended, waiting)
    assert ids(history(ordering="-finished_at")) == strings(waiting, ended)


def test_pages_ordered_by_equal_values_repeat_and_omit_nothing(history, submit, user):
    one, two, three = (submit(user, photo()) for _ in range(3))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # so few rows are sorted, not read from an index that has them in order
    pages = [ids(history(ordering="-total", limit=1, offset=offset)) for offset in range(3)]
    assert pages == [strings(three), strings(two), strings(one)]
    assert ids(history(ordering="total")) == strings(one, two, three)


@pytest.mark.parametrize(
    "ordering", ["-created_at", "created_at", "name", "-finished_at", "finished_at", "total"]
)
def test_pages_from_either_end_are_parts_of_the_whole_list(history, submit, stranger, named, ordering):
    for name in ("Ark", "Zoo", "ark", "Zoo"):
        named(name)
    submit(stranger, photo()).change(name="Ark")
    process_and_reload()
    named("Ark"), named("Ark")
    whole = ids(history(ordering=ordering))
    assert len(whole) == 6
    pages = [ids(history(ordering=ordering, limit=2, offset=offset)) for offset in range(7)]
    assert pages == [whole[offset : offset + 2] for offset in range(7)]
    found = ids(history(ordering=ordering, search="ark", limit=1, offset=3))
    assert found == [ids(history(ordering=ordering, search="ark"))[3]]


@pytest.mark.parametrize(
    ("text", "found"),
    [("car park", "Car PARK 50%_a"), ("50%_A", "Car PARK 50%_a"), ("%a_", None), ("istanbul", "Istanbul")],
)
def test_capital_letters_and_wildcards_mean_themselves_in_a_search(history, named, text, found):
    keys = {name: str(named(name).pk) for name in ("Car PARK 50%_a", "Istanbul")}
    assert ids(history(search=text)) == ([keys[found]] if found else [])


@pytest.mark.postgresql
def test_letters_of_other_alphabets_are_found_in_either_case(history, named):
    detection = named("Grüne Ähre")
    assert ids(history(search="ähre")) == ids(history(search="GRÜNE")) == strings(detection)


@pytest.mark.parametrize("count", [1, 3])
def test_history_takes_two_queries(history, submit, user, count, django_assert_num_queries):
    for _ in range(count):
        submit(user, photo())
    with django_assert_num_queries(2):  # the session with its user, the page
        history()


def test_patch_changes_only_name_and_is_public(api, user, submit):
    detection = submit(user, photo())
    body = {"name": "Car park", "is_public": True, "status": "completed", "total": 9, "error": "x"}
    response = api(user).patch(f"/api/v1/detect/{detection.pk}", body)
    assert response.status_code == 200
    detection.refresh_from_db()
    assert (detection.name, detection.is_public) == ("Car park", True)
    assert (detection.status, detection.total, detection.error) == ("pending", 1, "")


def test_renaming_keeps_the_status_that_a_worker_wrote_meanwhile(user, submit):
    read_before = submit(user, photo())
    processing.process_waiting()
    assert read_before.change(name="Car park")
    assert Detection.objects.get().status == "completed"


def test_renaming_does_not_recreate_a_detection_deleted_meanwhile(api, user, submit, monkeypatch):
    detection = submit(user, photo())
    change = Detection.change

    def change_too_late(read_before, **values):
        Detection.objects.all().delete()
        return change(read_before, **values)

    monkeypatch.setattr(Detection, "change", change_too_late)
    response = api(user).patch(f"/api/v1/detect/{detection.pk}", {"name": "Car park"})
    assert response.status_code == 404
    assert not Detection.objects.exists()


def test_renaming_to_over_200_characters_is_refused(api, user, submit):
    detection = submit(user, photo())
    response = api(user).patch(f"/api/v1/detect/{detection.pk}", {"name": "x" * 201})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "name")


@pytest.mark.django_db(transaction=True)
def test_deleting_a_detection_deletes_its_rows_and_files(api, user, submit, media):
    deleted, kept = submit(user, photo(), photo()), submit(user, photo())
    process_and_reload(deleted)
    assert api(user).delete(f"/api/v1/detect/{deleted.pk}").status_code == 204
    assert [detection.pk for detection in Detection.objects.all()] == [kept.pk]
    assert not DetectionImage.objects.filter(detection=deleted.pk).exists()
    assert set(DetectionResult.objects.values_list("detection", flat=True)) <= {kept.pk}
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1
    assert api(user).delete(f"/api/v1/detect/{deleted.pk}").status_code == 404


def test_deleting_a_detection_reads_no_results(api, user, submit):
    detection = submit(user, photo(), photo())
    process_and_reload(detection)
    client = api(user)
    with CaptureQueriesContext(connection) as queries:
        assert client.delete(f"/api/v1/detect/{detection.pk}").status_code == 204
    reads = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert not [read for read in reads if 'FROM "detections_detectionresult"' in read]


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_a_stranger_cannot_change_or_delete_a_detection(api, user, stranger, submit, method):
    detection = submit(user, photo())
    path = f"/api/v1/detect/{detection.pk}"
    assert getattr(api(stranger), method)(path, {"name": "mine"}).status_code == 404
    assert getattr(api(), method)(path, {"name": "mine"}).status_code == 401
    detection.refresh_from_db()
    assert detection.name == ""


def test_active_detectors_are_listed_with_their_classes(api, user, detector):
    Detector.objects.create(
        name="retired", version="1", sha256="1" * 64, path="x", backend="openvino", image_size=64, classes=[],
        is_active=False,
    )  # fmt: skip
    (item,) = api(user).get("/api/v1/detectors").json()["items"]
    assert (item["name"], item["classes"], item["is_default"]) == ("standin", ["alpha", "beta"], True)
    assert "path" not in item
    assert api().get("/api/v1/detectors").status_code == 401


@pytest.mark.parametrize("count", [1, 3])
def test_listing_detectors_takes_two_queries(api, user, detector, count, django_assert_num_queries):
    client = api(user)
    for number in range(1, count):
        scale.detector(f"detector {number}")
    with django_assert_num_queries(2):  # the session with its user, the page
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


def test_the_annotated_picture_is_filtered_by_class_and_confidence(picture, submit, user):
    detection = submit(user, photo(colour=BLACK))
    process_and_reload(detection)
    _, whole = picture(detection)
    _, alpha = picture(detection, classes="alpha")
    _, sure = picture(detection, min_confidence=0.45)
    _, nothing = picture(detection, min_confidence=0.99)
    assert alpha == sure  # alpha was found by 0.5, beta by 0.4
    assert len({whole, alpha, nothing}) == 3
    assert picture(detection, classes="alpha,beta")[1] == whole
    assert picture(detection, classes="gamma")[1] == nothing


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [("alpha, red", ["alpha, red"]), ("alpha, red, beta", ["beta"]), (",", ["alpha, red", "beta"])],
)
def test_the_annotated_picture_can_be_filtered_by_a_class_with_a_comma(submit, user, detector, wanted, shown):
    detection = submit(user, photo(colour=BLACK))
    process_and_reload(detection)
    Detector.objects.update(classes=["alpha, red", "beta"])
    DetectionResult.objects.filter(class_id=0).update(object_class="alpha, red")
    labels = rendering.labels_of(detection.images.get(), 0, wanted)
    assert sorted(label.object_class for label in labels) == shown


def test_the_annotated_picture_of_each_image_can_be_requested(picture, submit, user, stranger):
    detection, theirs = submit(user, photo(80, 40), photo(40, 80)), submit(stranger, photo())
    process_and_reload(detection)
    first, second = detection.images.order_by("pk")
    assert picture(detection, image_id=first.pk)[1] == picture(detection)[1]
    assert picture(detection, image_id=second.pk)[1] != picture(detection)[1]
    assert picture(detection, image_id=theirs.images.get().pk)[0].status_code == 404


def test_annotated_pictures_of_other_filters_have_other_etags(picture, submit, user):
    detection = submit(user, photo())
    process_and_reload(detection)
    questions = ({}, {"classes": "alpha"}, {"min_confidence": 0.5})
    assert len({picture(detection, **question)[0]["ETag"] for question in questions}) == 3


def test_the_annotated_picture_is_inline_or_an_attachment(picture, submit, user):
    detection = submit(user, photo())
    process_and_reload(detection)
    name = f'filename="{detection.pk}.jpg"'
    assert picture(detection)[0]["Content-Disposition"] == f"inline; {name}"
    assert picture(detection, download="true")[0]["Content-Disposition"] == f"attachment; {name}"


@pytest.mark.parametrize(
    ("name", "value"), [("image_id", "1"), ("min_confidence", "2"), ("download", "maybe")]
)
def test_an_invalid_parameter_of_the_annotated_picture_is_refused(picture, submit, user, name, value):
    response, _ = picture(submit(user, photo()), **{name: value})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, name)


def test_if_match_is_ignored_for_annotated_pictures(api, submit, user):
    detection = submit(user, photo())
    process_and_reload(detection)
    response = api(user).get(f"/api/v1/detect/{detection.pk}/image", headers={"If-Match": '"other"'})
    assert response.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_queued_picture_holds_no_connection_and_ends_when_the_server_stops(
    api, submit, user, stopping, monkeypatch
):
    detection = submit(user, photo())
    process_and_reload(detection)
    client = api(user)
    held = []
    wait = rendering.drawing._wait

    def look(visitor):
        held.append(connection.connection)
        wakeups.stopping.set()
        wait(visitor)

    monkeypatch.setattr(rendering.drawing, "_wait", look)
    with rendering.drawing.slot(user.pk):
        held.clear()
        response = client.get(f"/api/v1/detect/{detection.pk}/image")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "busy")
    assert held == [None]


def test_a_user_gets_503_while_busy_and_429_with_a_full_queue_for_pictures(
    api, submit, user, stranger, monkeypatch
):
    monkeypatch.setattr("objectvision.lib.fair_slots.LONGEST_WAIT_SECONDS", 0)
    monkeypatch.setattr("objectvision.lib.fair_slots.MOST_QUEUED", 2)
    own, other = submit(user, photo()), submit(stranger, photo())
    process_and_reload(own, other)
    client = api(user)
    client.raise_request_exception = False

    def ask():
        response = client.get(f"/api/v1/detect/{own.pk}/image")
        code = None if response.status_code == 200 else response.json()["errors"][0]["code"]
        return response.status_code, code, response.headers.get("Retry-After")

    with rendering.drawing.slot(user.pk):
        assert ask() == (503, "busy", "5")
        with rendering.drawing.queue(user.pk):
            assert ask() == (429, "throttled", "1")
        assert api(stranger).get(f"/api/v1/detect/{other.pk}/image").status_code == 200
    assert ask()[0] == 200
