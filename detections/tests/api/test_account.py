"""Closing and erasing an account, and the ZIP of all its data."""

import json
import tempfile
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from time import monotonic

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts import closing, keys
from accounts.models import ApiKey, Scope, Session, User, UserSettings
from accounts.tokens import open_session
from detections import erasure, rendering, tasks
from detections.api import takeout
from detections.api.account import RequestStream
from detections.exports import runs
from detections.jobs import processing
from detections.models import Detection, DetectionImage, DetectionResult, Export
from notifications.models import Mail
from notifications.webhooks import endpoints
from objectvision.celery import app
from objectvision.lib import fair_slots
from objectvision.lib.limits import Busy, TooMany
from testing.api import content_of
from testing.files.pictures import photo

PASSWORD = {"password": "a-long-passphrase"}
TAKEOUT = "/api/v1/users/export"


def place(user):
    return f"/api/v1/users/{user.pk}"


def close(client, user):
    """Close the account, and let a worker erase it."""
    assert client.delete(place(user), PASSWORD).status_code == 204
    tasks.erase_closed_accounts()


def files_of(user, media):
    return sorted(path for path in (media / f"users/{user.pk}").rglob("*") if path.is_file())


@pytest.fixture
def settled(user, submit):
    """A user with some of everything."""
    for _ in range(2):
        submit(user, photo(), photo())
    processing.process_waiting()
    runs.submit_export(user, "csv", {})
    runs.make_next_export()
    UserSettings.objects.create(user=user, theme="dark")
    return user


# Deleting the account


def test_deleting_the_account_with_its_password_erases_rows_and_files(api, settled, media):
    pk = settled.pk
    assert len(files_of(settled, media)) == 5
    close(api(settled), settled)
    assert not User.objects.filter(pk=pk).exists()
    for model in (Detection, DetectionImage, DetectionResult, Export, Session, ApiKey, UserSettings):
        assert not model.objects.exists(), model
    assert not (media / f"users/{pk}").exists()


def test_a_delete_request_closes_the_account_and_a_worker_erases_it(
    transactional_db, api, settled, media, rings
):
    assert api(settled).delete(place(settled), PASSWORD).status_code == 204
    assert rings.count(closing.ERASURE_TASK) == 1
    assert User.objects.get(pk=settled.pk).closed_at is not None
    assert len(files_of(settled, media)) == 5
    app.tasks[closing.ERASURE_TASK]()
    assert not User.objects.filter(pk=settled.pk).exists()
    assert not files_of(settled, media)


def test_erasing_an_account_keeps_rows_and_files_of_other_users(api, settled, stranger, submit, media):
    theirs = submit(stranger, photo())
    processing.process_waiting()
    before = list(DetectionResult.objects.filter(detection=theirs).values())
    assert before
    close(api(settled), settled)
    assert list(DetectionResult.objects.values()) == before
    assert len(files_of(stranger, media)) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"password": "another-passphrase"}, "wrong_password"),
        ({"password": ""}, "blank"),
        ({"password": None}, "null"),
        ({"password": "x" * 129}, "max_length"),
        ({}, "required"),
    ],
)
def test_deleting_the_account_without_its_password_is_refused(api, settled, media, body, code):
    response = api(settled).delete(place(settled), body)
    assert response.status_code == 400
    assert [(error["attr"], error["code"]) for error in response.json()["errors"]] == [("password", code)]
    assert User.objects.get(pk=settled.pk).closed_at is None
    assert len(files_of(settled, media)) == 5


def test_wrong_passwords_for_deleting_an_account_are_throttled(api, user):
    client = api(user)
    wrong = [client.delete(place(user), {"password": f"guess-{n}"}).status_code for n in range(12)]
    assert wrong == [400] * 10 + [429] * 2
    assert client.delete(place(user), PASSWORD).status_code == 429


def test_an_api_key_may_not_delete_the_account(user):
    _, raw = keys.issue(user, "Everything", Scope.values, None)
    assert APIClient(HTTP_X_API_KEY=raw).delete(place(user), PASSWORD).status_code == 403
    assert User.objects.filter(pk=user.pk).exists()


def test_closing_an_account_ends_tokens_and_keys_and_frees_its_address(api, user):
    pair, (_, raw) = open_session(user, "pytest"), keys.issue(user, "Camera", Scope.values, None)
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    for headers in ({"X-API-Key": raw}, {"Authorization": f"Bearer {pair.access_token}"}):
        assert api().get("/api/v1/users/get-profile", headers=headers).status_code == 401
    assert api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token}).status_code == 401
    credentials = {"email": "ada@example.com", **PASSWORD}
    assert api().post("/api/v1/auth/login", credentials).status_code == 401
    assert api().post("/api/v1/auth/signup", credentials).status_code == 201


def test_closing_an_account_sends_a_mail(api, user):
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    told = Mail.objects.values_list("kind", "to", "state")
    assert list(told) == [("account_deleted", "ada@example.com", "waiting")]


def test_erasing_a_large_account_continues_in_the_next_task(user, submit, media):
    for _ in range(erasure.ERASED_AT_ONCE + 1):
        submit(user, photo())
    closing.close(user)
    assert not erasure.erase_account(user, monotonic())
    assert Detection.objects.count() == 1
    tasks.erase_closed_accounts()
    assert not User.objects.exists()
    assert not Detection.objects.exists()
    assert not files_of(user, media)


def test_a_closed_account_is_anonymised_and_cannot_log_in(api, client, user):
    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user)
    session = api(user)
    closing.close(user)
    user.refresh_from_db()
    assert (user.email, user.name, user.is_active) == (f"{user.pk}@closed.invalid", "", False)
    assert not user.has_usable_password()
    assert session.get("/api/v1/users/get-profile").status_code == 401
    assert client.get("/admin/").status_code == 302


@pytest.mark.postgresql
def test_concurrent_requests_close_the_account_once_with_one_mail(at_once, api, user):
    clients = [api(user) for _ in range(4)]
    answers = at_once(*[lambda client=client: client.delete(place(user), PASSWORD) for client in clients])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {400, 401}  # 400 if the password was checked after the closing
    assert Mail.objects.values_list("to", flat=True).get() == "ada@example.com"
    tasks.erase_closed_accounts()
    assert not User.objects.exists()


def test_closing_an_account_twice_sends_one_mail(user):
    assert [closing.close(user), closing.close(user)] == [True, False]
    assert Mail.objects.values_list("to", flat=True).get() == "ada@example.com"


def test_the_admin_log_does_not_keep_the_address_of_a_closed_account(api, client, user, stranger):
    client.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    for changed in (user, stranger):
        form = {"email": changed.email, "name": "Countess", "is_active": "on", **settings}
        assert client.post(f"/admin/accounts/user/{changed.pk}/change/", form).status_code == 302
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    told = set(LogEntry.objects.values_list("object_repr", flat=True))
    assert told == {f"{user.pk}@closed.invalid", stranger.email}


def picture():
    return SimpleUploadedFile("photo.jpg", photo())


LATE = {
    "upload": lambda client: client.post("/api/v1/detect/image", {"image": picture()}, format="multipart"),
    "once": lambda client: client.post(
        "/api/v1/detect/image", {"image": picture()}, format="multipart", headers={"Idempotency-Key": "1"}
    ),
    "batch": lambda client: client.post(
        "/api/v1/detect/batch", {"images": [picture(), picture()]}, format="multipart"
    ),
    "export": lambda client: client.post("/api/v1/detect/exports", {"format": "csv"}),
    "key": lambda client: client.post("/api/v1/users/api-keys", {"name": "Camera"}),
    "settings": lambda client: client.patch("/api/v1/users/settings", {"theme": "dark"}),
}


@pytest.mark.parametrize("request_of", LATE.values(), ids=LATE)
def test_a_request_during_which_the_account_is_erased_answers_401(
    transactional_db, api, user, detector, media, request_of, monkeypatch
):
    client = api(user)
    client.raise_request_exception = False
    admit = APIView.check_throttles

    def end_then_admit(view, request):
        closing.close(user)
        assert erasure.erase_account(user, monotonic() + 5)
        admit(view, request)

    monkeypatch.setattr(APIView, "check_throttles", end_then_admit)
    answer = request_of(client)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["errors"][0]["code"] == "authentication_failed"
    assert files_of(user, media) == []


def test_files_without_a_row_are_erased_with_the_account(api, user, media):
    default_storage.save(f"users/{user.pk}/images/left/behind.jpg", BytesIO(b"forgotten"))
    pk = user.pk
    close(api(user), user)
    assert not (media / f"users/{pk}").exists()


@pytest.mark.parametrize("failing", ["listdir", "delete"])
def test_a_file_that_cannot_be_deleted_keeps_only_the_row_of_its_user(
    failing, user, stranger, media, monkeypatch, caplog
):
    for owner in (user, stranger):
        default_storage.save(f"users/{owner.pk}/exports/left.zip", BytesIO(b"forgotten"))
        closing.close(owner)
    work = getattr(FileSystemStorage, failing)

    def fail(storage, path):
        if str(user.pk) in str(path):
            raise PermissionError(path)
        return work(storage, path)

    with monkeypatch.context() as broken:
        broken.setattr(FileSystemStorage, failing, fail)
        tasks.sweep()
    assert list(User.objects.all()) == [user]
    assert (media / f"users/{user.pk}/exports/left.zip").exists()
    assert "is left in the storage" in caplog.text
    tasks.erase_closed_accounts()
    assert not User.objects.exists()
    assert not (media / f"users/{user.pk}").exists()


def test_a_worker_with_a_claim_writes_nothing_after_the_account_is_erased(api, user, submit, detector):
    submit(user, photo())
    claim = DetectionImage.objects.claim(detector, 1)
    work = processing.begin_work(claim, processing.cached_detector(detector.path, detector.backend))
    processing.keep_claims(work)
    outcomes = work.outcomes()
    assert len(outcomes) == 1
    close(api(user), user)
    processing.record_outcomes(claim, outcomes)
    for model in (Detection, DetectionImage, DetectionResult):
        assert not model.objects.exists(), model


# All data as a ZIP


def archive_of(response):
    return zipfile.ZipFile(BytesIO(content_of(response)))


def test_the_zip_has_all_data_of_the_account_and_no_secrets(api, settled):
    row, raw = keys.issue(settled, "Camera", ["read"], None)
    hook = {"url": "https://hooks.example.com/", "events": ["*"], "description": "Line 2"}
    webhook, whsec = endpoints.create_endpoint(settled, None, **hook)
    client = api(settled)
    response = client.get(TAKEOUT)
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"] == 'attachment; filename="objectvision.zip"'
    assert response["Cache-Control"] == "private, no-store"
    with archive_of(response) as archive:
        assert archive.testzip() is None
        account = json.loads(archive.read("account.json"))
        assert account["profile"]["email"] == "ada@example.com"
        assert account["settings"]["theme"] == "dark"
        assert [key["prefix"] for key in account["api_keys"]] == [row.prefix]
        assert [session["is_current"] for session in account["sessions"]] == [True]
        (shown,) = account["webhooks"]
        assert {name: shown[name] for name in hook} == hook
        assert (shown["id"], shown["is_active"]) == (str(webhook.pk), True)
        names = set(archive.namelist())
        for detection in Detection.objects.all():
            shown = client.get(f"/api/v1/detect/{detection.pk}").json()
            assert json.loads(archive.read(f"detections/{detection.pk}.json")) == {**shown, "shares": []}
        pictures = {f"images/{image.unique_name}" for image in DetectionImage.objects.all()}
        assert len(pictures) == 4
        details = {f"detections/{pk}.json" for pk in Detection.objects.values_list("pk", flat=True)}
        assert names == {"account.json"} | pictures | details
        for name in pictures:
            Image.open(BytesIO(archive.read(name))).load()
        everything = b"".join(archive.read(name) for name in names if name.endswith(".json"))
    for secret in (raw, row.hash, settled.password, whsec, webhook.secret):
        assert secret.encode() not in everything


def test_the_zip_has_nothing_of_other_users(api, settled, stranger):
    endpoints.create_endpoint(settled, None, url="https://hooks.example.com/")
    with archive_of(api(stranger).get(TAKEOUT)) as archive:
        assert archive.namelist() == ["account.json"]
        account = json.loads(archive.read("account.json"))
    assert (account["profile"]["email"], account["webhooks"]) == (stranger.email, [])


def test_pictures_in_the_zip_have_no_metadata(api, user, submit):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", exif=exif)
    submit(user, file.getvalue())
    with archive_of(api(user).get(TAKEOUT)) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("images/"))
        assert not Image.open(BytesIO(archive.read(name))).getexif()


def test_a_missing_picture_is_named_in_the_zip(api, settled):
    image = DetectionImage.objects.order_by("pk").first()
    default_storage.delete(image.image_path)
    with archive_of(api(settled).get(TAKEOUT)) as archive:
        assert json.loads(archive.read("missing.json")) == [str(image.pk)]
        assert sum(name.startswith("images/") for name in archive.namelist()) == 3


def test_an_unreadable_picture_is_named_in_the_zip(api, settled, media):
    image = DetectionImage.objects.order_by("pk").first()
    (media / image.image_path).unlink()
    (media / image.image_path).mkdir()
    with archive_of(api(settled).get(TAKEOUT)) as archive:
        assert json.loads(archive.read("missing.json")) == [str(image.pk)]
        assert sum(name.startswith("images/") for name in archive.namelist()) == 3


@pytest.mark.parametrize(("taken", "refusal"), [("slot", Busy), ("queue", TooMany)])
def test_the_zip_waits_for_busy_rendering_instead_of_omitting_pictures(
    api, user, submit, monkeypatch, taken, refusal
):
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "BMP")
    submit(user, file.getvalue())
    monkeypatch.setattr(fair_slots, "LONGEST_WAIT_SECONDS", 0)
    monkeypatch.setattr(fair_slots, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(fair_slots, "MOST_QUEUED", 2)
    told, draw = [], rendering.original_picture

    def watched(image, **options):
        try:
            return draw(image, **options)
        except (Busy, TooMany) as error:
            told.append(type(error))
            others.close()
            raise

    monkeypatch.setattr(rendering, "original_picture", watched)
    with ExitStack() as others:
        for _ in range({"slot": 1, "queue": 2}[taken]):
            others.enter_context(getattr(rendering.drawing, taken)(user.pk))
        with archive_of(api(user).get(TAKEOUT)) as archive:
            assert [name for name in archive.namelist() if name.startswith("images/")]
            assert "missing.json" not in archive.namelist()
    assert told == [refusal]


def on_a_full_disk(**_):
    return Path("/dev/full").open("w+b")


def test_a_full_disk_answers_503_before_the_zip_begins(api, user, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    client = api(user)
    client.raise_request_exception = False
    response = client.get(TAKEOUT)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "unavailable")


@async_to_sync
async def read(stream):
    return [piece async for piece in stream]


@pytest.fixture
def pieces_of(transactional_db):
    """Yields pieces that query the database, then raises; and the counts of generators that have ended."""
    ended = []

    def pieces(count):
        try:
            for number in range(count):
                yield str(User.objects.count()).encode() * (number + 1)
            raise OSError(User.objects.count())
        finally:
            ended.append(count)

    return pieces, ended


def test_a_stream_holds_no_connection_between_pieces_or_after_an_error(pieces_of):
    pieces, ended = pieces_of
    stream = RequestStream(pieces(2))
    assert (connection.connection, ended) == (None, [])
    with pytest.raises(OSError, match="0"):
        read(stream)
    assert (connection.connection, ended) == (None, [2])


def test_an_unread_stream_ends_when_its_response_is_closed(pieces_of):
    pieces, ended = pieces_of
    stream = RequestStream(pieces(2))
    stream.close()
    assert (connection.connection, ended) == (None, [2])


def test_a_stream_that_fails_at_once_raises(pieces_of):
    pieces, ended = pieces_of
    with pytest.raises(OSError, match="0"):
        RequestStream(pieces(0))
    assert (connection.connection, ended) == (None, [0])


def test_the_zip_may_be_requested_ten_times_an_hour(api, user):
    client = api(user)
    answers = [client.get(TAKEOUT) for _ in range(11)]
    for answer in answers:
        answer.close()
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]


def test_the_zip_lists_no_ended_sessions_keys_and_webhooks(api, user):
    client = api(user)
    for _ in range(3):
        open_session(user, "over")
        keys.issue(user, "Over", ["read"], None)
    Session.objects.filter(user_agent="over").revoke()
    ApiKey.objects.revoke()
    endpoints.remove_endpoint(endpoints.create_endpoint(user, None, url="https://hooks.example.com/")[0])
    with archive_of(client.get(TAKEOUT)) as archive:
        account = json.loads(archive.read("account.json"))
    assert [session["is_current"] for session in account["sessions"]] == [True]
    assert account["api_keys"] == account["webhooks"] == []


def test_all_keys_of_a_user_share_the_rate_of_the_zip(transactional_db, user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "takeout": (1, 86_400)}
    raws = [keys.issue(user, name, ["account", "read"], None)[1] for name in ("One", "Other")]
    answers = [APIClient(HTTP_X_API_KEY=raw).get(TAKEOUT) for raw in raws]
    for answer in answers:
        answer.close()
    assert [answer.status_code for answer in answers] == [200, 429]


@pytest.mark.parametrize("detections", [1, 3])
def test_the_zip_takes_the_same_queries_for_1_and_3_detections(
    api, user, submit, detections, django_assert_num_queries
):
    for _ in range(detections):
        submit(user, photo())
    processing.process_waiting()
    client = api(user)
    # The session with its user, their sessions, keys and webhooks; ids, detections, images, share links, how
    # many results, results; no more ids.
    with django_assert_num_queries(11):
        content_of(client.get(TAKEOUT))


def test_the_zip_reads_detections_in_chunks_of_images(user, submit, monkeypatch):
    monkeypatch.setattr(takeout, "MOST_IMAGES", 3)
    sent = [submit(user, *[photo()] * count) for count in (1, 2, 1, 4, 1)]
    with CaptureQueriesContext(connection) as queries:
        read = [(detection, len(list(found))) for detection, found in takeout.detections_of(user)]
    assert read == [(detection, detection.total) for detection in sent]
    assert sum('FROM "detections_detectionimage"' in query["sql"] for query in queries) == 4
