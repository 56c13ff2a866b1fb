"""Many files in one request: each becomes an image of its own."""

import pytest

from detections.jobs.processing import process_waiting
from detections.models import Detection
from testing.api import BATCH, faults, file_of, send_batch, zipped
from testing.files import pictures
from testing.files.pictures import photo
from testing.waiting import until

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def test_every_file_becomes_an_image_in_the_order_sent(api, user, detector):
    response = send_batch(api(user), photo(64, 32), photo(32, 64), name="Two")
    detection = Detection.objects.get()
    assert response.status_code == 202
    assert response.json()["detection_id"] == str(detection.pk)
    assert (detection.name, detection.total, detection.status) == ("Two", 2, "pending")
    rows = detection.images.order_by("pk").values_list("original_name", "width", "height", "priority")
    assert list(rows) == [("photo-1.jpg", 64, 32, 1), ("photo-2.jpg", 32, 64, 1)]


def test_bad_files_fail_with_their_codes_and_the_others_are_processed(api, user, detector, media):
    bad = {
        name: pictures.HOSTILE[name] for name in ("empty.jpg", "page.jpg", "cut.png", "bomb.png", "large.png")
    }
    good = [photo(colour=BLACK)] * 5
    response = send_batch(api(user), *good, *(content for content, _ in bad.values()))
    detection = Detection.objects.get()
    assert response.status_code == 202
    assert (detection.status, detection.total, detection.failed) == ("pending", 10, 5)
    process_waiting()
    answer = api(user).get(f"/api/v1/detect/{detection.pk}").json()
    assert (answer["status"], answer["processed"], answer["failed"]) == ("completed", 5, 5)
    failed = [image["error"]["code"] for image in answer["images"] if image["state"] == "failed"]
    assert failed == [code for _, code in bad.values()]
    assert all(image["results"] for image in answer["images"] if image["state"] == "done")
    assert len([path for path in media.rglob("*") if path.is_file()]) == 5


def test_a_batch_without_a_valid_picture_is_refused(api, user, detector, nothing_stored):
    response = send_batch(api(user), b"no picture", b"")
    assert faults(response) == [("unsupported_format", "images")]
    assert "photo-1.jpg" in response.json()["errors"][0]["detail"]


def test_a_batch_of_100_files_is_accepted_and_one_of_101_refused(api, user, detector):
    assert send_batch(api(user), *[photo()] * 100).status_code == 202
    assert Detection.objects.get().total == 100
    assert faults(send_batch(api(user), *[photo()] * 101)) == [("too_many_files", "images")]
    unread = send_batch(api(user), *[photo()] * 111)
    assert faults(unread, kind="client_error") == [("too_many_files", None)]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, ("required", "images")),
        ({"images": "text"}, ("invalid", "images")),
        ({"archive": "text"}, ("invalid", "archive")),
        ({"images": file_of(photo()), "archive": file_of(photo())}, ("invalid", "archive")),
        (
            {"images": file_of(photo()), "archive": file_of(zipped({"a.jpg": photo()}))},
            ("invalid", "archive"),
        ),
    ],
)
def test_a_batch_takes_either_files_or_one_archive(api, user, detector, nothing_stored, fields, fault):
    for value in fields.values():
        if hasattr(value, "seek"):
            value.seek(0)
    assert faults(api(user).post(BATCH, fields, format="multipart")) == [fault]


def test_prefer_wait_answers_with_the_results_of_the_whole_batch(api, user, detector, at_once):
    def work():
        until(Detection.objects.exists, 10)
        process_waiting()

    response, _ = at_once(
        lambda: send_batch(api(user), photo(), photo(), headers={"Prefer": "wait=20"}), work
    )
    assert response.status_code == 200
    assert [image["state"] for image in response.json()["images"]] == ["done", "done"]
