"""What the page for uploads shows and asks."""

import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from console import service
from console.views import detect
from detections import caching
from detections.detectors.preparation import BUNDLED_FOLDER
from detections.inference import Options, load_detector
from detections.jobs import processing
from detections.models import Detection, Detector
from objectvision.lib import heartbeats
from testing.files.pictures import photo
from testing.services import ROOT, free_port

pytestmark = pytest.mark.django_db
CARDS, SERVICE = "/console/cards", "/console/service"
SAMPLES = ROOT / "console/static/console/samples"


@pytest.fixture
def working(monkeypatch):
    """A worker for images and beat have told that they live."""
    monkeypatch.setattr(heartbeats, "_own", {})
    told = {"at": time.time(), "name": "inference", "queues": ["inference"]}
    heartbeats.record_heartbeat("inference#1", json.dumps(told))
    heartbeats.record_beat()


def test_cards_show_own_detections_alone_newest_first(console, user, stranger, submit):
    first, second = submit(user, photo()), submit(user, photo(), photo())
    submit(stranger, photo())
    cards = console(user).get(CARDS).json()
    assert [card["id"] for card in cards] == [str(second.pk), str(first.pk)]
    assert [card["total"] for card in cards] == [2, 1]
    named = console(stranger).get(CARDS, {"ids": f"{first.pk},{second.pk}"}).json()
    assert named == []


def test_a_card_has_the_state_place_picture_boxes_and_counts(console, user, submit):
    submit(user, photo(), photo())
    detection = submit(user, photo())
    (card,) = console(user).get(CARDS, {"ids": detection.pk}).json()
    assert (card["status"], card["queue_position"], card["classes"]) == ("pending", 2, [])
    assert (card["name"], card["image"]["boxes"]) == ("photo-1.jpg", [])
    processing.process_waiting()
    (card,) = console(user).get(CARDS, {"ids": detection.pk}).json()
    assert (card["status"], card["queue_position"], card["percent"]) == ("completed", 0, 100)
    found = detection.results.order_by("confidence")
    assert [box["place"] for box in card["image"]["boxes"]] == [
        [round(side, 4) for side in result.shares.values()] for result in found
    ]
    assert sum(each["objects"] for each in card["classes"]) == found.count()
    assert {each["colour"] for each in card["classes"]} == {box["colour"] for box in card["image"]["boxes"]}


def test_cards_cost_as_many_queries_for_three_detections_as_for_one(
    console, user, submit, django_assert_num_queries
):
    submit(user, photo())
    processing.process_waiting()
    browser = console(user)
    with django_assert_num_queries(7):  # session, ids, detections, detectors, pictures, counts, boxes
        browser.get(CARDS)
    submit(user, photo(), photo())
    submit(user, photo())
    processing.process_waiting()
    with django_assert_num_queries(7):
        browser.get(CARDS)


def test_places_of_waiting_cards_cost_one_query(console, user, submit, django_assert_num_queries):
    for _ in range(3):
        submit(user, photo())
    browser = console(user)
    browser.get(CARDS)
    with django_assert_num_queries(8):  # as above, and one for all places
        cards = browser.get(CARDS).json()
    assert [card["queue_position"] for card in cards] == [3, 2, 1]


def test_no_card_is_kept_that_is_older_than_the_change_before_it(console, user, submit, monkeypatch):
    submit(user, photo())
    browser, kept = console(user), caching.kept

    def after_a_change(*arguments):
        monkeypatch.undo()
        processing.process_waiting()
        return kept(*arguments)

    monkeypatch.setattr(caching, "kept", after_a_change)
    states = [browser.get(CARDS).json()[0]["status"] for _ in range(2)]
    assert states == ["completed", "completed"]


def test_cards_that_have_not_changed_are_304(console, user, submit):
    submit(user, photo())
    browser = console(user)
    tag = browser.get(CARDS).headers["ETag"]
    assert browser.get(CARDS, headers={"If-None-Match": tag}).status_code == 304
    processing.process_waiting()
    assert browser.get(CARDS, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("ids", ["", "x", "\0", "1,2", "a" * 5000])
def test_odd_ids_are_400(console, user, ids):
    assert console(user).get(CARDS, {"ids": ids}).status_code == 400


@pytest.mark.parametrize("path", [CARDS, SERVICE])
def test_visitors_get_401_from_what_pages_ask(console, path):
    assert console().get(path).status_code == 401


def test_the_service_tells_place_and_number_of_own_waiting_images(console, user, stranger, submit, working):
    submit(stranger, photo())
    submit(user, photo(), photo())
    assert console(user).get(SERVICE).json() == {
        "waiting": 2, "position": 2, "per_minute": 0, "problems": [],
    }  # fmt: skip  # a list to read at a glance
    processing.process_waiting()
    state = console(user).get(SERVICE).json()
    assert (state["waiting"], state["position"]) == (0, 0)


def test_images_per_minute_follow_the_last_minutes_and_what_has_run_longer(user, detector):
    now = timezone.now()

    def add(began, ended, images, status="completed"):
        Detection.objects.create(
            user=user,
            detector=detector,
            status=status,
            processed=images,
            started_at=now - timedelta(minutes=began),
            finished_at=None if ended is None else now - timedelta(minutes=ended),
        )

    add(60, 50, 1000)
    add(4, 3, 20)
    add(20, None, 200, "processing")
    assert service.images_per_minute(user, now) == 20 / 5 + 200 / 20


@pytest.fixture
def told(console, user):
    """The problems that the user is told of now."""

    def problems():
        from django.core.cache import cache

        cache.clear()
        return console(user).get(SERVICE).json()["problems"]

    return problems


def test_the_service_says_in_plain_words_what_is_missing(told, detector, working):
    assert told() == []
    del heartbeats._own["beat"]
    assert told() == [service.NO_BEAT]
    heartbeats._own.clear()
    assert told() == [service.NO_WORKER]
    Detector.objects.update(path="gone")
    assert told() == [service.NO_WORKER, service.NO_FILES]
    Detector.objects.update(is_active=False)
    assert told() == [service.NO_WORKER, service.NO_DETECTOR]


def test_while_the_broker_is_away_users_are_told_why_pictures_wait(told, detector, working, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert told() == [service.NO_BROKER]


def test_samples_are_offered_where_a_detector_knows_what_they_show(console, user, detector):
    assert "samples/parcel.jpg" not in console(user).get("/").content.decode()
    Detector.objects.update(classes=["qr_code"])
    page = console(user).get("/").content.decode()
    assert [name for name in detect.SAMPLES if f"samples/{name}.jpg" in page] == list(detect.SAMPLES)
    assert f'data-sample-detector="{detector.name}:1"' in page


def test_samples_are_small_and_the_bundled_detector_finds_what_they_show():
    bundled = load_detector(BUNDLED_FOLDER, "openvino")
    found = {}
    for name in detect.SAMPLES:
        content = (SAMPLES / f"{name}.jpg").read_bytes()
        assert len(content) < 80_000
        boxes = bundled.predict(content, Options(confidence=0.25)).boxes
        found[name] = sorted(box.object_class for box in boxes)
    assert found == {
        "parcel": ["barcode", "barcode", "qr_code"],
        "table": ["marker", "marker", "qr_code"],
        "desk": ["barcode", "marker", "qr_code"],
    }
