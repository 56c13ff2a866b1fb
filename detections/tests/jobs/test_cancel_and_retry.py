"""Cancelling a job and retrying its failed images over the API."""

from detections.jobs import processing
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, DetectionResult
from testing.api import change_job, send_batch
from testing.files.pictures import photo

State = DetectionImage.State
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def test_cancelling_keeps_done_images_and_skips_the_others(api, user, submit, detector):
    detection = submit(user, *[photo(colour=WHITE)] * 3)
    first = DetectionImage.objects.claim(detector, 1)
    processing.process_claim(first, processing.cached_detector(detector.path, detector.backend))
    response = change_job(api(user), detection, "cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert response.json()["progress"] == {"total": 3, "processed": 1, "failed": 0, "percent": 33}
    process_waiting()
    assert sorted(detection.images.values_list("state", flat=True)) == ["cancelled", "cancelled", "done"]
    assert set(DetectionResult.objects.values_list("image", flat=True)) == {first.images[0].pk}


def test_cancelling_and_retrying_a_completed_job_change_nothing(api, user, submit):
    detection = submit(user, photo())
    process_waiting()
    assert change_job(api(user), detection, "cancel").json()["status"] == "completed"
    assert change_job(api(user), detection, "retry").json()["status"] == "completed"
    assert detection.images.get().state == State.DONE


def test_retry_processes_only_failed_images_that_have_a_file(api, user, detector):
    send_batch(api(user), photo(), photo(), b"no picture")
    detection = Detection.objects.get()
    good, passing, refused = detection.images.order_by("pk")
    passing_path = passing.image_path
    DetectionImage.objects.filter(pk=passing.pk).update(image_path="users/away.jpg")
    process_waiting()
    assert DetectionImage.objects.get(pk=passing.pk).error_code == "file_missing"
    before = DetectionImage.objects.get(pk=good.pk)
    DetectionImage.objects.filter(pk=passing.pk).update(image_path=passing_path, attempts=3)
    response = change_job(api(user), detection, "retry")
    assert (response.json()["status"], response.json()["progress"]["failed"]) == ("pending", 1)
    again = DetectionImage.objects.get(pk=passing.pk)
    assert (again.state, again.attempts, again.error, again.error_code) == ("waiting", 0, "", "")
    process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 1)
    assert DetectionImage.objects.get(pk=good.pk).processed_at == before.processed_at
    assert DetectionImage.objects.get(pk=refused.pk).error_code == "unsupported_format"


def test_retrying_a_failed_image_of_a_cancelled_job_ends_at_100_percent(api, user, submit):
    detection = submit(user, photo(), photo())
    failed = detection.images.order_by("pk").first()
    failed.fail("processing_failed", "It could not be processed.")
    failed.save()
    job = f"/api/v1/detect/jobs/{detection.pk}"
    answer = api(user).post(f"{job}/cancel").json()
    assert (answer["status"], answer["progress"]["percent"]) == ("cancelled", 50)
    answer = api(user).post(f"{job}/retry").json()
    assert (answer["status"], answer["progress"]["percent"]) == ("pending", 0)
    process_waiting()
    answer = api(user).get(job).json()
    assert (answer["status"], answer["progress"]) == (
        "completed", {"total": 2, "processed": 1, "failed": 0, "percent": 100},
    )  # fmt: skip  # an answer at a glance


def test_a_failed_detection_completes_after_a_retry(api, user, submit, media):
    detection = submit(user, photo())
    path = media / detection.images.get().image_path
    content = path.read_bytes()
    path.unlink()
    process_waiting()
    detection.refresh_from_db()
    assert detection.status == "failed"
    path.write_bytes(content)
    change_job(api(user), detection, "retry")
    process_waiting()
    detection.refresh_from_db()
    assert (detection.status, detection.error, detection.failed) == ("completed", "", 0)
