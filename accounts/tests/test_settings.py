"""A user's own choices and name, and what they are when nothing has been chosen."""

import pytest

from accounts.models import User, UserSettings

SETTINGS = "/api/v1/users/settings"
DEFAULTS = {
    "theme": "system",
    "notifications": True,
    "default_confidence": None,
    "default_classes": [],
    "retention_days": None,
}


def faults(response):
    assert response.status_code == 400, response.content
    return [(error["code"], error["attr"]) for error in response.json()["errors"]]


def test_before_anything_is_chosen_the_defaults_hold_and_nothing_is_stored(api, user):
    response = api(user).get(SETTINGS)
    assert (response.status_code, response.json()) == (200, DEFAULTS)
    assert not UserSettings.objects.exists()


def test_what_is_changed_stays_and_the_rest_is_as_it_was(api, user):
    client = api(user)
    client.patch(SETTINGS, {"theme": "dark", "default_classes": ["bus", "person"]})
    response = client.patch(SETTINGS, {"default_confidence": 0.4, "retention_days": 30})
    expected = {
        "theme": "dark",
        "notifications": True,
        "default_confidence": 0.4,
        "default_classes": ["bus", "person"],
        "retention_days": 30,
    }
    assert (response.status_code, response.json()) == (200, expected)
    assert client.get(SETTINGS).json() == expected
    assert UserSettings.objects.get().user == user


def test_what_was_set_can_be_taken_back(api, user):
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
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(api, user, change, code):
    client = api(user)
    assert faults(client.patch(SETTINGS, {"theme": "dark", **change})) == [(code, *change)]
    assert not UserSettings.objects.exists()


def test_a_whole_number_may_be_written_with_a_point(api, user):
    response = api(user).generic("PATCH", SETTINGS, '{"retention_days": 30.0}', "application/json")
    assert (response.status_code, response.json()["retention_days"]) == (200, 30)


def test_half_a_character_is_refused(api, user):
    change = r'{"default_classes": ["\ud800"]}'
    response = api(user).generic("PATCH", SETTINGS, change, "application/json")
    assert faults(response) == [("invalid", "default_classes")]


def test_settings_of_two_at_once_make_one_row(at_once, api, user):
    first, second = api(user), api(user)
    answers = at_once(
        lambda: first.patch(SETTINGS, {"theme": "dark"}),
        lambda: second.patch(SETTINGS, {"notifications": False}),
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert first.get(SETTINGS).json() == {**DEFAULTS, "theme": "dark", "notifications": False}


def test_settings_come_with_the_session_in_one_query(api, user, django_assert_num_queries):
    client = api(user)
    with django_assert_num_queries(1):
        client.get(SETTINGS)


def test_a_name_can_be_changed_and_nothing_else(api, user):
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
def test_a_name_that_is_none_is_refused(api, user, name):
    response = api(user).patch(f"/api/v1/users/{user.pk}", {"name": name})
    assert response.status_code == 400
    assert User.objects.get().name == "Ada"
