"""API keys: creation, scopes, expiry and revocation."""

import string
from datetime import timedelta
from hashlib import sha256

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Scope, User
from testing.files.pictures import photo

URL = "/api/v1/users/api-keys"
PROFILE = "/api/v1/users/get-profile"


def ask(raw, path=PROFILE):
    return APIClient().get(path, headers={"X-API-Key": raw})


@pytest.fixture
def raw(user):
    return keys.issue(user, "Everything", Scope.values, None)[1]


def test_a_new_key_is_shown_once_and_stored_as_its_hash(api, user):
    response = api(user).post(URL, {"name": "Camera", "scopes": ["read", "detect", "read"]})
    assert response.status_code == 201
    answer = response.json()
    row = ApiKey.objects.get()
    assert row.hash == sha256(answer["key"].encode()).hexdigest()
    assert answer["key"].startswith(f"{row.prefix}_")
    shown = {name: value for name, value in answer.items() if name != "key"}
    assert shown == {
        "id": str(row.pk),
        "name": "Camera",
        "prefix": row.prefix,
        "scopes": ["detect", "read"],
        "expires_at": None,
        "last_used_at": None,
        "created_at": answer["created_at"],
    }
    listed = api(user).get(URL)
    assert listed.json() == {"items": [shown], "total": 1, "limit": 10, "offset": 0}
    secret = answer["key"].removeprefix(row.prefix)
    assert secret not in listed.content.decode()
    assert secret not in str(ApiKey.objects.values().get())


def test_the_default_scopes_are_detect_and_read(api, user):
    assert api(user).post(URL, {"name": "Camera"}).json()["scopes"] == ["detect", "read"]


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_is_accepted_in_either_header(user, raw, header):
    value = raw if header == "X-API-Key" else f"bearer {raw}"
    assert APIClient().get(PROFILE, headers={header: value}).json()["id"] == str(user.pk)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", None, "null"),
        ("name", "", "blank"),
        ("name", "x" * 101, "max_length"),
        ("scopes", [], "empty"),
        ("scopes", ["admin"], "invalid_choice"),
        ("scopes", "read", "not_a_list"),
        ("scopes", [["read"]], "invalid_choice"),
        ("scopes", {"detect": 1}, "not_a_list"),
        ("scopes", {"detect": 1, "read": {}}, "not_a_list"),
        ("scopes", {}, "not_a_list"),
        ("scopes", 1, "not_a_list"),
        ("scopes", True, "not_a_list"),
        ("scopes", [{"detect": 1}], "invalid_choice"),
        ("scopes", [None], "invalid_choice"),
        ("scopes", [1], "invalid_choice"),
        ("scopes", ["READ"], "invalid_choice"),
        ("scopes", ["read\0"], "invalid_choice"),
        ("scopes", ["read"] * 11, "max_length"),
        ("scopes", ["read"] * 50_000, "max_length"),
        ("scopes", None, "null"),
        ("name", ["Camera"], "invalid"),
        ("name", {"a": 1}, "invalid"),
        ("expires_at", ["2030-01-01T00:00:00Z"], "invalid"),
        ("expires_at", {"year": 2030}, "invalid"),
        ("expires_at", 1e300, "invalid"),
        ("expires_at", "2020-01-01T00:00:00Z", "past"),
        ("expires_at", "tomorrow", "invalid"),
    ],
)
def test_invalid_fields_of_a_key_are_named(api, user, field, value, code):
    response = api(user).post(URL, {"name": "Camera", field: value})
    assert response.status_code == 400
    assert [(error["attr"], error["code"]) for error in response.json()["errors"]] == [(field, code)]
    assert not ApiKey.objects.exists()


def test_concurrent_requests_create_at_most_twenty_keys(user, at_once):
    def issue():
        try:
            return keys.issue(user, "Camera", ["read"], None)[0]
        except keys.TooManyKeysError:
            return None

    made = at_once(*[issue] * 25)
    assert sum(key is not None for key in made) == ApiKey.objects.kept().count() == 20


def test_of_keys_that_are_made_and_revoked_again_and_again_few_are_kept(user, stranger, monkeypatch):
    monkeypatch.setattr(ApiKey, "MOST_REVOKED", 3)
    others = keys.issue(stranger, "Theirs", ["read"], None)[0]
    stranger.api_keys.revoke()
    kept = keys.issue(user, "Kept", ["read"], None)[0]
    for number in range(6):
        made = keys.issue(user, str(number), ["read"], None)[0]
        user.api_keys.filter(pk=made.pk).revoke()
    keys.issue(user, "Last", ["read"], None)
    assert sorted(user.api_keys.values_list("name", flat=True)) == ["3", "4", "5", "Kept", "Last"]
    assert ApiKey.objects.filter(pk__in=[others.pk, kept.pk]).count() == 2


def test_the_twenty_first_key_is_refused(api, user):
    for _ in range(20):
        keys.issue(user, "Camera", ["read"], None)
    response = api(user).post(URL, {"name": "One more"})
    assert response.status_code == 409
    assert response.json()["errors"][0] == {
        "code": "too_many_keys",
        "detail": "You have 20 API keys already; revoke one of them first.",
        "attr": None,
    }


def test_a_revoked_key_is_refused_at_once_and_no_longer_listed(api, user, raw):
    assert ask(raw).status_code == 200
    row = ApiKey.objects.get()
    assert api(user).delete(f"{URL}/{row.pk}").status_code == 204
    assert ask(raw).status_code == 401
    assert api(user).get(URL).json()["items"] == []
    assert api(user).delete(f"{URL}/{row.pk}").status_code == 404


def test_a_key_is_refused_after_it_expires(user):
    _, raw = keys.issue(user, "For a day", ["account"], timezone.now() + timedelta(days=1))
    with time_machine.travel(timezone.now() + timedelta(hours=23), tick=False):
        assert ask(raw).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(hours=25), tick=False):
        assert ask(raw).status_code == 401


def test_the_last_use_of_a_key_is_noted_to_the_minute(user, raw, django_assert_num_queries):
    assert ask(raw).status_code == 200
    used = ApiKey.objects.get().last_used_at
    assert timezone.now() - used < timedelta(seconds=10)
    with django_assert_num_queries(1):  # the key with its user and their settings
        assert ask(raw).status_code == 200
    with time_machine.travel(used + timedelta(seconds=61), tick=False):
        assert ask(raw).status_code == 200
    assert ApiKey.objects.get().last_used_at == used + timedelta(seconds=61)


def wrong(raw):
    prefix, secret = raw[:15], raw[16:]
    other = "a" if secret[0] != "a" else "b"
    return {
        "another secret": f"{prefix}_{other}{secret[1:]}",
        "another prefix": f"ov_{'0' * 12}_{secret}",
        "no secret": prefix,
        "a shorter one": raw[:-1],
        "a longer one": raw + "a",
        "its hash": sha256(raw.encode()).hexdigest(),
        "blank": " ",
        "capitals": raw.upper(),
        "NUL": raw + "\0",
        "long": "ov_" + "a" * 10_000,
        "unicode digits": raw[:3] + "٣" * 12 + raw[15:],
        "SQL": "ov_' OR '1'='1",
    }


@pytest.mark.parametrize("which", wrong("ov_" + string.ascii_lowercase[:12] + "_" + "x" * 43))
def test_a_wrong_key_is_refused(user, raw, which):
    response = ask(wrong(raw)[which])
    assert response.status_code == 401
    assert response.json()["errors"][0] == {
        "code": "authentication_failed",
        "detail": "The API key is invalid, has expired, or was revoked.",
        "attr": None,
    }
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert ApiKey.objects.get().last_used_at is None


def test_a_valid_key_beside_an_invalid_token_is_refused(user, raw):
    headers = {"X-API-Key": raw, "Authorization": "Bearer x.y.z"}
    assert APIClient().get(PROFILE, headers=headers).status_code == 401


def test_a_key_may_not_use_endpoints_that_need_a_session(user, raw):
    client = APIClient(HTTP_X_API_KEY=raw)
    for path in ("auth/logout", "auth/logout-all", "users/api-keys"):
        response = client.post(f"/api/v1/{path}", {"name": "Another"})
        assert response.status_code == 403
        assert response.json()["errors"][0]["detail"] == "An API key is not enough for this: log in."
    assert ApiKey.objects.count() == 1


def test_the_error_names_the_missing_scope(user):
    _, raw = keys.issue(user, "Camera", [Scope.DETECT], None)
    response = ask(raw)
    assert response.status_code == 403
    assert response.json()["errors"][0] == {
        "code": "permission_denied",
        "detail": "This needs an API key with the scope 'account'.",
        "attr": None,
    }


def test_all_keys_of_a_user_share_one_rate(api, user, stranger, settings):
    settings.THROTTLES = {**settings.THROTTLES, "read": (3, 60)}
    several = [keys.issue(user, "Camera", ["account"], None)[1] for _ in range(20)]
    _, strangers = keys.issue(stranger, "Camera", ["account"], None)
    with time_machine.travel("2027-11-25 12:30:00", tick=False):
        assert [ask(raw).status_code for raw in several] == [200] * 3 + [429] * 17
        assert ask(strangers).status_code == 200


def test_uploads_by_all_keys_of_a_user_share_one_rate(user, stranger, detector, settings):
    settings.THROTTLES = {**settings.THROTTLES, "upload": (2, 60)}
    several = [keys.issue(one, "Camera", ["detect"], None)[1] for one in (user, user, user, stranger)]

    def upload(raw):
        form = {"image": SimpleUploadedFile("bus.jpg", photo())}
        client = APIClient(HTTP_X_API_KEY=raw)
        return client.post("/api/v1/detect/image", form, format="multipart").status_code

    with time_machine.travel("2027-11-25 12:30:00", tick=False):
        assert [upload(raw) for raw in several] == [202, 202, 429, 202]


@pytest.mark.parametrize("rows", [1, 3])
def test_listing_keys_takes_two_queries(api, user, rows, django_assert_num_queries):
    for _ in range(rows):
        keys.issue(user, "Camera", ["read"], None)
    client = api(user)
    with django_assert_num_queries(2):  # the session, the page
        assert len(client.get(URL).json()["items"]) == rows


def test_staff_see_keys_without_their_hashes_and_revoke_them(client, user, raw):
    client.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    row = ApiKey.objects.get()
    assert row.hash not in client.get(f"/admin/accounts/apikey/{row.pk}/change/").content.decode()
    answer = client.post(
        "/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [row.pk]}, follow=True
    )
    assert "1 API keys revoked." in answer.content.decode()
    assert ask(raw).status_code == 401
