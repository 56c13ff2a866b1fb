"""Users reach only their own rows: tested for every endpoint and method that the router serves."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Scope, Session, User, UserSettings
from detections.models import Detection, DetectionImage, DetectionResult, Export
from detections.publication.models import PublicReport, ShareLink
from notifications.models import WebhookDelivery, WebhookEndpoint
from testing.api import faults
from testing.endpoints import ENDPOINTS, OWN, PUBLIC, call, url_patterns
from testing.files.pictures import photo

PRIVATE = [endpoint for endpoint, kind in ENDPOINTS.items() if kind != PUBLIC]
OBJECTS = [endpoint for endpoint, kind in ENDPOINTS.items() if kind not in {PUBLIC, OWN}]
NEW_SECRETS = {("POST", "webhooks"), ("POST", "webhooks/<uuid:pk>/rotate-secret")}
# The endpoints open to API keys and the scopes that they need; the others need a session.
SCOPES = {
    **{
        endpoint: Scope.DETECT if endpoint[0] != "GET" else Scope.READ
        for endpoint in PRIVATE
        if endpoint[1].startswith("detect")
    },
    ("POST", "detect/exports"): Scope.READ,
    ("GET", "users/statistics"): Scope.READ,
    ("GET", "events"): Scope.READ,
    ("GET", "users/get-profile"): Scope.ACCOUNT,
    ("GET", "users/export"): (Scope.ACCOUNT, Scope.READ),
    ("GET", "users/settings"): Scope.ACCOUNT,
    ("PATCH", "users/settings"): Scope.ACCOUNT,
    ("GET", "users/<uuid:pk>"): Scope.ACCOUNT,
    ("PATCH", "users/<uuid:pk>"): Scope.ACCOUNT,
    **{
        endpoint: Scope.ACCOUNT
        for endpoint in PRIVATE
        if endpoint[1].startswith("webhooks") and endpoint not in NEW_SECRETS
    },
}
TABLES = (
    User, UserSettings, ApiKey, Detection, DetectionImage, DetectionResult, Export, WebhookEndpoint,
    WebhookDelivery, ShareLink, PublicReport,
)  # fmt: skip  # a list to read at a glance
# HEAD behaves as GET does, OPTIONS describes a path.
ALIKE = {"HEAD", "OPTIONS"}


def served():
    """Every method and path that the router has under the API's prefix."""
    for path, pattern in url_patterns():
        if path.startswith("api/v1/"):
            for method in methods_of(pattern.callback):
                yield method, path.removeprefix("api/v1/")


def methods_of(view):
    """The methods that the view of a pattern answers, without `ALIKE`."""
    if hasattr(view, "actions"):  # a viewset's
        found = set(view.actions) & set(view.cls.http_method_names)
    else:
        found = {name for name in view.view_class.http_method_names if hasattr(view.view_class, name)}
    return {name.upper() for name in found} - ALIKE


@pytest.fixture
def state(user):
    """All rows that a stranger could have changed."""

    def rows():
        return [list(model.objects.order_by("pk").values()) for model in TABLES]

    return rows


def test_every_endpoint_of_the_router_is_tested_here():
    assert sorted(ENDPOINTS) == sorted(set(served()))


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_anonymous_requests_answer_401_and_change_nothing(api, owned, state, method, path):
    before = state()
    response = call(api(), method, path, owned)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_a_stranger_gets_the_same_404_for_existing_and_missing_objects(
    api, owned, state, stranger, method, path
):
    before = state()
    response = call(api(stranger), method, path, owned)
    nothing_there = call(api(stranger), method, path, {})
    assert response.status_code == nothing_there.status_code == 404
    assert response.json() == nothing_there.json()
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_staff_may_read_profiles_of_other_users_and_nothing_else(api, owned, state, stranger, method, path):
    stranger.is_staff = stranger.is_superuser = True
    stranger.save()
    before = state()
    reads_profile = (method, path) == ("GET", "users/<uuid:pk>")
    assert call(api(stranger), method, path, owned).status_code == (200 if reads_profile else 404)
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_the_owner_may_use_every_endpoint_of_their_objects(api, owned, user, method, path):
    response = call(api(user), method, path, owned)
    assert response.status_code in {200, 201, 202, 204}
    response.close()


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_an_api_key_may_use_only_the_endpoints_of_its_scopes(owned, state, user, method, path):
    found = SCOPES.get((method, path))
    needed = found if isinstance(found, tuple) else (found,)
    for scope in needed:
        _, lacking = keys.issue(user, "Too little", set(Scope.values) - {scope}, None)
        before = state()
        response = call(APIClient(HTTP_X_API_KEY=lacking), method, path, owned)
        assert response.status_code == 403
        assert response.json()["errors"][0]["code"] == "permission_denied"
        assert without_use(state()) == without_use(before)
    if found:
        _, fitting = keys.issue(user, "Enough", needed, None)
        response = call(APIClient(HTTP_X_API_KEY=fitting), method, path, owned)
        assert response.status_code not in {401, 403}
        response.close()


def without_use(rows):
    """The rows without the time of a key's last use, which is noted for refused requests too."""
    return [[{**row, "last_used_at": None} for row in table] for table in rows]


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_the_api_key_of_a_stranger_gets_404_or_403_and_changes_nothing(owned, state, stranger, method, path):
    _, raw = keys.issue(stranger, "Everything", Scope.values, None)
    before = state()
    response = call(APIClient(HTTP_X_API_KEY=raw), method, path, owned)
    assert response.status_code == (404 if (method, path) in SCOPES else 403)
    assert without_use(state()) == without_use(before)


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_an_inactive_user_gets_401_with_session_or_api_key(api, owned, state, user, method, path):
    clients = [api(user), APIClient(HTTP_X_API_KEY=keys.issue(user, "Camera", Scope.values, None)[1])]
    User.objects.filter(pk=user.pk).update(is_active=False)
    before = state()
    for client in clients:
        assert call(client, method, path, owned).status_code == 401
    assert state() == before


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_a_revoked_session_or_api_key_gets_401(api, owned, state, user, method, path):
    clients = [api(user), APIClient(HTTP_X_API_KEY=keys.issue(user, "Camera", Scope.values, None)[1])]
    Session.objects.filter(user=user).revoke()
    ApiKey.objects.filter(user=user).revoke()
    before = state()
    for client in clients:
        assert call(client, method, path, owned).status_code == 401
    assert state() == before


@pytest.mark.parametrize(("method", "path"), OBJECTS)
def test_a_malformed_id_answers_404(api, user, method, path):
    response = api(user).generic(method, "/api/v1/" + path.replace("<uuid:pk>", "1' OR '1'='1"))
    assert response.status_code == 404


def test_an_image_is_not_found_under_the_detection_of_a_stranger(api, owned, stranger, submit):
    own = submit(stranger, photo())
    for path in (f"images/{owned['image']}", f"image?image_id={owned['image']}"):
        assert api(stranger).get(f"/api/v1/detect/{own.pk}/{path}").status_code == 404


def test_lists_and_settings_show_only_own_rows(api, owned, stranger, user):
    UserSettings.objects.create(user=user, theme="dark")
    client = api(stranger)
    assert client.get("/api/v1/detect/history").json()["items"] == []
    assert client.get("/api/v1/detect/results").json()["items"] == []
    assert client.get("/api/v1/users/statistics").json()["objects"] == 0
    assert client.get("/api/v1/users/settings").json()["theme"] == "system"
    assert client.get("/api/v1/users/get-profile").json()["email"] == stranger.email
    client.patch("/api/v1/users/settings", {"theme": "light"})
    assert UserSettings.objects.get(user=user).theme == "dark"


def test_logging_out_everywhere_keeps_the_sessions_of_other_users(api, stranger, user):
    mine = api(user)
    api(stranger).post("/api/v1/auth/logout-all")
    assert mine.get("/api/v1/users/get-profile").status_code == 200
    assert Session.objects.filter(user=stranger, revoked_at=None).count() == 0


def test_an_upload_names_no_owner(api, detector, stranger, user):
    form = {"image": SimpleUploadedFile("bus.jpg", photo()), "user": str(user.pk), "user_id": str(user.pk)}
    response = api(stranger).post("/api/v1/detect/image", form, format="multipart")
    assert faults(response) == [("unknown_field", "user"), ("unknown_field", "user_id")]
    assert not Detection.objects.exists()
