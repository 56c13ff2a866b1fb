"""The limit on waiting images of a user, and the answer to uploads over it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage
from testing.api import IMAGE, change_job, faults, file_of, send_batch
from testing.files.pictures import photo


def test_an_upload_over_the_limit_of_waiting_images_answers_429(api, user, stranger, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 3
    client = api(user)
    assert send_batch(client, photo(), photo()).status_code == 202
    refused = send_batch(client, photo(), photo())
    assert faults(refused, 429) == [("throttled", None)]
    assert "2 of your images wait" in refused.json()["errors"][0]["detail"]
    assert int(refused["Retry-After"]) == 10
    assert send_batch(client, photo()).status_code == 202
    assert client.post(IMAGE, {"image": file_of(photo())}, format="multipart").status_code == 429
    assert send_batch(api(stranger), photo(), photo()).status_code == 202
    process_waiting()
    assert send_batch(client, photo(), photo(), photo()).status_code == 202


def test_retry_after_depends_on_the_speed_of_the_users_jobs(api, user, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 10
    send_batch(api(user), *[photo()] * 10)
    Detection.objects.update(
        status="processing", processed=5, started_at=timezone.now() - timedelta(seconds=100)
    )
    assert 60 <= int(send_batch(api(user), photo(), photo(), photo())["Retry-After"]) <= 61


def test_a_retry_over_the_limit_of_waiting_images_answers_429(api, user, detector, settings, media):
    client = api(user)
    send_batch(client, photo(), photo())
    failed = Detection.objects.get()
    for path in failed.images.values_list("image_path", flat=True):
        (media / path).unlink()
    process_waiting()
    settings.MAX_WAITING_IMAGES_PER_USER = 3
    assert send_batch(client, photo(), photo()).status_code == 202
    response = change_job(client, failed, "retry")
    assert faults(response, 429) == [("throttled", None)]
    assert response["Retry-After"]
    failed.refresh_from_db()
    assert failed.status == "failed"
    process_waiting()
    assert change_job(client, failed, "retry").json()["status"] == "pending"


def test_background_images_do_not_count_towards_the_limit(api, user, submit, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    submit(user, photo(), photo())
    DetectionImage.objects.update(priority=DetectionImage.Priority.BACKGROUND)
    assert send_batch(api(user), photo(), photo()).status_code == 202


def test_refused_files_do_not_count_towards_the_limit(api, user, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    assert send_batch(api(user), photo(), b"bad", b"bad").status_code == 202
    assert send_batch(api(user), photo(), b"bad", b"bad").status_code == 202


@pytest.mark.postgresql
def test_concurrent_batches_do_not_exceed_the_limit(api, user, detector, settings, at_once):
    settings.MAX_WAITING_IMAGES_PER_USER = 10
    clients = [api(user) for _ in range(6)]
    answers = at_once(
        *[lambda client=client: send_batch(client, *[photo()] * 4).status_code for client in clients]
    )
    assert sorted(answers) == [202, 202, 429, 429, 429, 429]
    assert DetectionImage.objects.count() == 8


@pytest.mark.postgresql
def test_concurrent_single_images_do_not_exceed_the_limit(api, user, detector, settings, at_once):
    settings.MAX_WAITING_IMAGES_PER_USER = 5

    def upload(client):
        fields = {"image": file_of(photo())}
        return client.post(IMAGE, fields, format="multipart").status_code

    clients = [api(user) for _ in range(16)]
    answers = at_once(*[lambda client=client: upload(client) for client in clients])
    assert sorted(answers) == [202] * 5 + [429] * 11
    assert DetectionImage.objects.count() == 5


@pytest.mark.parametrize(("most", "alone"), [(1000, False), (101, False), (100, True)])
def test_an_upload_locks_its_user_only_near_the_limit(submit, user, settings, most, alone):
    settings.MAX_WAITING_IMAGES_PER_USER = most
    with CaptureQueriesContext(connection) as queries:
        submit(user, photo())
    assert sum('FROM "accounts_user" ' in query["sql"] for query in queries) == alone
