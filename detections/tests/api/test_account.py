"""An account can be taken along and ended: then nothing of it is left, and nobody else's is touched."""

import json
import threading
import zipfile
from contextlib import ExitStack
from io import BytesIO
from time import monotonic

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts import closing, keys
from accounts.models import ApiKey, Scope, Session, User, UserSettings
from accounts.tokens import open_session
from detections import cleanup, exports, processing, takeout, tasks, views
from detections.models import Detection, DetectionImage, DetectionResult, Export
from detections.tests.answers import content_of
from notifications.models import Mail
from objectvision.tests.stack import photo

PASSWORD = {"password": "a-long-passphrase"}
TAKEOUT = "/api/v1/users/export"


def place(user):
    return f"/api/v1/users/{user.pk}"


def files_of(user, media):
    return sorted(path for path in (media / f"users/{user.pk}").rglob("*") if path.is_file())


@pytest.fixture
def settled(user, submit):
    """A user with some of everything."""
    for _ in range(2):
        submit(user, photo(), photo())
    processing.run(lambda: None)
    exports.submit(user, "csv", {}, lambda: None)
    exports.run()
    UserSettings.objects.create(user=user, theme="dark")
    return user


# The end


def test_with_the_password_rows_and_files_are_gone(api, settled, media):
    pk = settled.pk
    assert len(files_of(settled, media)) == 5
    assert api(settled).delete(place(settled), PASSWORD).status_code == 204
    assert not User.objects.filter(pk=pk).exists()
    for model in (Detection, DetectionImage, DetectionResult, Export, Session, ApiKey, UserSettings):
        assert not model.objects.exists(), model
    assert not (media / f"users/{pk}").exists()


def test_nobody_elses_are_touched(api, settled, stranger, submit, media):
    theirs = submit(stranger, photo())
    processing.run(lambda: None)
    before = list(DetectionResult.objects.filter(detection=theirs).values())
    assert before
    assert api(settled).delete(place(settled), PASSWORD).status_code == 204
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
def test_without_it_nothing_happens(api, settled, media, body, code):
    response = api(settled).delete(place(settled), body)
    assert response.status_code == 400
    assert [(error["attr"], error["code"]) for error in response.json()["errors"]] == [("password", code)]
    assert User.objects.get(pk=settled.pk).closed_at is None
    assert len(files_of(settled, media)) == 5


def test_a_stolen_token_does_not_help_to_find_the_password(api, user):
    client = api(user)
    wrong = [client.delete(place(user), {"password": f"guess-{n}"}).status_code for n in range(12)]
    assert wrong == [400] * 10 + [429] * 2
    assert client.delete(place(user), PASSWORD).status_code == 429


def test_a_key_does_not_end_the_account(user):
    _, raw = keys.issue(user, "Everything", Scope.values, None)
    assert APIClient(HTTP_X_API_KEY=raw).delete(place(user), PASSWORD).status_code == 403
    assert User.objects.filter(pk=user.pk).exists()


def test_whatever_they_held_opens_nothing_and_the_address_is_free_again(api, user):
    pair, (_, raw) = open_session(user, "pytest"), keys.issue(user, "Camera", Scope.values, None)
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    for headers in ({"X-API-Key": raw}, {"Authorization": f"Bearer {pair.access_token}"}):
        assert api().get("/api/v1/users/get-profile", headers=headers).status_code == 401
    assert api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token}).status_code == 401
    credentials = {"email": "ada@example.com", **PASSWORD}
    assert api().post("/api/v1/auth/login", credentials).status_code == 401
    assert api().post("/api/v1/auth/signup", credentials).status_code == 201


@pytest.mark.parametrize(("verified_at", "name"), [(None, ""), (timezone.now(), "Ada")])
def test_the_end_is_mailed_and_greets_by_name_only_whose_address_it_is(api, user, verified_at, name):
    User.objects.filter(pk=user.pk).update(email_verified_at=verified_at)
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    told = Mail.objects.values_list("kind", "to", "name", "state")
    assert list(told) == [("account_deleted", "ada@example.com", name, "waiting")]


def test_what_a_request_has_no_time_for_the_sweep_erases(user, submit, media):
    for _ in range(cleanup.ERASED_AT_ONCE + 1):
        submit(user, photo())
    closing.close(user)
    assert not cleanup.erase(user, monotonic())
    assert Detection.objects.count() == 1
    tasks.sweep()
    assert not User.objects.exists()
    assert not Detection.objects.exists()
    assert not files_of(user, media)


def test_a_closed_account_is_nobodys_while_it_is_being_erased(api, client, user):
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
def test_of_many_ends_at_once_one_is_the_end_and_is_mailed(at_once, api, user):
    clients = [api(user) for _ in range(4)]
    answers = at_once(*[lambda client=client: client.delete(place(user), PASSWORD) for client in clients])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {400, 401}  # the password was nobody's any longer; or was looked at before
    assert Mail.objects.values_list("to", flat=True).get() == "ada@example.com"
    assert not User.objects.exists()


def test_what_is_closed_is_not_closed_again(user):
    assert [closing.close(user), closing.close(user)] == [True, False]
    assert Mail.objects.values_list("to", flat=True).get() == "ada@example.com"


def test_the_admins_log_does_not_keep_the_address(api, client, user, stranger):
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
def test_what_is_under_way_as_the_account_ends_is_refused(
    transactional_db, api, user, detector, media, request_of, monkeypatch
):
    client = api(user)
    client.raise_request_exception = False
    admit = APIView.check_throttles

    def end_then_admit(view, request):
        closing.close(user)
        assert cleanup.erase(user, monotonic() + 5)
        admit(view, request)

    monkeypatch.setattr(APIView, "check_throttles", end_then_admit)
    answer = request_of(client)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["errors"][0]["code"] == "authentication_failed"
    assert files_of(user, media) == []


def test_files_that_no_row_knows_of_go_as_well(api, user, media):
    default_storage.save(f"users/{user.pk}/images/left/behind.jpg", BytesIO(b"forgotten"))
    pk = user.pk
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    assert not (media / f"users/{pk}").exists()


@pytest.mark.parametrize("failing", ["listdir", "delete"])
def test_while_a_file_cannot_be_deleted_a_row_says_so_and_others_are_not_kept(
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
    tasks.sweep()
    assert not User.objects.exists()
    assert not (media / f"users/{user.pk}").exists()


def test_a_worker_that_has_some_of_them_writes_nothing_afterwards(api, user, submit, detector):
    submit(user, photo())
    claim = DetectionImage.objects.claim(detector, 1)
    outcomes = processing.predict(claim, processing.load(detector.path, detector.backend))
    assert len(outcomes) == 1
    assert api(user).delete(place(user), PASSWORD).status_code == 204
    processing.record(claim, outcomes)
    for model in (Detection, DetectionImage, DetectionResult):
        assert not model.objects.exists(), model


# Everything as a ZIP


def archive_of(response):
    return zipfile.ZipFile(BytesIO(content_of(response)))


def test_the_zip_has_everything_and_no_secrets(api, settled):
    row, raw = keys.issue(settled, "Camera", ["read"], None)
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
        names = set(archive.namelist())
        for detection in Detection.objects.all():
            shown = client.get(f"/api/v1/detect/{detection.pk}").json()
            assert json.loads(archive.read(f"detections/{detection.pk}.json")) == shown
        pictures = {f"images/{image.unique_name}" for image in DetectionImage.objects.all()}
        assert len(pictures) == 4
        details = {f"detections/{pk}.json" for pk in Detection.objects.values_list("pk", flat=True)}
        assert names == {"account.json"} | pictures | details
        for name in pictures:
            Image.open(BytesIO(archive.read(name))).load()
        everything = b"".join(archive.read(name) for name in names if name.endswith(".json"))
    for secret in (raw, row.hash, settled.password):
        assert secret.encode() not in everything


def test_it_has_nothing_of_anybody_else(api, settled, stranger):
    with archive_of(api(stranger).get(TAKEOUT)) as archive:
        assert archive.namelist() == ["account.json"]
        assert json.loads(archive.read("account.json"))["profile"]["email"] == stranger.email


def test_its_pictures_tell_no_place(api, user, submit):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", exif=exif)
    submit(user, file.getvalue())
    with archive_of(api(user).get(TAKEOUT)) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("images/"))
        assert not Image.open(BytesIO(archive.read(name))).getexif()


def test_a_picture_that_is_gone_is_named_and_the_rest_comes(api, settled):
    image = DetectionImage.objects.order_by("pk").first()
    default_storage.delete(image.image_path)
    with archive_of(api(settled).get(TAKEOUT)) as archive:
        assert json.loads(archive.read("missing.json")) == [str(image.pk)]
        assert sum(name.startswith("images/") for name in archive.namelist()) == 3


def test_one_that_cannot_be_read_is_named_and_the_rest_comes(api, settled, media):
    image = DetectionImage.objects.order_by("pk").first()
    (media / image.image_path).unlink()
    (media / image.image_path).mkdir()
    with archive_of(api(settled).get(TAKEOUT)) as archive:
        assert json.loads(archive.read("missing.json")) == [str(image.pk)]
        assert sum(name.startswith("images/") for name in archive.namelist()) == 3


def test_none_is_missing_because_others_are_being_drawn(api, user, submit, monkeypatch):
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "BMP")
    submit(user, file.getvalue())
    monkeypatch.setattr(views, "LONGEST_DRAWING_QUEUE_SECONDS", 0)
    with views.place_to_draw(), ExitStack() as second:
        second.enter_context(views.place_to_draw())
        threading.Timer(1.2, second.close).start()
        with archive_of(api(user).get(TAKEOUT)) as archive:
            assert [name for name in archive.namelist() if name.startswith("images/")]
            assert "missing.json" not in archive.namelist()


def test_it_may_be_asked_for_ten_times_an_hour(api, user):
    client = api(user)
    answers = [client.get(TAKEOUT) for _ in range(11)]
    for answer in answers:
        answer.close()
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]


def test_it_names_no_session_or_key_that_is_over(api, user):
    client = api(user)
    for _ in range(3):
        open_session(user, "over")
        keys.issue(user, "Over", ["read"], None)
    Session.objects.filter(user_agent="over").revoke()
    ApiKey.objects.revoke()
    with archive_of(client.get(TAKEOUT)) as archive:
        account = json.loads(archive.read("account.json"))
    assert [session["is_current"] for session in account["sessions"]] == [True]
    assert account["api_keys"] == []


def test_another_key_does_not_get_it_more_often(transactional_db, user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "takeout": (1, 86_400)}
    raws = [keys.issue(user, name, ["account"], None)[1] for name in ("One", "Other")]
    answers = [APIClient(HTTP_X_API_KEY=raw).get(TAKEOUT) for raw in raws]
    for answer in answers:
        answer.close()
    assert [answer.status_code for answer in answers] == [200, 429]


@pytest.mark.parametrize("detections", [1, 3])
def test_it_takes_the_same_queries_for_any_number_that_fits_one_chunk(
    api, user, submit, detections, django_assert_num_queries
):
    for _ in range(detections):
        submit(user, photo())
    processing.run(lambda: None)
    client = api(user)
    with django_assert_num_queries(8):
        content_of(client.get(TAKEOUT))


def test_detections_of_many_images_are_not_in_memory_together(user, submit, monkeypatch):
    monkeypatch.setattr(takeout, "MOST_IMAGES", 3)
    sent = [submit(user, *[photo()] * count) for count in (1, 2, 1, 4, 1)]
    with CaptureQueriesContext(connection) as queries:
        assert list(takeout.detections_of(user)) == sent
    assert sum('FROM "detections_detectionresult"' in query["sql"] for query in queries) == 4
