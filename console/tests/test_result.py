"""The page of a result: what the server renders, and for whom."""

import html
import json
import re

import pytest
from django.db.models.signals import post_init

from detections.images.palette import COLOURS
from detections.jobs import actions, processing
from detections.models import Detection, DetectionImage, DetectionResult
from testing.clients import PASSWORD
from testing.files.pictures import photo

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client, user):
    """A browser that has logged in at the console."""
    user.set_password(PASSWORD)
    user.save()
    client.post("/login", {"email": user.email, "password": PASSWORD})
    return client


def page_of(person, detection, image=""):
    response = person.get(f"/results/{detection.pk}{image}")
    assert response.status_code == 200
    return response.content.decode()


def state_of(page):
    return json.loads(re.search(r'<script id="state" type="application/json">(.*?)</script>', page)[1])


def offered_by(page):
    return json.loads(html.unescape(re.search(r'data-requests="(.*?)"', page)[1]))


def test_a_page_has_the_boxes_of_its_picture(person, user, submit):
    detection = submit(user, photo(), photo(320, 240), photo())
    processing.process_waiting()
    second = detection.images.order_by("pk")[1]
    page = page_of(person, detection, "?image=2")
    state = state_of(page)
    assert (state["image_id"], state["width"], state["height"]) == (str(second.pk), 320, 240)
    stored = second.results.most_confident_first()
    assert [(box["object_class"], box["confidence"], box["x"]) for box in state["boxes"]] == [
        (result.object_class, result.confidence, result.bbox_x) for result in stored
    ]
    assert len(state["colours"]) == len(COLOURS)
    assert "2 of 3" in page
    assert f"/results/{detection.pk}?image=1" in page
    assert f"/results/{detection.pk}?image=3" in page


def test_a_page_shows_what_the_annotated_picture_shows(person, user, submit):
    """Nothing that was rejected, and the classes that the owner gave."""
    detection = submit(user, photo())
    processing.process_waiting()
    first, second = detection.images.get().results.most_confident_first()[:2]
    DetectionResult.objects.filter(pk=first.pk).update(review="rejected")
    DetectionResult.objects.filter(pk=second.pk).update(review="accepted", reviewed_class="lorry")
    names = [box["object_class"] for box in state_of(page_of(person, detection))["boxes"]]
    assert names[0] == "lorry"
    assert len(names) == detection.results.count() - 1


@pytest.mark.parametrize("number", ["0", "-1", "9", "9" * 20, "x", "٣", ""])
def test_odd_numbers_lead_to_a_picture(person, user, submit, number):
    detection = submit(user, photo())
    assert "1 of 1" in page_of(person, detection, f"?image={number}")


def test_results_of_others_are_not_found(person, stranger, submit):
    detection = submit(stranger, photo())
    unknown = person.get("/results/01a2296b-6367-7178-8365-8b123042ee30")
    foreign = person.get(f"/results/{detection.pk}")
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert b"There is no such page" in foreign.content


def test_visitors_are_led_to_the_log_in_and_back(client, user, submit):
    detection = submit(user, photo())
    response = client.get(f"/results/{detection.pk}?image=1")
    assert response.headers["Location"] == f"/login?next=%2Fresults%2F{detection.pk}%3Fimage%3D1"


def test_the_ends_of_a_detection_lead_to_its_neighbours_in_the_history(person, user, stranger, submit):
    oldest = submit(user, photo(), photo())
    submit(stranger, photo())
    middle, newest = submit(user, photo()), submit(user, photo(), photo(), photo())
    page = page_of(person, middle)
    assert f'rel="prev" href="/results/{newest.pk}?image=3"' in page
    assert f'rel="next" href="/results/{oldest.pk}"' in page
    assert 'rel="next"' not in page_of(person, oldest, "?image=2")
    assert 'rel="prev"' not in page_of(person, newest)


def test_neighbours_of_the_same_moment_are_ordered_by_id(person, user, submit):
    detections = [submit(user, photo()) for _ in range(3)]
    Detection.objects.update(created_at=detections[0].created_at)
    page = page_of(person, detections[1])
    assert f"/results/{detections[2].pk}?image=1" in page
    assert f'rel="next" href="/results/{detections[0].pk}"' in page


def test_a_page_tells_how_far_its_detection_has_come(person, user, submit):
    detection = submit(user, photo())
    assert "Waiting: number 1 in the queue" in page_of(person, detection)
    actions.cancel(detection.pk)
    page = page_of(person, detection)
    assert "Cancelled before this picture was processed." in page
    assert 'data-action="rerun"' in page
    image = detection.images.get()
    image.fail("unreadable", "The file ends too early.")
    image.save()
    Detection.objects.update(status="failed")
    page = page_of(person, detection)
    assert "The file ends too early." in page
    assert 'data-action="retry"' in page


def test_names_and_reasons_are_text(person, user, submit):
    detection = submit(user, photo())
    odd = "</script><img src=x onerror=alert(1)>"
    detection.change(name=odd, is_public=True, moderation="rejected", moderation_reason=odd)
    detection.images.update(state="done", original_name=odd)
    DetectionResult.objects.bulk_create(
        DetectionResult(
            detection=detection, image=detection.images.get(), user=user, class_id=1, object_class=odd,
            confidence=0.5, bbox_x=0, bbox_y=0, bbox_width=1, bbox_height=1,
        ) for _ in range(2)
    )  # fmt: skip
    page = page_of(person, detection)
    assert odd not in page
    assert "<img" not in page.partition("<main")[2]
    assert state_of(page)["boxes"][0]["object_class"] == odd


@pytest.mark.parametrize(
    ("moderation", "told"),
    [
        ("pending", "appears once it has been looked at"),
        ("approved", "its public page"),
        ("rejected", "Number plates."),
        ("hidden", "hidden after a report"),
    ],
)
def test_owners_see_what_staff_decided(person, user, submit, moderation, told):
    detection = submit(user, photo())
    processing.process_waiting()
    assert 'data-action="publish"' in page_of(person, detection)
    detection.change(is_public=True, moderation=moderation, moderation_reason="Number plates.")
    page = page_of(person, detection)
    assert told in page
    assert 'data-action="withdraw"' in page


def test_a_page_offers_the_requests_behind_it(person, user, submit, detector):
    detection = submit(user, photo(), photo(), confidence=0.4, classes=[0, 1])
    waiting = offered_by(page_of(person, detection))
    assert [(each["method"], each["path"]) for each in waiting] == [
        ("GET", f"detect/{detection.pk}"),
        ("POST", "detect/batch"),
    ]
    assert waiting[1]["files"] == [["images", "photo-1.jpg"], ["images", "photo-2.jpg"]]
    assert waiting[1]["fields"] == [
        ["detector", detector.full_name],
        ["confidence", "0.4"],
        ["classes", "0,1"],
    ]
    processing.process_waiting()
    done = offered_by(page_of(person, detection))
    assert [each.get("savedAs") for each in done] == [None, "annotated.jpg", "coco.json", None]


def test_a_page_costs_the_same_queries_for_any_number_of_pictures(
    person, user, submit, django_assert_num_queries
):
    few, many = submit(user, photo()), submit(user, *[photo()] * 3)
    processing.process_waiting()
    page_of(person, few)
    for detection in (few, many):
        with django_assert_num_queries(9):
            page_of(person, detection)


def test_a_page_makes_no_rows_of_pictures_that_it_does_not_show(person, user, submit):
    detection = submit(user, *[photo()] * 3)
    processing.process_waiting()
    made = []

    def note(instance, **_):
        made.append(instance.pk)

    post_init.connect(note, sender=DetectionImage)
    page_of(person, detection, "?image=2")
    post_init.disconnect(note, sender=DetectionImage)
    assert made == [detection.images.order_by("pk")[1].pk]
