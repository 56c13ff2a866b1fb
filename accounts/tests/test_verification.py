"""The verification of addresses by mailed links."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import link_tokens
from accounts.models import FailedLogin, Session, User
from accounts.tokens import open_session
from notifications.models import Mail

pytestmark = pytest.mark.usefixtures("unthrottled")

VERIFY = "/api/v1/auth/verify-email"
SIGNUP = "/api/v1/auth/signup"
LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
PASSWORD = "a-long-passphrase"
SUCCESS, ERROR = "https://app.example/verified?x=1", "https://app.example/sorry"


@pytest.fixture
def required(settings):
    settings.REQUIRE_VERIFIED_EMAIL = True


def follow(api, token, **extra):
    return api().get(VERIFY, {"token": token}, **extra)


def kinds():
    return list(Mail.objects.order_by("pk").values_list("kind", "to", "state"))


def code(response):
    return response.status_code, response.json()["errors"][0]["code"]


def test_signing_up_mails_a_link_without_text_of_the_client(api, db):
    fields = {"email": "Ada@example.com", "password": PASSWORD, "name": "Buy now at evil.example"}
    assert api().post(SIGNUP, fields).status_code == 201
    assert kinds() == [("verify_email", "ada@example.com", "waiting")]


def test_a_refused_sign_up_mails_nothing(api, user):
    assert api().post(SIGNUP, {"email": user.email, "password": PASSWORD}).status_code == 400
    assert api().post(SIGNUP, {"email": "new@example.com", "password": "short"}).status_code == 400
    assert kinds() == []


def test_repeated_sign_ups_send_three_mails_at_most(api, db):
    """A client signs up, deletes the account and signs up again."""
    for _ in range(6):
        assert api().post(SIGNUP, {"email": "ada@example.com", "password": PASSWORD}).status_code == 201
        User.objects.all().delete()
    assert [state for *_, state in kinds()] == ["waiting"] * 3 + ["dropped"] * 3


def test_following_the_link_verifies_and_welcomes_once(api, user):
    token = link_tokens.make_verification_token(user)
    for _ in range(3):  # some mail systems open links before people do
        page = follow(api, token)
        assert page.status_code == 200
        assert b"Your address is verified" in page.content
    user.refresh_from_db()
    assert timezone.now() - user.email_verified_at < timedelta(seconds=30)
    assert kinds() == [("welcome", "ada@example.com", "waiting")]


@pytest.mark.postgresql
def test_ten_concurrent_requests_with_the_link_send_one_welcome(at_once, api, user):
    token = link_tokens.make_verification_token(user)
    assert at_once(*[lambda: follow(api, token).status_code] * 10) == [200] * 10
    assert [kind for kind, *_ in kinds()] == ["welcome"]


@pytest.mark.parametrize("how", ["nonsense", "none", "old", "moved", "inactive", "a reset's"])
def test_an_invalid_link_verifies_nothing(api, user, how):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = link_tokens.make_verification_token(user)
        match how:
            case "nonsense":
                token = "nonsense"
            case "none":
                token = ""
            case "old":
                clock.shift(timedelta(days=3, seconds=2))
            case "moved":
                User.objects.filter(pk=user.pk).update(email="countess@example.com")
            case "inactive":
                User.objects.filter(pk=user.pk).update(is_active=False)
            case "a reset's":
                token = link_tokens.make_reset_token(user)
        page = follow(api, token)
    assert page.status_code == 400
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert b"This link does not work" in page.content
    user.refresh_from_db()
    assert (user.email_verified_at, kinds()) == (None, [])


def test_the_link_redirects_to_the_front_end_if_there_is_one(api, user, settings):
    settings.FRONTEND_SUCCESS_URL, settings.FRONTEND_ERROR_URL = SUCCESS, ERROR
    answers = [follow(api, token) for token in (link_tokens.make_verification_token(user), "nonsense")]
    assert [(answer.status_code, answer["Location"]) for answer in answers] == [(302, SUCCESS), (302, ERROR)]


def test_the_page_is_not_cached_and_its_address_is_not_sent_as_referrer(api, user):
    page = follow(api, "nonsense")
    assert (page["Referrer-Policy"], page["Cache-Control"]) == ("strict-origin", "no-store")
    assert b"nonsense" not in page.content


def test_a_client_that_accepts_html_gets_the_page(api, user):
    assert follow(api, "x", headers={"Accept": "text/html"}).status_code == 400


def test_the_link_can_be_requested_again(api, user):
    assert api().post(VERIFY, {"email": "ADA@example.com"}).status_code == 204
    assert kinds() == [("verify_email", "ada@example.com", "waiting")]


def test_following_links_does_not_count_as_requesting_them(api, user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "verify": (1, 3600), "anon": (4, 3600)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        assert [follow(api, "x").status_code for _ in range(3)] == [400] * 3
        asked = [api().post(VERIFY, {"email": "ada@example.com"}).status_code for _ in range(2)]
        assert asked == [204, 429]
        assert [follow(api, "x").status_code for _ in range(2)] == [400, 429]


def test_by_default_an_unverified_user_logs_in(api, user):
    assert api().post(LOGIN, {"email": user.email, "password": PASSWORD}).status_code == 200


def test_unverified_users_get_no_session_if_verification_is_required(api, user, required):
    credentials = {"email": user.email, "password": PASSWORD}
    assert code(api().post(LOGIN, credentials)) == (403, "email_not_verified")
    assert not Session.objects.exists()
    follow(api, link_tokens.make_verification_token(user))
    assert api().post(LOGIN, credentials).status_code == 200


def test_a_wrong_password_does_not_tell_whether_the_address_is_verified(api, user, required):
    wrong = api().post(LOGIN, {"email": user.email, "password": "wrong"})
    unknown = api().post(LOGIN, {"email": "nobody@example.com", "password": "wrong"})
    assert code(wrong) == (401, "authentication_failed")
    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content)
    assert FailedLogin.objects.count() == 2


def test_sessions_from_before_verification_was_required_are_not_refreshed(api, user, settings):
    refresh_token = open_session(user, "pytest").refresh_token
    settings.REQUIRE_VERIFIED_EMAIL = True
    assert code(api().post(REFRESH, {"refresh_token": refresh_token})) == (403, "email_not_verified")
    follow(api, link_tokens.make_verification_token(user))
    assert api().post(REFRESH, {"refresh_token": refresh_token}).status_code == 200
