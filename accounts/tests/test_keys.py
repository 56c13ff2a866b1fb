"""A program acts for its user by a key that is shown once, does what its scopes say, and ends at once."""

import string
from datetime import timedelta
from hashlib import sha256

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import ApiKey, Scope, User

URL = "/api/v1/users/api-keys"
PROFILE = "/api/v1/users/get-profile"


def ask(raw, path=PROFILE):
    return APIClient().get(path, headers={"X-API-Key": raw})


@pytest.fixture
def raw(user):
    return keys.issue(user, "Everything", Scope.values, None)[1]


def test_a_new_key_is_shown_once_and_kept_as_its_hash(api, user):
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


def test_a_key_detects_and_reads_where_nothing_else_is_asked_for(api, user):
    assert api(user).post(URL, {"name": "Camera"}).json()["scopes"] == ["detect", "read"]


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_it_opens_the_door_in_either_header(user, raw, header):
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
        ("expires_at", "2020-01-01T00:00:00Z", "past"),
        ("expires_at", "tomorrow", "invalid"),
    ],
)
def test_what_no_key_may_be_is_refused_by_name(api, user, field, value, code):
    response = api(user).post(URL, {"name": "Camera", field: value})
    assert response.status_code == 400
    assert [(error["attr"], error["code"]) for error in response.json()["errors"]] == [(field, code)]
    assert not ApiKey.objects.exists()


def test_at_most_twenty_are_kept_also_of_many_at_once(user, at_once):
    def issue():
        try:
            return keys.issue(user, "Camera", ["read"], None)[0]
        except keys.TooManyKeysError:
            return None

    made = at_once(*[issue] * 25)
    assert sum(key is not None for key in made) == ApiKey.objects.kept().count() == 20


def test_the_twenty_first_is_told_to_revoke_one(api, user):
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


def test_it_ends_when_it_expires(user):
    _, raw = keys.issue(user, "For a day", ["account"], timezone.now() + timedelta(days=1))
    with time_machine.travel(timezone.now() + timedelta(hours=23), tick=False):
        assert ask(raw).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(hours=25), tick=False):
        assert ask(raw).status_code == 401


def test_its_last_use_is_noted_to_the_minute(user, raw, django_assert_num_queries):
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
def test_what_is_no_key_is_refused(user, raw, which):
    response = ask(wrong(raw)[which])
    assert response.status_code == 401
    assert response.json()["errors"][0] == {
        "code": "authentication_failed",
        "detail": "The API key is invalid, has expired, or was revoked.",
        "attr": None,
    }
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert ApiKey.objects.get().last_used_at is None


def test_a_bad_token_is_not_saved_by_a_good_key(user, raw):
    headers = {"X-API-Key": raw, "Authorization": "Bearer x.y.z"}
    assert APIClient().get(PROFILE, headers=headers).status_code == 401


def test_a_key_is_no_session(user, raw):
    client = APIClient(HTTP_X_API_KEY=raw)
    for path in ("auth/logout", "auth/logout-all", "users/api-keys"):
        response = client.post(f"/api/v1/{path}", {"name": "Another"})
        assert response.status_code == 403
        assert response.json()["errors"][0]["detail"] == "An API key is not enough for this: log in."
    assert ApiKey.objects.count() == 1


def test_a_missing_scope_is_named(user):
    _, raw = keys.issue(user, "Camera", [Scope.DETECT], None)
    response = ask(raw)
    assert response.status_code == 403
    assert response.json()["errors"][0] == {
        "code": "permission_denied",
        "detail": "This needs an API key with the scope 'account'.",
        "attr": None,
    }


def test_each_key_has_the_rate_of_a_user_for_itself(user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "read": (2, 60)}
    one, other = (keys.issue(user, name, ["account"], None)[1] for name in ("One", "Other"))
    assert [ask(one).status_code for _ in range(3)] == [200, 200, 429]
    assert ask(other).status_code == 200


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_takes_the_same_queries_however_long(api, user, rows, django_assert_num_queries):
    for _ in range(rows):
        keys.issue(user, "Camera", ["read"], None)
    client = api(user)
    with django_assert_num_queries(3):  # the session, the total, the page
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
