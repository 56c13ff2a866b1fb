"""A user's settings, their defaults, and the user's name."""

import pytest
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import User, UserSettings
from testing.api import faults

SETTINGS = "/api/v1/users/settings"
DEFAULTS = {
    "theme": "system",
    "notifications": True,
    "default_confidence": None,
    "default_classes": [],
    "retention_days": None,
    "show_name": False,
}


def test_without_a_row_the_defaults_are_shown_and_nothing_is_stored(api, user):
    response = api(user).get(SETTINGS)
    assert (response.status_code, response.json()) == (200, DEFAULTS)
    assert not UserSettings.objects.exists()


def test_a_change_leaves_other_settings_as_they_were(api, user):
    client = api(user)
    client.patch(SETTINGS, {"theme": "dark", "default_classes": ["bus", "person"]})
    response = client.patch(SETTINGS, {"default_confidence": 0.4, "retention_days": 30})
    expected = {
        "theme": "dark",
        "notifications": True,
        "default_confidence": 0.4,
        "default_classes": ["bus", "person"],
        "retention_days": 30,
        "show_name": False,
    }
    assert (response.status_code, response.json()) == (200, expected)
    assert client.get(SETTINGS).json() == expected
    assert UserSettings.objects.get().user == user


def test_settings_can_be_set_back_to_null(api, user):
    client = api(user)
    client.patch(SETTINGS, {"default_confidence": 0.4, "retention_days": 30, "default_classes": ["bus"]})
    client.patch(SETTINGS, {"default_confidence": None, "retention_days": None, "default_classes": []})
    assert client.get(SETTINGS).json() == DEFAULTS


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"theme": "pink"}, "invalid_choice"),
        ({"notifications": 1}, "invalid"),
        ({"notifications": None}, "null"),
        ({"default_confidence": 1.01}, "max_value"),
        ({"default_confidence": "0.4"}, "invalid"),
        ({"default_confidence": True}, "invalid"),
        ({"default_classes": "bus"}, "invalid"),
        ({"default_classes": {"bus": 1}}, "invalid"),
        ({"default_classes": {}}, "invalid"),
        ({"default_classes": [["bus"]]}, "invalid"),
        ({"default_classes": [{"bus": 1}]}, "invalid"),
        ({"default_classes": [None]}, "invalid"),
        ({"default_classes": ["x"] * 100_000}, "max_length"),
        ({"theme": ["dark"]}, "invalid_choice"),
        ({"theme": {"dark": 1}}, "invalid_choice"),
        ({"theme": True}, "invalid_choice"),
        ({"notifications": [True]}, "invalid"),
        ({"notifications": "true"}, "invalid"),
        ({"default_confidence": [0.4]}, "invalid"),
        ({"default_confidence": {}}, "invalid"),
        ({"default_confidence": 10**400}, "overflow"),
        ({"default_confidence": -0.01}, "min_value"),
        ({"retention_days": [1]}, "invalid"),
        ({"retention_days": 10**400}, "max_value"),
        ({"default_classes": [7]}, "invalid"),
        ({"default_classes": [""]}, "invalid"),
        ({"default_classes": ["a\0b"]}, "invalid"),
        ({"default_classes": ["x" * 101]}, "invalid"),
        ({"default_classes": ["x"] * 1001}, "max_length"),
        ({"default_classes": None}, "null"),
        ({"retention_days": 0}, "min_value"),
        ({"retention_days": 3651}, "max_value"),
        ({"retention_days": 1.5}, "invalid"),
        ({"retention_days": "30"}, "invalid"),
        ({"retention_days": True}, "invalid"),
    ],
)
def test_invalid_settings_are_named_and_change_nothing(api, user, change, code):
    client = api(user)
    assert faults(client.patch(SETTINGS, {"theme": "dark", **change})) == [(code, *change)]
    assert not UserSettings.objects.exists()


def test_a_whole_number_may_be_written_with_a_decimal_point(api, user):
    response = api(user).generic("PATCH", SETTINGS, '{"retention_days": 30.0}', "application/json")
    assert (response.status_code, response.json()["retention_days"]) == (200, 30)


def test_half_a_surrogate_pair_is_refused(api, user):
    change = r'{"default_classes": ["\ud800"]}'
    response = api(user).generic("PATCH", SETTINGS, change, "application/json")
    assert faults(response) == [("invalid", "default_classes")]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["default_confidence", "retention_days"])
def test_nan_and_infinite_numbers_are_refused(api, user, field, number):
    response = api(user).generic("PATCH", SETTINGS, f'{{"{field}": {number}}}', "application/json")
    expected = ("parse_error", None) if "e" not in number.lower() or "y" in number else ("invalid", field)
    kind = "validation_error" if expected[1] else "client_error"
    assert faults(response, kind=kind) == [expected]
    assert not UserSettings.objects.exists()


@pytest.mark.parametrize("body", ["[]", '["retention_days"]', "null", "7", '"retention_days"'])
def test_a_body_that_is_no_object_changes_nothing(api, user, body):
    _, raw = keys.issue(user, "Account", ["account"], None)
    for client in (api(user), APIClient(HTTP_X_API_KEY=raw)):
        assert client.generic("PATCH", SETTINGS, body, "application/json").status_code in {200, 400}
    assert not UserSettings.objects.exclude(retention_days=None).exists()


def test_repeated_classes_are_stored_once(api, user):
    response = api(user).patch(SETTINGS, {"default_classes": ["bus", "person", "bus"]})
    assert response.json()["default_classes"] == ["bus", "person"]


@pytest.mark.parametrize(
    ("scopes", "status"), [(["account"], 403), (["account", "read"], 403), (["account", "detect"], 200)]
)
def test_a_key_without_the_scope_detect_sets_no_retention(user, stranger, scopes, status):
    _, raw = keys.issue(user, "Camera", scopes, None)
    client = APIClient(HTTP_X_API_KEY=raw)
    for change in ({"retention_days": 1}, {"retention_days": None}, {"theme": "dark", "retention_days": 1}):
        assert client.patch(SETTINGS, change).status_code == status
    assert client.patch(SETTINGS, {"retention_days": "nonsense"}).status_code == (
        403 if status == 403 else 400
    )
    assert client.patch(SETTINGS, {"theme": "light"}).status_code == 200
    assert UserSettings.objects.values_list("user", "theme", "retention_days").get() == (
        user.pk, "light", 1 if status == 200 else None,
    )  # fmt: skip  # a row


@pytest.mark.parametrize("value", ['{"bus": 1}', '"bus"', "[1]", "7"])
def test_the_admin_refuses_malformed_classes(client, user, value):
    client.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    form = {
        "email": user.email, "is_active": "on", "settings-TOTAL_FORMS": "1", "settings-INITIAL_FORMS": "0",
        "settings-0-user": str(user.pk), "settings-0-theme": "dark", "settings-0-default_classes": value,
    }  # fmt: skip  # a form
    page = client.post(f"/admin/accounts/user/{user.pk}/change/", form)
    assert (page.status_code, b"Must be a list of texts." in page.content) == (200, True)
    assert not UserSettings.objects.exists()


def test_two_concurrent_first_changes_make_one_row(at_once, api, user):
    first, second = api(user), api(user)
    answers = at_once(
        lambda: first.patch(SETTINGS, {"theme": "dark"}),
        lambda: second.patch(SETTINGS, {"notifications": False}),
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert first.get(SETTINGS).json() == {**DEFAULTS, "theme": "dark", "notifications": False}


def test_settings_are_read_with_the_session_in_one_query(api, user, django_assert_num_queries):
    client = api(user)
    with django_assert_num_queries(1):
        client.get(SETTINGS)


def test_only_the_name_of_a_user_can_be_changed(api, user):
    client = api(user)
    url = f"/api/v1/users/{user.pk}"
    change = {"name": "Ada Lovelace", "email": "root@example.com", "is_staff": True, "id": 1}
    response = client.patch(url, change)
    assert (response.status_code, response.json()["name"]) == (200, "Ada Lovelace")
    user.refresh_from_db()
    assert (user.name, user.email, user.is_staff) == ("Ada Lovelace", "ada@example.com", False)
    assert client.get(url).json() == client.get("/api/v1/users/get-profile").json() == response.json()
    assert "password" not in response.json()


@pytest.mark.parametrize("name", ["x" * 151, 7, None])
def test_an_invalid_name_is_refused(api, user, name):
    response = api(user).patch(f"/api/v1/users/{user.pk}", {"name": name})
    assert response.status_code == 400
    assert User.objects.get().name == "Ada"
