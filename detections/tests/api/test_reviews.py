"""Owners accept, reject and relabel results, and add boxes; the model's own answer stays."""

import csv
import json
from functools import partial
from uuid import uuid4

import pytest
from django.utils import timezone

from detections import erasure, rendering, reviews
from detections.exports import runs
from detections.jobs.processing import process_waiting
from detections.jobs.reprocessing import Reprocessing
from detections.models import Detection, DetectionImage, DetectionResult, Export
from testing.api import faults, send_batch
from testing.files.pictures import photo

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BOX = {"x": 0.25, "y": 0.5, "width": 0.5, "height": 0.25}
ANSWER = ("object_class", "class_id", "confidence", "bbox_x", "bbox_y", "bbox_width", "bbox_height", "source")


@pytest.fixture
def done(submit, user):
    """A processed photo: alpha with a confidence of 0.5, beta with 0.4."""
    return processed(submit(user, photo(colour=BLACK)))


def processed(detection):
    process_waiting()
    detection.refresh_from_db()
    return detection


def result_of(detection, name="alpha"):
    return detection.results.get(object_class=name)


def url(detection, page="results"):
    return f"/api/v1/detect/{detection.pk}/{page}"


def review(client, result, **fields):
    return client.patch(f"{url(result.detection)}/{result.pk}", fields)


def add(client, detection, **fields):
    image = detection.images.order_by("pk").first()
    wanted = {"image_id": str(image.pk), "object_class": "scooter", "bbox_normalized": BOX}
    return client.post(url(detection), {**wanted, **fields})


def shown(response, status=200):
    assert response.status_code == status, response.content
    row = response.json()
    return row["object_class"], row["review"], row["reviewed_class"]


def said(result):
    result.refresh_from_db()
    return result.review, result.reviewed_class, result.reviewed_by


# One result


def test_a_review_keeps_the_answer_of_the_model(api, user, done):
    client, result = api(user), result_of(done)
    answer = DetectionResult.objects.values(*ANSWER).get(pk=result.pk)
    steps = [
        ({"review": "accepted"}, ("accepted", "")),
        ({"object_class": " forklift "}, ("accepted", "forklift")),
        ({"review": "accepted"}, ("accepted", "forklift")),
        ({}, ("accepted", "forklift")),
        ({"review": "rejected"}, ("rejected", "")),
        ({"review": "accepted", "object_class": "beta"}, ("accepted", "beta")),
        ({"object_class": "alpha"}, ("accepted", "")),
    ]
    for fields, expected in steps:
        assert shown(review(client, result, **fields)) == ("alpha", *expected)
        assert said(result) == (*expected, user.pk)
        assert result.final_class == (expected[1] or "alpha")
        assert DetectionResult.objects.values(*ANSWER).get(pk=result.pk) == answer
    assert result.reviewed_at is not None
    assert shown(review(client, result, review="none")) == ("alpha", "none", "")
    assert said(result) == ("none", "", None)
    assert result.reviewed_at is None
    assert said(result_of(done, "beta")) == ("none", "", None)


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"review": "maybe"}, "review"),
        ({"review": None}, "review"),
        ({"review": "rejected", "object_class": "beta"}, "object_class"),
        ({"review": "none", "object_class": "beta"}, "object_class"),
        ({"object_class": ""}, "object_class"),
        ({"object_class": " \t"}, "object_class"),
        ({"object_class": "x" * 101}, "object_class"),
        ({"object_class": "a\u0007b"}, "object_class"),
        ({"object_class": "a\u2028b"}, "object_class"),
        ({"object_class": 5}, "object_class"),
        ({"reviewed_class": "beta"}, "reviewed_class"),
        ({"confidence": 1}, "confidence"),
    ],
)
def test_a_review_that_says_nothing_clear_is_refused_and_changes_nothing(api, user, done, fields, refused):
    result = result_of(done)
    assert [attr for _, attr in faults(review(api(user), result, **fields))] == [refused]
    assert said(result) == ("none", "", None)


def test_a_result_is_found_only_in_its_own_detection_and_before_the_body_is_read(
    api, user, stranger, done, submit
):
    client, result = api(user), result_of(done)
    other, foreign = processed(submit(user, photo())), processed(submit(stranger, photo()))
    for detection, pk in ((other, result.pk), (done, result_of(foreign).pk), (done, uuid4())):
        address = f"{url(detection)}/{pk}"
        for fields in ({"review": "rejected"}, {"nonesuch": 1}):
            assert client.patch(address, fields).status_code == 404
        assert client.delete(address).status_code == 404
    assert not DetectionResult.objects.reviewed().exists()
    assert DetectionResult.objects.count() == 6


def test_results_of_an_image_that_is_not_done_cannot_be_reviewed(api, user, done):
    client, result = api(user), result_of(done)
    done.images.update(state="waiting")
    assert faults(review(client, result, review="rejected"), 409) == [("not_processed", None)]
    assert faults(add(client, done), 409) == [("not_processed", None)]
    answer = client.post(url(done, "review"), {"review": "rejected", "min_confidence": 0})
    assert (answer.status_code, answer.json()) == (200, {"changed": 0})
    assert not DetectionResult.objects.reviewed().exists()


@pytest.mark.parametrize("count", [1, 3])
def test_a_review_takes_as_many_queries_for_many_results(api, user, submit, count, django_assert_num_queries):
    client, detection = api(user), processed(submit(user, *[photo()] * count))
    result = detection.results.first()
    # The session, the detection, the result; within a savepoint: the lock, the result, two changes.
    with django_assert_num_queries(9):
        review(client, result, review="accepted")
    with django_assert_num_queries(8):  # the done images, and one change
        client.post(url(detection, "review"), {"review": "rejected", "min_confidence": 0})


# Added boxes


def test_an_added_box_is_a_result_of_a_person_and_can_be_deleted(api, user, done):
    client = api(user)
    for name, class_id in (("beta", 1), ("scooter", 2)):
        response = add(client, done, object_class=name)
        assert shown(response, 201) == (name, "accepted", "")
        row = response.json()
        assert (row["class_id"], row["confidence"], row["source"]) == (class_id, 1, "person")
        assert row["bbox_normalized"] == BOX
        assert row["bbox"] == {"x1": 16, "y1": 32, "x2": 48, "y2": 48, "width": 32, "height": 16}
    added = DetectionResult.objects.get(pk=row["id"])
    assert (added.user_id, added.reviewed_by) == (user.pk, user.pk)
    assert shown(review(client, added, object_class="moped")) == ("scooter", "accepted", "moped")
    assert shown(review(client, added, review="rejected")) == ("scooter", "rejected", "")
    assert faults(review(client, added, review="none"), 409) == [("added_box", None)]
    assert client.delete(f"{url(done)}/{added.pk}").status_code == 204
    assert client.delete(f"{url(done)}/{added.pk}").status_code == 404
    assert sorted(done.results.values_list("object_class", flat=True)) == ["alpha", "beta", "beta"]


def test_what_the_model_found_cannot_be_deleted(api, user, done):
    assert faults(api(user).delete(f"{url(done)}/{result_of(done).pk}"), 409) == [("not_added", None)]
    assert done.results.count() == 2


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"bbox_normalized": {**BOX, "width": 0}}, "bbox_normalized.width"),
        ({"bbox_normalized": {**BOX, "height": -0.1}}, "bbox_normalized.height"),
        ({"bbox_normalized": {**BOX, "x": 0.6}}, "bbox_normalized.width"),
        ({"bbox_normalized": {**BOX, "y": 1}}, "bbox_normalized.height"),
        ({"bbox_normalized": {**BOX, "x": -0.1}}, "bbox_normalized.x"),
        ({"bbox_normalized": {**BOX, "y": "0.5"}}, "bbox_normalized.y"),
        ({"bbox_normalized": {**BOX, "depth": 1}}, "bbox_normalized.depth"),
        ({"bbox_normalized": {"x": 0, "y": 0, "width": 1}}, "bbox_normalized.height"),
        ({"bbox_normalized": [0, 0, 1, 1]}, "bbox_normalized.non_field_errors"),
        ({"object_class": "a\nb"}, "object_class"),
        ({"image_id": "1"}, "image_id"),
        ({"image_id": str(uuid4())}, "image_id"),
        ({"confidence": 1}, "confidence"),
    ],
)
def test_a_box_that_cannot_be_one_is_refused(api, user, done, fields, refused):
    assert [attr for _, attr in faults(add(api(user), done, **fields))] == [refused]
    assert done.results.count() == 2


def test_a_box_may_end_at_the_edges_of_the_image(api, user, done):
    box = {"x": 0.9, "y": 0, "width": 0.1 + 1e-9, "height": 1}
    row = add(api(user), done, bbox_normalized=box).json()
    assert row["bbox"]["x2"] == row["bbox"]["y2"] == 64


def test_an_image_takes_a_limited_number_of_added_boxes(api, user, done, monkeypatch):
    monkeypatch.setattr(reviews, "MOST_ADDED", 2)
    client = api(user)
    assert [add(client, done).status_code for _ in range(3)] == [201, 201, 409]
    assert done.results.count() == 4


# Many results


def test_all_results_above_or_below_a_confidence_are_reviewed_at_once(api, user, stranger, submit):
    mine = processed(submit(user, photo(colour=BLACK), photo(colour=WHITE)))
    other, foreign = processed(submit(user, photo())), processed(submit(stranger, photo()))
    client = api(user)
    first = mine.results.filter(object_class="alpha").order_by("confidence").first()
    review(client, first, object_class="gamma")
    add(client, mine)

    def ask(**fields):
        response = client.post(url(mine, "review"), fields)
        assert response.status_code == 200, response.content
        return response.json()["changed"]

    def states():
        rows = mine.results.found_by_models().order_by("object_class", "confidence")
        return list(rows.values_list("review", "reviewed_class"))

    assert ask(review="rejected", max_confidence=0.45, classes="alpha,gamma") == 0
    assert ask(review="accepted", min_confidence=0.45) == 1  # not what was reviewed before
    assert ask(review="rejected", max_confidence=0.45, classes=["beta", "nonesuch"]) == 2
    assert states() == [("accepted", "gamma"), ("accepted", ""), ("rejected", ""), ("rejected", "")]
    assert set(mine.results.values_list("reviewed_by", flat=True)) == {user.pk}
    assert ask(review="none", min_confidence=0.45) == 2
    assert states() == [("none", ""), ("none", ""), ("rejected", ""), ("rejected", "")]
    assert mine.results.get(source="person").review == "accepted"
    assert not DetectionResult.objects.filter(detection__in=[other, foreign]).reviewed().exists()


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"review": "accepted"}, "min_confidence"),
        ({"min_confidence": 0}, "review"),
        ({"review": "accepted", "min_confidence": 1.1}, "min_confidence"),
        ({"review": "accepted", "max_confidence": "0.5"}, "max_confidence"),
        ({"review": "accepted", "max_confidence": 1, "class": "alpha"}, "class"),
        ({"review": "accepted", "max_confidence": 1, "classes": [1]}, "classes"),
    ],
)
def test_a_review_of_all_needs_to_say_which_and_how(api, user, done, fields, refused):
    response = api(user).post(url(done, "review"), fields)
    assert [attr for _, attr in faults(response)] == [refused]
    assert not done.results.reviewed().exists()


# Where reviews are shown


@pytest.mark.parametrize("address", ["/api/v1/detect/results", "results of one"])
def test_lists_show_what_waits_for_a_review_and_the_least_certain_first(api, user, done, address):
    client = api(user)
    address = url(done) if address == "results of one" else address
    review(client, result_of(done), review="rejected")
    add(client, done)

    def classes(**question):
        page = client.get(address, question).json()
        assert page["total"] == len(page["items"])
        return [item["object_class"] for item in page["items"]]

    assert classes(ordering="confidence") == ["beta", "alpha", "scooter"]
    assert classes(ordering="-confidence") == ["scooter", "alpha", "beta"]
    assert classes(review="none") == ["beta"]
    assert classes(review="rejected") == ["alpha"]
    assert classes(review="accepted", ordering="confidence") == ["scooter"]
    for question in ({"review": "some"}, {"ordering": "class"}, {"review": ""}):
        assert faults(client.get(address, question))[0][1] == next(iter(question))


@pytest.mark.django_db(transaction=True)
def test_a_review_changes_the_tags_and_the_kept_answers(api, user, done):
    client, result = api(user), result_of(done)
    pages = [f"/api/v1/detect/{done.pk}", url(done, "image"), "/api/v1/detect/history"]
    kept = ["/api/v1/detect/results?review=none", "/api/v1/users/statistics"]

    def tags():
        return [client.get(page)["ETag"] for page in pages]

    deeds = [
        lambda: review(client, result, review="rejected"),
        lambda: client.post(url(done, "review"), {"review": "rejected", "max_confidence": 1}),
        lambda: add(client, done),
        lambda: client.delete(f"{url(done)}/{done.results.get(source='person').pk}"),
    ]
    for deed in deeds:
        before, answers = tags(), [client.get(page).json() for page in kept]
        assert tags() == before
        assert deed().status_code in {200, 201, 204}
        assert all(one != other for one, other in zip(before, tags(), strict=True))
        assert [client.get(page).json() for page in kept] != answers


def test_the_annotated_picture_shows_added_boxes_new_classes_and_nothing_rejected(api, user, done):
    client, image = api(user), done.images.get()

    def labels(classes=""):
        return [(box.object_class, box.class_id) for box in rendering.labels_of(image, 0, classes)]

    review(client, result_of(done), object_class="gamma")
    review(client, result_of(done, "beta"), review="rejected")
    add(client, done)
    assert labels() == [("scooter", 2), ("gamma", 2)]
    assert labels("gamma") == [("gamma", 2)]
    assert labels("alpha,beta") == []
    review(client, result_of(done), object_class="beta")
    assert labels("beta") == [("beta", 1)]


def test_files_and_answers_show_reviews(api, user, done):
    client = api(user)
    review(client, result_of(done), object_class="=gamma")
    add(client, done)
    expected = {
        "scooter": ("person", "accepted", ""),
        "alpha": ("model", "accepted", "=gamma"),
        "beta": ("model", "none", ""),
    }

    def by_class(rows):
        return {row["object_class"]: (row["source"], row["review"], row["reviewed_class"]) for row in rows}

    (image,) = client.get(f"/api/v1/detect/{done.pk}").json()["images"]
    assert by_class(image["results"]) == expected
    assert by_class(client.get("/api/v1/detect/results").json()["items"]) == expected
    with runs.file_of(done, Export(format="jsonl")) as file:
        assert by_class(map(json.loads, file)) == expected
    with runs.file_of(done, Export(format="csv")) as file:
        rows = by_class(csv.DictReader(file.read().decode().splitlines()))
    assert rows == {**expected, "alpha": ("model", "accepted", "'=gamma")}


def test_a_key_without_the_read_scope_reviews_but_sees_no_results(keyed, done):
    client, result = keyed("detect"), result_of(done)
    assert review(client, result, object_class="gamma").json() == {
        "id": str(result.pk),
        "image_id": str(result.image_id),
        "review": "accepted",
    }
    assert set(add(client, done).json()) == {"id", "image_id", "review"}
    assert client.get(url(done)).status_code == 403
    assert said(result)[:2] == ("accepted", "gamma")
    assert faults(review(keyed("read"), result, review="rejected"), 403)


def test_reuse_copies_the_answer_of_the_model_alone(api, user, done):
    client = api(user)
    review(client, result_of(done), object_class="gamma")
    add(client, done)
    send_batch(client, photo(colour=BLACK), reuse="true")
    copy = Detection.objects.order_by("pk").last()
    values = copy.results.values_list(
        "object_class", "review", "reviewed_class", "reviewed_by", "reviewed_at"
    )
    assert sorted(values) == [("alpha", "none", "", None, None), ("beta", "none", "", None, None)]


# At the same time


def test_reviews_at_once_leave_one_of_them_whole(at_once, user, done):
    result = result_of(done)
    at_once(
        *[partial(reviews.review_result, done, result.pk, {"object_class": f"c{n}"}) for n in range(4)],
        *[partial(reviews.review_result, done, result.pk, {"review": "rejected"}) for n in range(4)],
    )
    state = said(result)[:2]
    assert state == ("rejected", "") or state in {("accepted", f"c{n}") for n in range(4)}


def test_boxes_added_at_once_keep_the_limit(at_once, user, done, monkeypatch):
    monkeypatch.setattr(reviews, "MOST_ADDED", 2)
    image = done.images.get()

    def add_one():
        try:
            return reviews.add_result(done, image.pk, "scooter", BOX).pk
        except reviews.ReviewError as error:
            return error.code

    assert at_once(*[add_one] * 5).count("too_many_boxes") == 3
    assert done.results.count() == 4


def test_what_is_deleted_meanwhile_is_404_and_leaves_nothing(api, user, done, monkeypatch):
    """The detection is deleted after it was found, and before it is locked."""
    client, result = api(user), result_of(done)
    found = reviews.locked

    def locked_too_late(detection):
        erasure.delete_detections([detection.pk])
        return found(detection)

    monkeypatch.setattr(reviews, "locked", locked_too_late)
    assert review(client, result, review="rejected").status_code == 404
    assert not DetectionResult.objects.exists()


@pytest.mark.parametrize("deed", ["accept", "add"])
def test_reprocessing_leaves_reviewed_images_alone(api, user, submit, deed):
    detection = processed(submit(user, photo(colour=BLACK), photo(colour=BLACK)))
    reviewed, other = detection.images.order_by("pk")
    if deed == "accept":
        review(api(user), reviewed.results.first(), review="accepted")
    else:
        add(api(user), detection)
    kept = set(reviewed.results.values_list("pk", flat=True))
    replaced = set(other.results.values_list("pk", flat=True))
    run = Reprocessing(Detection.objects.all(), before=timezone.now())
    run.put_back([detection.pk])
    assert run.images == 1
    processed(detection)
    assert detection.status == "completed"
    assert set(reviewed.results.values_list("pk", flat=True)) == kept
    assert not replaced & set(other.results.values_list("pk", flat=True))
    assert DetectionImage.objects.filter(state="done").count() == 2
