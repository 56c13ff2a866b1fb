"""Log-ins of browsers: a cookie, its session's row, and what protects both."""

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from accounts.models import Session
from accounts.tokens import AccessToken, BrowserToken, RefreshToken
from testing.clients import PASSWORD

COOKIE = settings.CONSOLE_COOKIE_NAME
PROFILE = "/api/v1/users/settings"

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client, user):
    """A browser that has logged in at the console."""
    user.set_password(PASSWORD)
    user.save()
    response = client.post("/login", {"email": user.email, "password": PASSWORD})
    assert response.status_code == 302
    return client


def csrf_headers(client):
    page = client.get("/").content.decode()
    return {"X-CSRFToken": page.partition('name="csrf-token" content="')[2].partition('"')[0]}


def test_a_log_in_is_a_session_behind_a_cookie_that_no_script_reads(person, user):
    cookie = person.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    session = user.sessions.get()
    assert person.get(PROFILE).status_code == 200
    session.revoked_at = timezone.now()
    session.save()
    assert person.get(PROFILE).status_code == 401
    assert "Sign up" in person.get("/").content.decode()


def test_logging_in_again_begins_another_session_and_ends_the_first(person, user):
    """A cookie that an attacker set before a log-in leads to nothing after it."""
    first = person.cookies[COOKIE].value
    person.post("/login", {"email": user.email, "password": PASSWORD})
    assert person.cookies[COOKIE].value != first
    assert user.sessions.alive().count() == 1
    person.cookies[COOKIE] = first
    assert person.get(PROFILE).status_code == 401


def test_changes_need_the_token_of_a_page(person):
    person.handler.enforce_csrf_checks = True
    change = {"theme": "dark"}
    options = {"content_type": "application/json"}
    refused = person.patch(PROFILE, change, **options)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "csrf_failed")
    assert person.patch(PROFILE, change, headers={"X-CSRFToken": "a" * 64}, **options).status_code == 403
    assert person.patch(PROFILE, change, headers=csrf_headers(person), **options).status_code == 200


@pytest.mark.parametrize(
    ("scheme", "origin", "status"),
    [
        ("http", "http://testserver", 200),
        ("https", "https://testserver", 200),
        ("https", "http://testserver", 401),  # a page that came by plain HTTP may be forged
        ("http", "http://testserver:8080", 401),
        ("http", "https://evil.example.com", 401),
        ("https", "https://front.example.com", 401),  # one of CORS_ALLOWED_ORIGINS
        ("https", "null", 401),
    ],
)
def test_pages_of_other_origins_are_strangers(person, settings, scheme, origin, status):
    settings.CORS_ALLOWED_ORIGINS = ["https://front.example.com"]
    response = person.get(PROFILE, secure=scheme == "https", headers={"Origin": origin})
    assert response.status_code == status
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_behind_a_proxy_that_is_not_trusted_the_public_address_tells_the_scheme(person, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://testserver"]
    assert person.get(PROFILE, headers={"Origin": "https://testserver"}).status_code == 200


@pytest.mark.parametrize("kind", [AccessToken, RefreshToken])
def test_the_tokens_of_the_api_are_no_cookies(client, user, kind):
    session = Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))
    token = kind.for_user(user)
    token["sid"] = str(session.pk)
    client.cookies[COOKIE] = str(token)
    assert client.get(PROFILE).status_code == 401


def test_the_cookie_is_no_token_of_the_api(client, user):
    session = Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))
    token = BrowserToken.for_user(user)
    token["sid"] = str(session.pk)
    assert client.get(PROFILE, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    refresh = {"refresh_token": str(token)}
    assert client.post("/api/v1/auth/refresh", refresh, content_type="application/json").status_code == 401


@pytest.mark.parametrize("value", ["x", "a.b.c", "ü", "x" * 5000, "", "null"])
def test_odd_cookies_are_visitors_and_cost_no_query(client, value, django_assert_num_queries):
    client.cookies[COOKIE] = value
    with django_assert_num_queries(0):
        assert "Sign up" in client.get("/").content.decode()
        assert client.get(PROFILE).status_code == 401


def test_a_session_in_use_is_prolonged_once_a_day(person, user):
    session = user.sessions.get()
    end = session.expires_at
    assert COOKIE not in person.get("/").cookies
    Session.objects.update(
        last_used_at=timezone.now() - timedelta(days=2), expires_at=end - timedelta(days=2)
    )
    assert COOKIE in person.get("/").cookies
    assert user.sessions.get().expires_at > end
    assert COOKIE not in person.get("/").cookies


def test_a_session_of_a_single_day_is_prolonged_while_it_is_used(person, monkeypatch):
    """REFRESH_TOKEN_EXPIRE_DAYS=1"""
    monkeypatch.setattr(BrowserToken, "lifetime", timedelta(days=1))
    now = timezone.now()
    for hours in range(0, 72, 8):
        with time_machine.travel(now + timedelta(hours=hours), tick=False):
            assert person.get("/history").status_code == 200, hours


def test_logging_out_ends_the_session(person, user):
    kept = person.cookies[COOKIE].value
    response = person.post("/logout")
    assert response.headers["Location"] == "/login"
    assert user.sessions.alive().count() == 0
    person.cookies[COOKIE] = kept
    assert person.get(PROFILE).status_code == 401


def test_a_log_in_leads_only_to_pages_of_this_server(client, user):
    user.set_password(PASSWORD)
    user.save()
    account = {"email": user.email, "password": PASSWORD}
    for there in (
        "https://evil.example.com/",
        "//evil.example.com",
        "javascript:alert(1)",
        "\\\\evil.example.com",
    ):
        assert client.post("/login", {**account, "next": there}).headers["Location"] == "/"
        client.post("/logout")
    assert client.post("/login", {**account, "next": "/history?q=a"}).headers["Location"] == "/history?q=a"
