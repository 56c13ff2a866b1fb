"""A detection is run again with other parameters: a new one, of the same files."""

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from accounts.models import UserSettings
from detections import erasure, tasks
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, Detector, DiscardedFile
from testing.api import faults, send_batch
from testing.files.pictures import photo

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def rerun(client, detection, headers=None, **wanted):
    return client.post(f"/api/v1/detect/{detection.pk}/rerun", wanted, format="json", headers=headers)


def made(response):
    assert response.status_code == 202, response.content
    return Detection.objects.get(pk=response.json()["detection_id"])


def files(media):
    return {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}


def paths(*detections):
    return set(DetectionImage.objects.filter(detection__in=detections).values_list("image_path", flat=True))


@pytest.fixture
def done(submit, user):
    detection = submit(user, photo(64, 64, BLACK), photo(64, 64, WHITE), confidence=0.45)
    Detection.objects.filter(pk=detection.pk).update(name="Bus stop", is_public=True)
    process_waiting()
    detection.refresh_from_db()
    return detection


@pytest.fixture
def other(detector):
    """Numbers the classes in another order."""
    return Detector.objects.create(
        name="other", version="1", path=detector.path, backend="openvino", image_size=64,
        classes=["beta", "alpha"],
    )  # fmt: skip  # a row to read at a glance


def test_a_rerun_is_a_new_detection_of_the_same_files(api, user, done, media):
    client, before, found = api(user), files(media), list(done.results.values_list("pk", flat=True))
    response = rerun(client, done, confidence=0.05, name="Again")
    new = made(response)
    assert response["Location"].endswith(f"/api/v1/detect/jobs/{new.pk}")
    assert (new.source, new.name, new.is_public, new.total, new.status) == (
        done, "Again", False, 2, "pending",
    )  # fmt: skip  # values to read at a glance
    assert process_waiting() is False
    shown = client.get(f"/api/v1/detect/{new.pk}").json()
    assert (shown["source"], shown["status"], shown["processed"]) == (str(done.pk), "completed", 2)
    assert [image["original_name"] for image in shown["images"]] == ["photo-1.jpg", "photo-2.jpg"]
    assert new.results.count() > len(found)
    assert list(done.results.values_list("pk", flat=True)) == found
    assert client.get(f"/api/v1/detect/{done.pk}").json()["source"] is None
    assert (files(media), paths(new)) == (before, before)
    assert [row["source"] for row in client.get("/api/v1/detect/history").json()["items"]] == [
        str(done.pk), None,
    ]  # fmt: skip  # values to read at a glance


def test_what_is_not_sent_is_as_it_was(api, user, done):
    UserSettings.objects.create(user=user, default_confidence=0.9, default_classes=["beta"])
    parameters = {**done.parameters, "classes": [1], "tile": 64, "iou": 0.3, "augment": True}
    Detection.objects.filter(pk=done.pk).update(parameters=parameters)
    same = made(rerun(api(user), done))
    assert (same.parameters, same.name, same.detector) == (parameters, "Bus stop", done.detector)
    changed = made(rerun(api(user), done, classes="*", tile=0, augment=False, confidence=0))
    assert changed.parameters == {
        **parameters, "classes": None, "tile": 0, "augment": False, "confidence": 0,
    }  # fmt: skip  # values to read at a glance
    listed = made(rerun(api(user), done, classes=["alpha", "1"]))
    assert listed.parameters == {**parameters, "classes": [0, 1]}


def test_another_detector_looks_for_the_same_classes_by_name(api, user, done, other):
    Detection.objects.filter(pk=done.pk).update(parameters={**done.parameters, "classes": [1]})
    new = made(rerun(api(user), done, detector="other"))
    assert (new.detector, new.parameters["classes"]) == (other, [0])
    assert set(new.images.values_list("detector", flat=True)) == {other.pk}
    Detector.objects.filter(pk=other.pk).update(classes=["gamma"])
    response = rerun(api(user), done, detector="other")
    assert faults(response) == [("unknown_class", "classes")]
    assert made(rerun(api(user), done, detector="other", classes="gamma")).parameters["classes"] == [0]


def test_a_size_that_the_other_detector_does_not_take_is_its_own(api, user, done, other):
    Detection.objects.filter(pk=done.pk).update(parameters={**done.parameters, "image_size": 320})
    assert made(rerun(api(user), done, detector="other")).parameters["image_size"] is None
    assert faults(rerun(api(user), done, image_size=320)) == [("fixed_size", "image_size")]


def test_a_detector_that_is_no_longer_active_is_refused(api, user, done, other):
    Detector.objects.filter(pk=done.detector_id).update(is_active=False)
    assert faults(rerun(api(user), done)) == [("unknown_detector", "detector")]
    assert made(rerun(api(user), done, detector="other")).detector == other


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        ({"tile": 63}, ("min_value", "tile")),
        ({"tile": -1}, ("min_value", "tile")),
        ({"confidence": "0.5"}, ("invalid", "confidence")),
        ({"image": "x"}, ("unknown_field", "image")),
        ({"classes": ["gamma"]}, ("unknown_class", "classes")),
        ({"detector": "none"}, ("unknown_detector", "detector")),
    ],
)
def test_wrong_parameters_are_refused(api, user, done, wanted, fault):
    assert faults(rerun(api(user), done, **wanted)) == [fault]
    assert Detection.objects.count() == 1


def test_a_detection_that_is_not_ones_own_is_404_before_its_body_is_read(api, stranger, done):
    path = f"/api/v1/detect/{done.pk}/rerun"
    for body in ("{", '{"nonsense": 1}'):
        response = api(stranger).post(path, body, content_type="application/json")
        assert faults(response, 404) == [("not_found", None)]


def test_images_without_a_file_are_left_out_or_fail(api, user, detector):
    send_batch(api(user), photo(), b"no picture", photo())
    source = Detection.objects.get()
    default_storage.delete(source.images.order_by("pk").first().image_path)
    new = made(rerun(api(user), source))
    process_waiting()
    assert list(new.images.order_by("pk").values_list("original_name", "state", "error_code")) == [
        ("photo-1.jpg", "failed", "file_missing"),
        ("photo-3.jpg", "done", ""),
    ]
    DetectionImage.objects.filter(detection=source).update(image_path="")
    assert faults(rerun(api(user), source), 409) == [("no_file", None)]


def test_images_of_too_many_tiles_fail_and_alone_are_refused(api, user, submit):
    source = submit(user, photo(2000, 1000), photo())
    new = made(rerun(api(user), source, tile=64))
    assert list(new.images.order_by("pk").values_list("state", "error_code")) == [
        ("failed", "too_many_tiles"),
        ("waiting", ""),
    ]
    alone = submit(user, photo(2000, 1000))
    assert faults(rerun(api(user), alone, tile=64)) == [("too_many_tiles", "tile")]


def test_more_than_may_wait_is_429(api, user, done, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 3
    made(rerun(api(user), done))
    refused = rerun(api(user), done)
    assert faults(refused, 429) == [("throttled", None)]
    assert int(refused["Retry-After"]) > 0
    assert Detection.objects.count() == 2


def test_floods_are_limited_as_those_of_uploads(api, user, done, settings):
    settings.THROTTLES = {**settings.THROTTLES, "upload": (1, 60)}  # requests, seconds
    client = api(user)
    made(rerun(client, done))
    assert rerun(client, done).status_code == 429


@pytest.mark.parametrize(
    ("refused", "private", "public"),
    [(("rejected", "A face."), "rejected", "pending"), (("hidden", ""), "hidden", "hidden"),
     (("pending", "A face."), "pending", "pending"), (("approved", ""), "pending", "approved")],
)  # fmt: skip  # a table to read at a glance
def test_what_staff_have_refused_waits_for_them_in_a_rerun_too(
    api, user, done, settings, refused, private, public
):
    settings.MODERATION_REQUIRED = False
    done.change(moderation=refused[0], moderation_reason=refused[1])
    for is_public, expected in ((False, private), (True, public)):
        new = made(rerun(api(user), done, is_public=is_public))
        assert (new.moderation, new.moderation_reason) == (expected, refused[1])


def test_a_key_makes_one_rerun_and_wait_answers_with_it(api, user, done):
    client, key = api(user), {"Idempotency-Key": "once"}
    first = made(rerun(client, done, headers=key, confidence=0.1))
    assert made(rerun(client, done, headers=key, confidence=0.1)) == first
    assert faults(rerun(client, done, headers=key, confidence=0.2), 422) == [("idempotency_key_reused", None)]
    process_waiting()
    waited = rerun(client, done, headers={**key, "Prefer": "wait=5"}, confidence=0.1)
    assert (waited.status_code, waited.json()["id"]) == (200, str(first.pk))


def test_results_are_reused_if_that_is_asked_for(api, user, done):
    assert made(rerun(api(user), done)).status == "pending"
    assert made(rerun(api(user), done, reuse=True)).status == "completed"


@pytest.mark.parametrize("count", [1, 3])
def test_a_rerun_takes_ten_queries(api, user, submit, django_assert_num_queries, count):
    source, client = submit(user, *[photo()] * count), api(user)
    # Session and user; detection; images; savepoint, locked detection, shared files, locked user, end of the
    # line, new rows (SQLite: of each table), savepoint.
    with django_assert_num_queries(10 if connection.vendor == "postgresql" else 11):
        made_by = rerun(client, source)
    assert made(made_by).total == count


# Files that several detections have


def test_a_file_is_deleted_with_the_last_of_its_detections(
    api, user, done, media, django_capture_on_commit_callbacks
):
    client, all_files = api(user), files(media)
    first = made(rerun(client, done))
    second = made(rerun(client, first))
    tag = client.get(f"/api/v1/detect/{first.pk}")["ETag"]
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete(f"/api/v1/detect/{done.pk}").status_code == 204
    assert files(media) == all_files
    shown = client.get(f"/api/v1/detect/{first.pk}", headers={"If-None-Match": tag})
    assert (shown.status_code, shown.json()["source"]) == (200, None)
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([second.pk])
    assert files(media) == all_files
    process_waiting()
    first.refresh_from_db()
    assert (first.status, first.processed) == ("completed", 2)
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([first.pk])
    assert (files(media), DiscardedFile.objects.count()) == (set(), 0)


def test_a_detection_deleted_with_its_rerun_leaves_nothing(
    api, user, done, media, django_capture_on_commit_callbacks
):
    new = made(rerun(api(user), done))
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([new.pk, done.pk])
    assert (files(media), Detection.objects.count()) == (set(), 0)


@pytest.mark.postgresql
def test_reruns_and_deletions_at_once_leave_the_files_of_the_rows_that_are_left(
    api, user, at_once, submit, media
):
    client = api(user)
    for _ in range(8):
        source = submit(user, photo(), photo())
        first = made(rerun(client, source))

        def delete(*detections):
            erasure.delete_detections([each.pk for each in detections])

        answers = at_once(
            lambda source=source: delete(source),
            lambda first=first: delete(first),
            lambda source=source: rerun(api(user), source).status_code,
            lambda first=first: rerun(api(user), first, reuse=True).status_code,
        )
        assert set(answers[2:]) <= {202, 404}
        assert files(media) == paths(*Detection.objects.all())
        assert not DiscardedFile.objects.exists()


def test_the_sweep_deletes_what_a_killed_process_left(user, done, media, monkeypatch):
    erasure.delete_detections([done.pk])  # and the process ends before its commit's hooks
    left = files(media)
    tasks.sweep()
    assert files(media) == left  # another process may be about to do it
    DiscardedFile.objects.update(due_at="2026-01-01T00:00:00Z")
    tasks.sweep()
    assert (files(media), DiscardedFile.objects.count()) == (set(), 0)


def test_a_file_that_the_storage_keeps_is_deleted_later(
    user, done, media, caplog, django_capture_on_commit_callbacks
):
    path = min(files(media))
    (media / path).rename(media / "aside")
    (media / path).mkdir()
    (media / path / "keeps it").touch()  # a folder that is not empty cannot be deleted
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([done.pk])
    assert "is left in the storage" in caplog.text
    assert DiscardedFile.objects.count() == 2
    (media / path / "keeps it").unlink()
    DiscardedFile.objects.update(due_at="2026-01-01T00:00:00Z")
    tasks.sweep()
    assert (files(media), DiscardedFile.objects.count()) == ({"aside"}, 0)
