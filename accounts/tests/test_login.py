import time
from datetime import timedelta
from urllib.parse import urlencode

import jwt
import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Session, User

URL = "/api/v1/auth/login"
PASSWORD = "a-long-passphrase"


def log_in(api, email="ada@example.com", password=PASSWORD, **extra):
    return api().post(URL, {"email": email, "password": password}, **extra)


def log_in_by_form(api, **fields):
    return api().generic("POST", URL, urlencode(fields), content_type="application/x-www-form-urlencoded")


def claims(token):
    return jwt.decode(
        token, settings.JWT_SECRET_KEY, ["HS256"], audience="objectvision", issuer="objectvision"
    )


def profile(api, access_token, scheme="Bearer"):
    return api().get("/api/v1/users/get-profile", headers={"Authorization": f"{scheme} {access_token}"})


def test_logging_in_answers_with_the_tokens_of_a_new_session(api, user):
    response = log_in(api, headers={"User-Agent": "a browser"})
    session = Session.objects.get()
    assert response.status_code == 200
    content = response.json()
    assert set(content) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (content["token_type"], content["expires_in"]) == ("bearer", 30 * 60)
    for name, kind in (("access_token", "access"), ("refresh_token", "refresh")):
        told = claims(content[name])
        assert (told["token_type"], told["sid"], told["user_id"]) == (kind, str(session.pk), str(user.pk))
    assert claims(content["refresh_token"])["jti"] == session.refresh_jti
    assert (session.user, session.user_agent, session.revoked_at) == (user, "a browser", None)
    assert timedelta(days=6) < session.expires_at - timezone.now() <= timedelta(days=7)


def test_every_log_in_creates_a_new_session(api, user):
    first, second = (claims(log_in(api).json()["access_token"])["sid"] for _ in range(2))
    assert first != second
    assert {str(pk) for pk in Session.objects.values_list("pk", flat=True)} == {first, second}


def test_a_form_logs_in_as_json_does(api, user):
    response = log_in_by_form(api, username="ada@example.com", password=PASSWORD)
    assert response.status_code == 200
    assert profile(api, response.json()["access_token"]).json()["email"] == "ada@example.com"


@pytest.mark.parametrize("email", ["Ada@Example.com", "ADA@EXAMPLE.COM"])
def test_the_address_is_compared_without_regard_to_case(api, user, email):
    assert log_in(api, email=email).status_code == 200
    assert log_in_by_form(api, username=email, password=PASSWORD).status_code == 200


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(api, user):
    wrong, unknown = log_in(api, password="another"), log_in(api, email="nobody@example.com")
    assert (wrong.status_code, wrong.headers, wrong.content) == (
        unknown.status_code,
        unknown.headers,
        unknown.content,
    )
    assert wrong.status_code == 401
    assert wrong.json()["type"] == "client_error"
    assert wrong.json()["errors"] == [
        {
            "code": "authentication_failed",
            "detail": "The e-mail address or the password is wrong.",
            "attr": None,
        }
    ]
    assert wrong["WWW-Authenticate"] == "Bearer"
    assert not Session.objects.exists()


@pytest.mark.slow
def test_an_unknown_address_costs_as_much_time_as_a_wrong_password(api, user, full_argon2):
    user.set_password(PASSWORD)
    user.save()

    def seconds(email):
        started = time.process_time()  # CPU time, independent of other processes
        assert log_in(api, email, "another").status_code == 401
        return time.process_time() - started

    inactive = User.objects.create(email="bob@example.com", password=user.password, is_active=False)
    without = User.objects.create_user("cyd@example.com")  # has no usable password
    emails = [user.email, "nobody@example.com", inactive.email, without.email]
    taken = [[seconds(email) for email in emails] for _ in range(6)]
    quickest = [
        min(column) for column in zip(*taken, strict=True)
    ]  # without the influence of other processes
    assert max(quickest) < 1.5 * min(quickest)


def test_an_inactive_user_gets_the_same_answer_as_a_wrong_password(api, user):
    user.is_active = False
    user.save(update_fields=["is_active"])
    right, wrong = log_in(api), log_in(api, password="another")
    assert (right.status_code, right.content) == (wrong.status_code, wrong.content)
    assert right.status_code == 401
    assert not Session.objects.exists()


def test_spaces_around_a_password_are_kept(api, user):
    user.set_password(" padded passphrase ")
    user.save(update_fields=["password"])
    assert log_in(api, password="padded passphrase").status_code == 401
    assert log_in(api, password=" padded passphrase ").status_code == 200


@pytest.mark.parametrize(
    ("body", "attrs"),
    [
        ({}, ["email", "password"]),
        ({"email": "ada@example.com"}, ["password"]),
        ({"email": "ada", "password": PASSWORD}, ["email"]),
        ({"email": ["ada@example.com"], "password": {"a": 1}}, ["email", "password"]),
        ({"email": "ada@example.com", "password": "x" * 129}, ["password"]),
        ([], ["non_field_errors"]),
        ("text", ["non_field_errors"]),
    ],
)
def test_missing_and_malformed_fields_are_named(api, db, body, attrs):
    response = api().post(URL, body)
    assert response.status_code == 400
    assert response.json()["type"] == "validation_error"
    assert [error["attr"] or "non_field_errors" for error in response.json()["errors"]] == attrs


def test_errors_of_a_form_name_its_own_fields(api, db):
    response = log_in_by_form(api, password=PASSWORD)
    assert [(error["attr"], error["code"]) for error in response.json()["errors"]] == [
        ("username", "required")
    ]


def test_a_log_in_with_another_content_type_answers_415(api, db):
    response = api().generic("POST", URL, "email: ada", content_type="application/yaml")
    assert response.status_code == 415
    assert response.json()["errors"][0]["code"] == "unsupported_media_type"


def test_a_very_long_user_agent_is_cut_short(api, user):
    assert log_in(api, headers={"User-Agent": "x" * 5000}).status_code == 200
    assert Session.objects.get().user_agent == "x" * 200


def test_the_profile_is_that_of_the_token_and_never_shows_a_password(api, user, stranger):
    response = api(user).get("/api/v1/users/get-profile")
    assert response.status_code == 200
    assert response.json()["id"] == str(user.pk)
    assert set(response.json()) == {
        "id", "email", "name", "is_staff", "email_verified_at", "created_at", "updated_at",
    }  # fmt: skip  # as the contract lists them
    assert api(stranger).get("/api/v1/users/get-profile").json()["email"] == "eve@example.com"
