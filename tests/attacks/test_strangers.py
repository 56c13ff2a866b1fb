"""Nobody gets at what is somebody else's: every endpoint and method that the router serves, one by one."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Scope, Session, User, UserSettings
from detections import exports, processing
from detections.models import Detection, DetectionImage, DetectionResult, Export
from objectvision.tests.stack import photo

# What an endpoint shows to whom: anyone; whoever is logged in, and of their own alone; or one object's owner.
PUBLIC, OWN, DETECTION, USER, EXPORT = "public", "own", "detection", "user", "export"
SESSION, KEY = "session", "key"
ENDPOINTS = {
    ("POST", "auth/signup"): PUBLIC,
    ("POST", "auth/login"): PUBLIC,
    ("POST", "auth/refresh"): PUBLIC,
    ("POST", "auth/logout"): OWN,
    ("POST", "auth/logout-all"): OWN,
    ("POST", "auth/password/change"): OWN,
    ("POST", "auth/password/reset"): PUBLIC,
    ("POST", "auth/password/reset/confirm"): PUBLIC,  # by a mailed proof: see test_passwords
    ("POST", "auth/verify-email"): PUBLIC,
    ("GET", "auth/verify-email"): PUBLIC,  # as above: see test_verification
    ("GET", "auth/sessions"): OWN,
    ("DELETE", "auth/sessions/<uuid:pk>"): SESSION,
    ("GET", "users/api-keys"): OWN,
    ("POST", "users/api-keys"): OWN,
    ("DELETE", "users/api-keys/<uuid:pk>"): KEY,
    ("GET", "users/get-profile"): OWN,
    ("GET", "users/settings"): OWN,
    ("PATCH", "users/settings"): OWN,
    ("GET", "users/<uuid:pk>"): USER,
    ("PATCH", "users/<uuid:pk>"): USER,
    ("DELETE", "users/<uuid:pk>"): USER,
    ("GET", "users/export"): OWN,
    ("POST", "detect/image"): OWN,
    ("POST", "detect/batch"): OWN,
    ("POST", "detect/jobs/<uuid:pk>/cancel"): DETECTION,
    ("POST", "detect/jobs/<uuid:pk>/retry"): DETECTION,
    ("GET", "detect/history"): OWN,
    ("GET", "detect/results"): OWN,
    ("GET", "users/statistics"): OWN,
    ("POST", "detect/exports"): OWN,
    ("GET", "detect/exports/<uuid:pk>"): EXPORT,
    ("GET", "detect/exports/<uuid:pk>/file"): PUBLIC,  # by a signed link: see test_exports
    ("GET", "detectors"): OWN,
    ("GET", "detect/jobs/<uuid:pk>"): DETECTION,
    ("GET", "detect/<uuid:pk>"): DETECTION,
    ("PATCH", "detect/<uuid:pk>"): DETECTION,
    ("DELETE", "detect/<uuid:pk>"): DETECTION,
    ("GET", "detect/<uuid:pk>/export"): DETECTION,
    ("GET", "detect/<uuid:pk>/image"): DETECTION,
    ("GET", "detect/<uuid:pk>/images/<uuid:image_id>"): DETECTION,
    **{("GET", f"health{part}"): PUBLIC for part in ("", "/database", "/redis", "/celery", "/storage")},
    ("GET", "health/detector"): PUBLIC,
    ("GET", "openapi.json"): PUBLIC,
    ("GET", "docs"): PUBLIC,
    ("GET", "redoc"): PUBLIC,
}
PRIVATE = [endpoint for endpoint, kind in ENDPOINTS.items() if kind != PUBLIC]
OBJECTS = [endpoint for endpoint, kind in ENDPOINTS.items() if kind not in {PUBLIC, OWN}]
# What opens to an API key, with the scope that it needs; the rest asks for a session.
SCOPES = {
    **{
        endpoint: Scope.DETECT if endpoint[0] != "GET" else Scope.READ
        for endpoint in PRIVATE
        if endpoint[1].startswith("detect")
    },
    ("POST", "detect/exports"): Scope.READ,
    ("GET", "users/statistics"): Scope.READ,
    ("GET", "users/get-profile"): Scope.ACCOUNT,
    ("GET", "users/export"): Scope.ACCOUNT,
    ("GET", "users/settings"): Scope.ACCOUNT,
    ("PATCH", "users/settings"): Scope.ACCOUNT,
    ("GET", "users/<uuid:pk>"): Scope.ACCOUNT,
    ("PATCH", "users/<uuid:pk>"): Scope.ACCOUNT,
}
# Behaves as GET does, or says what a path takes.
ALIKE = {"HEAD", "OPTIONS"}
CHANGES = {"PATCH": {"name": "Mine now", "is_public": True}, "DELETE": {"password": "a-long-passphrase"}}
QUESTIONS = {"detect/<uuid:pk>/export": {"format": "csv"}}


def served():
    """Every method and path that the router has under the API's prefix."""
    for group in get_resolver().url_patterns:
        if str(group.pattern) != "api/v1/":
            continue
        for pattern in group.url_patterns:
            view = pattern.callback.view_class
            for method in view.http_method_names:
                if hasattr(view, method) and method.upper() not in ALIKE:
                    yield method.upper(), str(pattern.pattern)


@pytest.fixture
def owned(user, submit):
    """The ids in the paths of what belongs to the user."""
    detection = submit(user, photo())
    processing.run(lambda: None)
    export = exports.submit(user, "csv", {}, lambda: None)
    return {
        DETECTION: detection.pk,
        USER: user.pk,
        EXPORT: export.pk,
        SESSION: Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1)).pk,
        KEY: keys.issue(user, "Camera", ["read"], None)[0].pk,
        "image": detection.images.get().pk,
    }


@pytest.fixture
def state(user):
    """All that a stranger could have changed."""

    def rows():
        return [
            list(model.objects.order_by("pk").values())
            for model in (User, UserSettings, ApiKey, Detection, DetectionImage, DetectionResult, Export)
        ]

    return rows


def call(client, method, path, ids):
    pk = ids.get(ENDPOINTS[method, path], UUID(int=0))
    data = QUESTIONS.get(path, CHANGES.get(method))
    path = path.replace("<uuid:pk>", str(pk)).replace("<uuid:image_id>", str(ids.get("image", pk)))
    ask = getattr(client, method.lower())
    return ask(f"/api/v1/{path}", data)


def test_every_endpoint_that_is_served_is_in_this_list():
    assert sorted(ENDPOINTS) == sorted(set(served()))


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_the_anonymous_are_asked_who_they_are(api, owned, state, method, path):
    before = state()
    response = call(api(), method, path, owned)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_a_stranger_does_not_learn_whether_there_is_such_an_object(api, owned, state, stranger, method, path):
    before = state()
    response = call(api(stranger), method, path, owned)
    nothing_there = call(api(stranger), method, path, {})
    assert response.status_code == nothing_there.status_code == 404
    assert response.json() == nothing_there.json()
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_staff_look_at_others_in_the_admin_and_may_read_profiles_alone(
    api, owned, state, stranger, method, path
):
    stranger.is_staff = stranger.is_superuser = True
    stranger.save()
    before = state()
    reads_profile = (method, path) == ("GET", "users/<uuid:pk>")
    assert call(api(stranger), method, path, owned).status_code == (200 if reads_profile else 404)
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_the_owner_gets_at_it(api, owned, user, method, path):
    response = call(api(user), method, path, owned)
    assert response.status_code in {200, 204}
    response.close()


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_an_api_key_opens_what_its_scopes_cover_and_nothing_else(owned, state, user, method, path):
    needed = SCOPES.get((method, path))
    _, lacking = keys.issue(user, "Too little", set(Scope.values) - {needed}, None)
    before = state()
    response = call(APIClient(HTTP_X_API_KEY=lacking), method, path, owned)
    assert response.status_code == 403
    assert response.json()["errors"][0]["code"] == "permission_denied"
    assert without_use(state()) == without_use(before)
    if needed:
        _, fitting = keys.issue(user, "Enough", [needed], None)
        response = call(APIClient(HTTP_X_API_KEY=fitting), method, path, owned)
        assert response.status_code not in {401, 403}
        response.close()


def without_use(rows):
    """That a key was used is noted also where it did not suffice."""
    return [[{**row, "last_used_at": None} for row in table] for table in rows]


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_a_strangers_key_with_every_scope_does_not_learn_whether_there_is_such_an_object(
    owned, state, stranger, method, path
):
    _, raw = keys.issue(stranger, "Everything", Scope.values, None)
    before = state()
    response = call(APIClient(HTTP_X_API_KEY=raw), method, path, owned)
    assert response.status_code == (404 if (method, path) in SCOPES else 403)
    assert without_use(state()) == without_use(before)


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_the_inactive_are_out_whatever_they_hold(api, owned, state, user, method, path):
    clients = [api(user), APIClient(HTTP_X_API_KEY=keys.issue(user, "Camera", Scope.values, None)[1])]
    User.objects.filter(pk=user.pk).update(is_active=False)
    before = state()
    for client in clients:
        assert call(client, method, path, owned).status_code == 401
    assert state() == before


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_what_was_revoked_opens_nothing(api, owned, state, user, method, path):
    clients = [api(user), APIClient(HTTP_X_API_KEY=keys.issue(user, "Camera", Scope.values, None)[1])]
    Session.objects.filter(user=user).revoke()
    ApiKey.objects.filter(user=user).revoke()
    before = state()
    for client in clients:
        assert call(client, method, path, owned).status_code == 401
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_what_is_no_id_is_not_found(api, user, method, path):
    response = api(user).generic(method, "/api/v1/" + path.replace("<uuid:pk>", "1' OR '1'='1"))
    assert response.status_code == 404


def test_another_detections_image_is_not_reached_through_ones_own(api, owned, stranger, submit):
    own = submit(stranger, photo())
    for path in (f"images/{owned['image']}", f"image?image_id={owned['image']}"):
        assert api(stranger).get(f"/api/v1/detect/{own.pk}/{path}").status_code == 404


def test_lists_and_settings_are_everybodys_own(api, owned, stranger, user):
    UserSettings.objects.create(user=user, theme="dark")
    client = api(stranger)
    assert client.get("/api/v1/detect/history").json()["items"] == []
    assert client.get("/api/v1/detect/results").json()["items"] == []
    assert client.get("/api/v1/users/statistics").json()["objects"] == 0
    assert client.get("/api/v1/users/settings").json()["theme"] == "system"
    assert client.get("/api/v1/users/get-profile").json()["email"] == stranger.email
    client.patch("/api/v1/users/settings", {"theme": "light"})
    assert UserSettings.objects.get(user=user).theme == "dark"


def test_a_log_out_everywhere_ends_nobody_elses_session(api, stranger, user):
    mine = api(user)
    api(stranger).post("/api/v1/auth/logout-all")
    assert mine.get("/api/v1/users/get-profile").status_code == 200
    assert Session.objects.filter(user=stranger, revoked_at=None).count() == 0


def test_an_upload_belongs_to_whoever_sent_it_whatever_it_says(api, detector, stranger, user):
    form = {"image": SimpleUploadedFile("bus.jpg", photo()), "user": str(user.pk), "user_id": str(user.pk)}
    assert api(stranger).post("/api/v1/detect/image", form, format="multipart").status_code == 202
    assert Detection.objects.get().user == stranger
    assert DetectionImage.objects.get().user == stranger
