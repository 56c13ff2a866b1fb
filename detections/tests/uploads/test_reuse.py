"""`reuse=true` copies the results of the same bytes from an earlier detection."""

import pytest

from accounts.models import UserSettings
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionResult
from testing.api import send_batch
from testing.files.pictures import photo

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def test_reuse_copies_results_of_the_same_bytes_without_processing(api, user, detector):
    client = api(user)
    send_batch(client, photo(colour=BLACK), photo(colour=WHITE))
    process_waiting()
    found = DetectionResult.objects.count()
    response = send_batch(
        client, photo(colour=WHITE), photo(colour=BLACK), reuse="true", headers={"Prefer": "wait=5"}
    )
    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert DetectionResult.objects.count() == 2 * found
    first, second = Detection.objects.order_by("pk")
    white, black = second.images.order_by("pk")
    assert white.results.first().confidence == first.images.order_by("pk")[1].results.first().confidence
    assert black.results.first().confidence == first.images.order_by("pk")[0].results.first().confidence
    assert white.image_path not in set(first.images.values_list("image_path", flat=True))


def test_with_reuse_unknown_images_are_processed(api, user, detector):
    client = api(user)
    send_batch(client, photo(colour=BLACK))
    process_waiting()
    send_batch(client, photo(colour=BLACK), photo(colour=WHITE), reuse="true")
    latest = Detection.objects.order_by("-pk")[0]
    assert (latest.status, latest.processed) == ("pending", 1)
    process_waiting()
    latest.refresh_from_db()
    assert (latest.status, latest.processed) == ("completed", 2)


@pytest.mark.parametrize("difference", ["parameters", "user", "not asked for", "not done"])
def test_reuse_needs_the_same_user_and_parameters_and_finished_results(
    api, user, stranger, detector, difference
):
    send_batch(api(stranger if difference == "user" else user), photo())
    if difference != "not done":
        process_waiting()
    fields = {"confidence": "0.9"} if difference == "parameters" else {}
    send_batch(api(user), photo(), reuse="false" if difference == "not asked for" else "true", **fields)
    assert Detection.objects.order_by("-pk")[0].status == "pending"


def test_reuse_compares_parameters_that_come_from_user_settings(api, user, detector):
    client = api(user)
    send_batch(client, photo())
    process_waiting()
    UserSettings.objects.create(user=user, default_confidence=0.9)
    send_batch(api(user), photo(), reuse="true")
    assert Detection.objects.order_by("-pk")[0].status == "pending"
