"""Search and statistics of the user's own results."""

from datetime import timedelta

import pytest
from django.utils import timezone

from detections import reviews
from detections.jobs import processing
from detections.models import Detection, DetectionResult, Detector
from testing.files.pictures import photo

RESULTS = "/api/v1/detect/results"
STATISTICS = "/api/v1/users/statistics"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture
def detect(submit):
    """Uploads and processes pictures; alpha has a confidence of 0.5 (black) to 1 (white), beta 0.4."""

    def detect(user, *colours):
        detection = submit(user, *[photo(colour=colour) for colour in colours])
        processing.process_waiting()
        detection.refresh_from_db()
        return detection

    return detect


@pytest.fixture
def other(detector):
    """Another detector, on which nothing has run."""
    return Detector.objects.create(
        name="other", version="1", path="other", backend="openvino", image_size=64, classes=["alpha"]
    )


@pytest.fixture
def search(api, user):
    client = api(user)
    return lambda **question: client.get(RESULTS, question)


def found(response):
    """Class and confidence of every item, in the answer's order."""
    assert response.status_code == 200, response.content
    return [(item["object_class"], round(item["confidence"], 1)) for item in response.json()["items"]]


def test_search_shows_own_results_newest_first_with_image_and_detection(search, detect, user, stranger):
    first, second = detect(user, BLACK), detect(user, WHITE)
    detect(stranger, WHITE)
    response = search()
    assert found(response) == [("alpha", 1.0), ("beta", 0.4), ("alpha", 0.5), ("beta", 0.4)]
    assert [item["detection_id"] for item in response.json()["items"]] == [str(second.pk)] * 2 + [
        str(first.pk)
    ] * 2
    assert response.json()["total"] == 4
    newest = response.json()["items"][0]
    image = second.images.get()
    result = image.results.get(object_class="alpha")
    assert newest["id"] == str(result.pk)
    assert (newest["image_id"], newest["original_name"]) == (str(image.pk), "photo-1.jpg")
    assert newest["detector"] == "standin"
    assert newest["created_at"] == image.processed_at.isoformat().replace("+00:00", "Z")
    assert set(newest["bbox"]) == {"x1", "y1", "x2", "y2", "width", "height"}
    assert newest["bbox_normalized"]["x"] == result.bbox_x


def test_results_are_filtered_by_class_and_confidence(search, detect, user):
    detect(user, BLACK)
    detect(user, WHITE)
    assert found(search(object_class="alpha")) == [("alpha", 1.0), ("alpha", 0.5)]
    assert found(search(min_confidence=0.5)) == [("alpha", 1.0), ("alpha", 0.5)]
    assert found(search(object_class="alpha", min_confidence=0.9)) == [("alpha", 1.0)]
    assert found(search(object_class="gnu")) == []


def test_results_are_filtered_by_time(search, detect, user):
    detect(user, BLACK)
    old = timezone.now() - timedelta(days=2)
    DetectionResult.objects.update(created_at=old)
    detect(user, WHITE)
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert found(search(created_after=yesterday)) == [("alpha", 1.0), ("beta", 0.4)]
    assert found(search(created_before=yesterday)) == [("alpha", 0.5), ("beta", 0.4)]
    assert found(search(created_after=old.isoformat(), created_before=old.isoformat())) == []


def test_results_are_filtered_by_detector(search, detect, detector, user):
    detect(user, BLACK)
    other = detect(user, WHITE)
    Detection.objects.filter(pk=other.pk).update(
        detector=Detector.objects.create(
            name="other", version="1", path="other", backend="openvino", image_size=64, classes=[]
        )
    )
    assert found(search(detector="other")) == [("alpha", 1.0), ("beta", 0.4)]
    assert found(search(detector="standin")) == [("alpha", 0.5), ("beta", 0.4)]
    assert found(search(detector="none")) == []


def test_pages_of_results_repeat_and_omit_nothing(search, detect, user):
    detect(user, BLACK, WHITE)
    pages = [search(limit=1, offset=offset).json()["items"][0]["id"] for offset in range(4)]
    assert pages == [item["id"] for item in search().json()["items"]]
    assert len(set(pages)) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "101"),
        ("min_confidence", "2"),
        ("min_confidence", ""),
        ("created_after", "yesterday"),
        ("created_after", "0001-01-01T00:00:00+14:00"),
        ("object_class", "x" * 101),
        ("detector", "a\x00b"),
    ],
)
def test_an_invalid_search_parameter_is_refused_by_name(search, name, value):
    response = search(**{name: value})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, name)


@pytest.mark.parametrize("count", [1, 3])
def test_searching_results_takes_four_queries(search, detect, user, count, django_assert_num_queries):
    for _ in range(count):
        detect(user, BLACK)
    with django_assert_num_queries(4):  # the session, the page, its images, their detectors
        search()


def tenths(*counts):
    return [
        {"min_confidence": tenth / 10, "max_confidence": (tenth + 1) / 10, "objects": count}
        for tenth, count in enumerate(counts)
    ]


def test_statistics_count_only_own_rows(api, detect, submit, user, stranger):
    detect(user, BLACK, WHITE)
    detect(stranger, WHITE)
    submit(user, photo(), photo(), photo())
    today = timezone.now().date().isoformat()
    assert api(user).get(STATISTICS).json() == {
        "detections": 2,
        "images": 5,
        "objects": 4,
        "per_class": [{"object_class": "alpha", "objects": 2}, {"object_class": "beta", "objects": 2}],
        "per_detector": [{"detector": "standin", "version": "1", "images": 2, "objects": 4}],
        "agreement": [],
        "confidences": tenths(0, 0, 0, 0, 2, 1, 0, 0, 0, 1),
        "per_day": [{"day": today, "detections": 2, "images": 5}],
    }


def test_statistics_without_detections_are_zero(api, user):
    nothing = {"detections": 0, "images": 0, "objects": 0, "confidences": tenths(*[0] * 10)}
    lists = {name: [] for name in ("per_class", "per_detector", "agreement", "per_day")}
    assert api(user).get(STATISTICS).json() == {**nothing, **lists}


def test_statistics_by_day_cover_the_requested_days(api, submit, user):
    for days in (0, 1, 40):
        detection = submit(user, photo())
        past = timezone.now() - timedelta(days=days)
        Detection.objects.filter(pk=detection.pk).update(created_at=past)

    def days(**question):
        answer = api(user).get(STATISTICS, question).json()
        assert answer["detections"] == 3
        return [row["day"] for row in answer["per_day"]]

    today, yesterday, long_ago = (
        (timezone.now() - timedelta(days=days)).date().isoformat() for days in (0, 1, 40)
    )
    assert days() == [today, yesterday]
    assert days(days=1) == [today]
    assert days(days=41) == [today, yesterday, long_ago]
    assert days(days=40) == [today, yesterday]


@pytest.mark.parametrize("days", ["0", "367", "many", "", "1e9"])
def test_an_invalid_number_of_days_is_refused(api, user, days):
    response = api(user).get(STATISTICS, {"days": days})
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "days")


@pytest.mark.parametrize("count", [1, 3])
def test_statistics_take_eight_queries(api, detect, user, count, django_assert_num_queries):
    for _ in range(count):
        reviews.review_results(detect(user, BLACK), "accepted")
    client = api(user)
    # The session, the whole, the classes, the days; the reviews, the images, and the detectors of both.
    with django_assert_num_queries(8):
        client.get(STATISTICS)


def test_statistics_say_how_often_owners_agree_with_detectors(api, detect, user, stranger, other):
    mine = detect(user, BLACK, WHITE, WHITE)
    alphas = [result.pk for result in mine.results.filter(object_class="alpha").order_by("pk")]
    reviews.review_result(mine, alphas[0], {"review": "accepted"})
    reviews.review_result(mine, alphas[1], {"object_class": "gamma"})
    reviews.review_result(mine, alphas[2], {"review": "rejected"})
    image = mine.images.first()
    box = {"x": 0, "y": 0, "width": 0.5, "height": 0.5}
    for name in ("alpha", "scooter"):
        reviews.add_result(mine, image.pk, name, box)
    foreign = detect(stranger, WHITE)
    reviews.review_results(foreign, "rejected")
    moved = detect(user, BLACK)
    moved.images.update(detector=other)
    answer = api(user).get(STATISTICS).json()
    standin = {"detector": "standin", "version": "1"}
    assert answer["agreement"] == [
        {**standin, "object_class": "alpha", "reviewed": 3, "accepted": 1, "relabelled": 1, "rejected": 1,
         "added": 1, "agreement": 0.3333},
        {**standin, "object_class": "scooter", "reviewed": 0, "accepted": 0, "relabelled": 0, "rejected": 0,
         "added": 1, "agreement": None},
    ]  # fmt: skip  # rows at a glance
    assert answer["per_detector"] == [
        {**standin, "images": 3, "objects": 8},
        {"detector": "other", "version": "1", "images": 1, "objects": 2},
    ]
    assert answer["objects"] == 10
    assert sum(row["objects"] for row in answer["confidences"]) == 8  # without added boxes
