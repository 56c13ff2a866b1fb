"""Many images at once: each is its own, whatever the others are; and how much of one's work may wait."""

import io
import random
import struct
import zipfile
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import UserSettings
from detections import processing, zips
from detections.models import Detection, DetectionImage, DetectionResult
from detections.tests import images
from objectvision.tests.stack import photo

BATCH = "/api/v1/detect/batch"
State = DetectionImage.State
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def file(content, name="photo.jpg"):
    return SimpleUploadedFile(name, content)


def send(client, *contents, headers=None, **fields):
    files = [file(content, f"photo-{number}.jpg") for number, content in enumerate(contents, 1)]
    return client.post(
        BATCH, {**({"images": files} if files else {}), **fields}, format="multipart", headers=headers
    )


def zipped(entries, compression=zipfile.ZIP_DEFLATED):
    """A ZIP of these names and contents."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def send_archive(client, content, **fields):
    return send(client, archive=file(content, "photos.zip"), **fields)


def faults(response, status=400):
    assert response.status_code == status, response.content
    return [(error["code"], error["attr"]) for error in response.json()["errors"]]


def process():
    processing.run(lambda: None)


@pytest.fixture
def nothing_stored(media):
    yield
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


# Files


def test_every_file_becomes_an_image_in_the_order_sent(api, user, detector):
    response = send(api(user), photo(64, 32), photo(32, 64), name="Two")
    detection = Detection.objects.get()
    assert response.status_code == 202
    assert response.json()["detection_id"] == str(detection.pk)
    assert (detection.name, detection.total, detection.status) == ("Two", 2, "pending")
    rows = detection.images.order_by("pk").values_list("original_name", "width", "height", "priority")
    assert list(rows) == [("photo-1.jpg", 64, 32, 1), ("photo-2.jpg", 32, 64, 1)]


def test_a_bad_file_fails_with_its_code_and_leaves_no_file_while_the_others_go_on(api, user, detector, media):
    bad = {
        name: images.HOSTILE[name] for name in ("empty.jpg", "page.jpg", "cut.png", "bomb.png", "large.png")
    }
    good = [photo(colour=BLACK)] * 5
    response = send(api(user), *good, *(content for content, _ in bad.values()))
    detection = Detection.objects.get()
    assert response.status_code == 202
    assert (detection.status, detection.total, detection.failed) == ("pending", 10, 5)
    process()
    answer = api(user).get(f"/api/v1/detect/{detection.pk}").json()
    assert (answer["status"], answer["processed"], answer["failed"]) == ("completed", 5, 5)
    failed = [image["error"]["code"] for image in answer["images"] if image["state"] == "failed"]
    assert failed == [code for _, code in bad.values()]
    assert all(image["results"] for image in answer["images"] if image["state"] == "done")
    assert len([path for path in media.rglob("*") if path.is_file()]) == 5


def test_a_batch_with_nothing_usable_is_refused(api, user, detector, nothing_stored):
    response = send(api(user), b"no picture", b"")
    assert faults(response) == [("unsupported_format", "images")]
    assert "photo-1.jpg" in response.json()["errors"][0]["detail"]


def test_a_hundred_files_are_taken_and_one_more_is_not(api, user, detector):
    assert send(api(user), *[photo()] * 100).status_code == 202
    assert Detection.objects.get().total == 100
    assert faults(send(api(user), *[photo()] * 101)) == [("too_many_files", "images")]
    assert faults(send(api(user), *[photo()] * 111)) == [("too_many_files", None)]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, ("required", "images")),
        ({"images": "text"}, ("invalid", "images")),
        ({"archive": "text"}, ("invalid", "archive")),
        ({"images": file(photo()), "archive": file(photo())}, ("bad_archive", "archive")),
        ({"images": file(photo()), "archive": file(zipped({"a.jpg": photo()}))}, ("invalid", "archive")),
    ],
)
def test_a_batch_is_of_files_or_of_an_archive(api, user, detector, nothing_stored, fields, fault):
    for value in fields.values():
        if hasattr(value, "seek"):
            value.seek(0)
    assert faults(api(user).post(BATCH, fields, format="multipart")) == [fault]


def test_whoever_waits_gets_all_of_it(api, user, detector, at_once):
    def work():
        from objectvision.tests.stack import until

        until(Detection.objects.exists, 10)
        process()

    response, _ = at_once(lambda: send(api(user), photo(), photo(), headers={"Prefer": "wait=20"}), work)
    assert response.status_code == 200
    assert [image["state"] for image in response.json()["images"]] == ["done", "done"]


# Archives


def test_an_archives_pictures_become_images_whose_names_are_only_shown(api, user, detector, media):
    content = zipped(
        {
            "holiday/bus.jpg": photo(),
            "holiday/deep/er/x.png": images.png(),
            "holiday/": b"",
            "__MACOSX/holiday/._bus.jpg": b"fork",
            "holiday/.DS_Store": b"store",
            "notes.txt": b"no picture",
        }
    )
    assert send_archive(api(user), content).status_code == 202
    rows = DetectionImage.objects.order_by("pk").values_list("original_name", "state", "error_code")
    assert list(rows) == [
        ("holiday/bus.jpg", "waiting", ""),
        ("holiday/deep/er/x.png", "waiting", ""),
        ("notes.txt", "failed", "unsupported_format"),
    ]
    process()
    assert Detection.objects.get().status == "completed"
    stored = {path.parent.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}
    assert stored == {f"users/{user.pk}/images"}


def test_stored_entries_are_taken_too(api, user, detector):
    assert send_archive(api(user), zipped({"a.jpg": photo()}, zipfile.ZIP_STORED)).status_code == 202


def encrypted():
    """As a writer with a password marks it: flags in both headers."""
    data = bytearray(zipped({"a.jpg": photo()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def claiming(size):
    """An entry whose headers claim another size than it has."""
    data = bytearray(zipped({"a.jpg": photo()}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", size)
    return bytes(data)


BAD_ARCHIVES = {
    "no-zip": b"no archive at all",
    "jpeg": photo(),
    "cut": zipped({"a.jpg": photo()})[:-30],
    "empty": zipped({}),
    "only-folders": zipped({"a/": b"", ".hidden": b"x"}),
    "bomb": zipped({"a.jpg": bytes(10_000_000)}),
    "many-bombs": zipped({f"{number}.jpg": bytes(1_000_000) for number in range(50)}),
    "parent": zipped({"../a.jpg": photo()}),
    "parent-inside": zipped({"a/../../b.jpg": photo()}),
    "windows-parent": zipped({"..\\a.jpg": photo()}),
    "root": zipped({"/etc/passwd": photo()}),
    "drive": zipped({"C:\\a.jpg": photo()}),
    "control": zipped({"a\r\nb.jpg": photo()}),
    "encrypted": encrypted(),
    "bzip2": zipped({"a.jpg": photo()}, zipfile.ZIP_BZIP2),
    "lzma": zipped({"a.jpg": photo()}, zipfile.ZIP_LZMA),
    "too-many": zipped({f"{number}.jpg": b"x" for number in range(zips.MOST_ENTRIES + 1)}),
    "long-names": zipped({"x" * 60_000 + f"{number}.jpg": b"x" for number in range(20)}),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_and_leaves_nothing(api, user, detector, nothing_stored, name):
    assert faults(send_archive(api(user), BAD_ARCHIVES[name])) == [("bad_archive", "archive")]


@pytest.mark.parametrize(("size", "code"), [(10, "corrupt_image"), (100_000, "bad_archive")])
def test_an_entry_that_lies_about_its_size_is_refused(api, user, detector, nothing_stored, size, code):
    assert faults(send_archive(api(user), claiming(size))) == [(code, "archive")]


def test_a_damaged_entry_fails_alone(api, user, detector):
    content = bytearray(zipped({"a.jpg": photo(), "b.jpg": photo()}))
    at = content.index(b"a.jpg") + 60
    content[at : at + 20] = b"\xff" * 20
    assert send_archive(api(user), bytes(content)).status_code == 202
    rows = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(rows) == [("a.jpg", "corrupt_image"), ("b.jpg", "")]


def lying_about_its_length():
    """3,000 entries, of which its end admits one."""
    data = bytearray(zipped({f"{number}.jpg": b"x" for number in range(3000)}))
    end = data.rindex(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    return bytes(data)


def upon_each_other():
    """Many entries of the same bytes."""
    data = zipped({"a.jpg": photo()})
    at, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    directory = data[at:end] * 200
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHL", 200, 200, len(directory))
    return data[:at] + directory + bytes(tail)


@pytest.mark.parametrize("make", [lying_about_its_length, upon_each_other])
def test_an_archive_that_lies_about_itself_is_refused(api, user, detector, nothing_stored, make):
    assert faults(send_archive(api(user), make())) == [("bad_archive", "archive")]


def test_whatever_damage_an_archive_has_is_no_fault_of_ours(api, user, detector):
    dice = random.Random(5)
    whole = zipped({"a.jpg": photo(), "b.png": images.png(), "c/d.jpg": photo()})
    client = api(user)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        assert send_archive(client, bytes(data)).status_code in {202, 400}


def test_an_archive_in_an_archive_is_no_picture(api, user, detector):
    inner = zipped({"a.jpg": photo()})
    refused = send_archive(api(user), zipped({"inner.zip": inner}))
    assert faults(refused) == [("unsupported_format", "archive")]
    assert send_archive(api(user), zipped({"inner.zip": inner, "b.jpg": photo()})).status_code == 202
    codes = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(codes) == [("inner.zip", "unsupported_format"), ("b.jpg", "")]


def test_an_archive_that_unpacks_to_more_than_is_allowed_is_refused(
    api, user, detector, nothing_stored, settings
):
    settings.MAX_REQUEST_MB = 1
    noise = images.encoded(images.Image.effect_noise((1200, 1200), 100), "PNG")
    content = zipped({f"{number}.png": noise for number in range(3)})
    assert faults(send_archive(api(user), content)) == [("bad_archive", "archive")]


def test_an_entry_too_large_for_an_image_fails_alone(api, user, detector, settings):
    settings.MAX_UPLOAD_MB = 1
    noise = images.encoded(images.Image.effect_noise((1200, 1200), 100), "PNG")
    assert send_archive(api(user), zipped({"large.png": noise, "b.jpg": photo()})).status_code == 202
    codes = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(codes) == [("large.png", "too_large"), ("b.jpg", "")]


# Cancel and retry


def job(client, detection, deed):
    return client.post(f"/api/v1/detect/jobs/{detection.pk}/{deed}")


def test_cancelled_work_is_not_done_and_work_done_is_kept(api, user, submit, detector):
    detection = submit(user, *[photo(colour=WHITE)] * 3)
    first = DetectionImage.objects.claim(detector, 1)
    processing.process(first, processing.load(detector.path, detector.backend))
    response = job(api(user), detection, "cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert response.json()["progress"] == {"total": 3, "processed": 1, "failed": 0, "percent": 33}
    process()
    assert sorted(detection.images.values_list("state", flat=True)) == ["cancelled", "cancelled", "done"]
    assert set(DetectionResult.objects.values_list("image", flat=True)) == {first.images[0].pk}


def test_a_job_that_has_ended_stays_as_it_is(api, user, submit):
    detection = submit(user, photo())
    process()
    assert job(api(user), detection, "cancel").json()["status"] == "completed"
    assert job(api(user), detection, "retry").json()["status"] == "completed"
    assert detection.images.get().state == State.DONE


def test_retry_runs_the_failed_images_that_have_a_file_and_only_those(api, user, detector):
    send(api(user), photo(), photo(), b"no picture")
    detection = Detection.objects.get()
    good, passing, refused = detection.images.order_by("pk")
    passing_path = passing.image_path
    DetectionImage.objects.filter(pk=passing.pk).update(image_path="users/away.jpg")
    process()
    assert DetectionImage.objects.get(pk=passing.pk).error_code == "file_missing"
    before = DetectionImage.objects.get(pk=good.pk)
    DetectionImage.objects.filter(pk=passing.pk).update(image_path=passing_path, attempts=3)
    response = job(api(user), detection, "retry")
    assert (response.json()["status"], response.json()["progress"]["failed"]) == ("pending", 1)
    again = DetectionImage.objects.get(pk=passing.pk)
    assert (again.state, again.attempts, again.error, again.error_code) == ("waiting", 0, "", "")
    process()
    detection.refresh_from_db()
    assert (detection.status, detection.processed, detection.failed) == ("completed", 2, 1)
    assert DetectionImage.objects.get(pk=good.pk).processed_at == before.processed_at
    assert DetectionImage.objects.get(pk=refused.pk).error_code == "unsupported_format"


def test_a_cancelled_job_whose_failed_image_is_retried_ends_at_a_hundred_percent(api, user, submit):
    detection = submit(user, photo(), photo())
    failed = detection.images.order_by("pk").first()
    failed.fail("processing_failed", "It could not be processed.")
    failed.save()
    job = f"/api/v1/detect/jobs/{detection.pk}"
    answer = api(user).post(f"{job}/cancel").json()
    assert (answer["status"], answer["progress"]["percent"]) == ("cancelled", 50)
    answer = api(user).post(f"{job}/retry").json()
    assert (answer["status"], answer["progress"]["percent"]) == ("pending", 0)
    processing.run(lambda: None)
    answer = api(user).get(job).json()
    assert (answer["status"], answer["progress"]) == (
        "completed", {"total": 2, "processed": 1, "failed": 0, "percent": 100},
    )  # fmt: skip  # an answer at a glance


def test_a_detection_that_failed_in_full_completes_after_a_retry(api, user, submit, media):
    detection = submit(user, photo())
    path = media / detection.images.get().image_path
    content = path.read_bytes()
    path.unlink()
    process()
    detection.refresh_from_db()
    assert detection.status == "failed"
    path.write_bytes(content)
    job(api(user), detection, "retry")
    process()
    detection.refresh_from_db()
    assert (detection.status, detection.error, detection.failed) == ("completed", "", 0)


# How much may wait


def test_past_the_limit_of_waiting_images_an_upload_is_told_to_come_later(
    api, user, stranger, detector, settings
):
    settings.MAX_WAITING_IMAGES_PER_USER = 3
    client = api(user)
    assert send(client, photo(), photo()).status_code == 202
    refused = send(client, photo(), photo())
    assert faults(refused, 429) == [("throttled", None)]
    assert "2 of your images wait" in refused.json()["errors"][0]["detail"]
    assert int(refused["Retry-After"]) == 10
    assert send(client, photo()).status_code == 202
    assert (
        client.post("/api/v1/detect/image", {"image": file(photo())}, format="multipart").status_code == 429
    )
    assert send(api(stranger), photo(), photo()).status_code == 202
    process()
    assert send(client, photo(), photo(), photo()).status_code == 202


def test_when_to_come_again_goes_by_how_fast_ones_images_are_processed(api, user, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 10
    send(api(user), *[photo()] * 10)
    Detection.objects.update(
        status="processing", processed=5, started_at=timezone.now() - timedelta(seconds=100)
    )
    assert 60 <= int(send(api(user), photo(), photo(), photo())["Retry-After"]) <= 61


def test_a_retry_finds_room_or_is_told_when(api, user, detector, settings, media):
    client = api(user)
    send(client, photo(), photo())
    failed = Detection.objects.get()
    for path in failed.images.values_list("image_path", flat=True):
        (media / path).unlink()
    process()
    settings.MAX_WAITING_IMAGES_PER_USER = 3
    assert send(client, photo(), photo()).status_code == 202
    response = job(client, failed, "retry")
    assert faults(response, 429) == [("throttled", None)]
    assert response["Retry-After"]
    failed.refresh_from_db()
    assert failed.status == "failed"
    process()
    assert job(client, failed, "retry").json()["status"] == "pending"


def test_what_an_operator_runs_again_takes_nobodys_room(api, user, submit, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    submit(user, photo(), photo())
    DetectionImage.objects.update(priority=DetectionImage.Priority.BACKGROUND)
    assert send(api(user), photo(), photo()).status_code == 202


def test_refused_files_do_not_count(api, user, detector, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    assert send(api(user), photo(), b"bad", b"bad").status_code == 202
    assert send(api(user), photo(), b"bad", b"bad").status_code == 202


@pytest.mark.postgresql
def test_batches_at_once_do_not_pass_the_limit_together(api, user, detector, settings, at_once):
    settings.MAX_WAITING_IMAGES_PER_USER = 10
    clients = [api(user) for _ in range(6)]
    answers = at_once(*[lambda client=client: send(client, *[photo()] * 4).status_code for client in clients])
    assert sorted(answers) == [202, 202, 429, 429, 429, 429]
    assert DetectionImage.objects.count() == 8


@pytest.mark.postgresql
def test_single_images_at_once_do_not_pass_the_limit_together(api, user, detector, settings, at_once):
    settings.MAX_WAITING_IMAGES_PER_USER = 5

    def upload(client):
        fields = {"image": file(photo())}
        return client.post("/api/v1/detect/image", fields, format="multipart").status_code

    clients = [api(user) for _ in range(16)]
    answers = at_once(*[lambda client=client: upload(client) for client in clients])
    assert sorted(answers) == [202] * 5 + [429] * 11
    assert DetectionImage.objects.count() == 5


@pytest.mark.parametrize(("most", "alone"), [(1000, False), (101, False), (100, True)])
def test_far_from_the_limit_an_upload_waits_for_no_other(submit, user, settings, most, alone):
    settings.MAX_WAITING_IMAGES_PER_USER = most
    with CaptureQueriesContext(connection) as queries:
        submit(user, photo())
    assert sum('FROM "accounts_user" ' in query["sql"] for query in queries) == alone


# Once only


KEY = {"Idempotency-Key": "order-66"}


def test_the_same_request_with_the_same_key_makes_one_detection_and_shows_its_present_state(
    api, user, detector
):
    client = api(user)
    first = send(client, photo(), name="Once", headers=KEY)
    process()
    again = send(client, photo(), name="Once", headers=KEY)
    assert first.status_code == again.status_code == 202
    assert again.json()["detection_id"] == first.json()["detection_id"]
    assert (first.json()["status"], again.json()["status"]) == ("pending", "completed")
    assert Detection.objects.count() == DetectionImage.objects.count() == 1
    waited = send(client, photo(), name="Once", headers={**KEY, "Prefer": "wait=5"})
    assert (waited.status_code, waited.json()["id"]) == (200, first.json()["detection_id"])


@pytest.mark.parametrize(
    "other",
    [
        {"contents": [photo(colour=BLACK)], "name": "Once"},
        {"contents": [photo()], "name": "Twice"},
        {"contents": [photo(), photo()], "name": "Once"},
        {"contents": [photo()]},
        {"contents": [b"no picture"], "name": "Once"},
    ],
)
def test_another_request_with_the_same_key_is_refused(api, user, detector, other):
    client = api(user)
    send(client, photo(), name="Once", headers=KEY)
    response = send(client, *other.pop("contents"), headers=KEY, **other)
    assert faults(response, 422) == [("idempotency_key_reused", None)]
    assert Detection.objects.count() == 1


def test_a_refused_request_leaves_its_key_free(api, user, detector):
    assert send(api(user), b"no picture", headers=KEY).status_code == 400
    assert send(api(user), photo(), headers=KEY).status_code == 202


def test_anothers_key_is_not_ones_own(api, user, stranger, detector):
    first, second = (send(api(who), photo(), headers=KEY).json()["detection_id"] for who in (user, stranger))
    assert first != second


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "schlüssel"])
def test_a_key_that_is_none_is_refused(api, user, detector, nothing_stored, key):
    response = send(api(user), photo(), headers={"Idempotency-Key": key})
    assert faults(response) == [("invalid", "Idempotency-Key")]


@pytest.mark.parametrize("path", [BATCH, "/api/v1/detect/image"])
def test_a_key_without_a_body_is_no_fault_of_ours(api, user, detector, nothing_stored, path):
    response = api(user).generic("POST", path, headers=KEY)
    assert response.status_code == 400
    assert {error["code"] for error in response.json()["errors"]} == {"required"}


@pytest.mark.postgresql
def test_twenty_at_once_with_one_key_make_one_detection(api, user, detector, at_once, media):
    clients = [api(user) for _ in range(20)]
    answers = at_once(
        *[lambda client=client: send(client, photo(), photo(), headers=KEY) for client in clients]
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["detection_id"] for answer in answers}) == 1
    assert (Detection.objects.count(), DetectionImage.objects.count()) == (1, 2)
    assert len([path for path in media.rglob("*") if path.is_file()]) == 2


# Results that are there already


def test_reuse_takes_over_what_was_found_on_the_same_bytes(api, user, detector):
    client = api(user)
    send(client, photo(colour=BLACK), photo(colour=WHITE))
    process()
    found = DetectionResult.objects.count()
    response = send(
        client, photo(colour=WHITE), photo(colour=BLACK), reuse="true", headers={"Prefer": "wait=5"}
    )
    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert DetectionResult.objects.count() == 2 * found
    first, second = Detection.objects.order_by("pk")
    white, black = second.images.order_by("pk")
    assert white.results.first().confidence == first.images.order_by("pk")[1].results.first().confidence
    assert black.results.first().confidence == first.images.order_by("pk")[0].results.first().confidence
    assert white.image_path not in set(first.images.values_list("image_path", flat=True))


def test_what_is_not_known_is_processed_as_always(api, user, detector):
    client = api(user)
    send(client, photo(colour=BLACK))
    process()
    send(client, photo(colour=BLACK), photo(colour=WHITE), reuse="true")
    latest = Detection.objects.order_by("-pk")[0]
    assert (latest.status, latest.processed) == ("pending", 1)
    process()
    latest.refresh_from_db()
    assert (latest.status, latest.processed) == ("completed", 2)


@pytest.mark.parametrize("difference", ["parameters", "user", "not asked for", "not done"])
def test_nothing_is_taken_over_that_is_not_alike(api, user, stranger, detector, difference):
    send(api(stranger if difference == "user" else user), photo())
    if difference != "not done":
        process()
    fields = {"confidence": "0.9"} if difference == "parameters" else {}
    send(api(user), photo(), reuse="false" if difference == "not asked for" else "true", **fields)
    assert Detection.objects.order_by("-pk")[0].status == "pending"


def test_the_defaults_of_the_settings_count_as_parameters(api, user, detector):
    client = api(user)
    send(client, photo())
    process()
    UserSettings.objects.create(user=user, default_confidence=0.9)
    send(api(user), photo(), reuse="true")
    assert Detection.objects.order_by("-pk")[0].status == "pending"
