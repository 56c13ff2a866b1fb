"""Attacks on log-ins of browsers."""

import re

import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts import closing, link_tokens, passwords
from accounts.models import FailedLogin, Session, User
from testing.clients import PASSWORD
from testing.files.pictures import photo

COOKIE, CSRF_COOKIE = settings.CONSOLE_COOKIE_NAME, settings.CSRF_COOKIE_NAME
PROFILE = "/api/v1/users/get-profile"
PAGES = [
    "/",
    "/login",
    "/signup",
    "/forgot-password",
    "/verify-email",
    "/public",
    "/reset-password",
    "/nowhere",
]
FORMS = [
    "/login",
    "/signup",
    "/logout",
    "/forgot-password",
    "/verify-email",
    "/reset-password",
    "/end-access",
]
HTML = {"Accept": "text/html"}

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unthrottled")]


def token_in(response):
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', response.content.decode())[1]


@pytest.fixture
def account(user):
    return {"email": user.email, "password": PASSWORD}


@pytest.mark.parametrize("path", PAGES)
def test_no_page_stands_in_a_frame_or_runs_what_is_written_into_it(console, user, path):
    for client in (console(), console(user)):
        response = client.get(path, headers=HTML)
        assert (response["X-Frame-Options"], response["X-Content-Type-Options"]) == ("DENY", "nosniff")
        policy = response["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "form-action 'self'" in policy
        content = response.content.decode()
        assert (
            re.findall(r"<script(?![^>]* src=)(?![^>]*application/json)|<style|\sstyle=|\son\w+=", content)
            == []
        )


def test_each_answer_has_another_nonce(client):
    nonces = {
        re.search(r"'nonce-([^']+)'", client.get("/login")["Content-Security-Policy"])[1] for _ in range(3)
    }
    assert len(nonces) == 3


def test_what_is_of_one_user_is_kept_for_no_other(console, user):
    response = console(user).get("/")
    assert response["Cache-Control"] == "private, no-cache"
    assert "Cookie" in response["Vary"]


def test_deployed_cookies_are_secure_and_bound_to_the_host(client, account, read_settings, settings):
    deployed = read_settings(
        ENVIRONMENT="production", SECRET_KEY="s" * 40, JWT_SECRET_KEY="j" * 40, DB_HOST="db",
        ALLOWED_HOSTS="ov.example.com", REDIS_URL="redis://redis",
    )  # fmt: skip  # an environment
    for name in ("CONSOLE_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        setattr(settings, name, deployed[name])
    cookies = client.post("/login", account, secure=True).cookies
    assert set(cookies) == {"__Host-console", "__Host-csrftoken"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
        assert (cookie["path"], cookie["domain"]) == ("/", "")
    out = client.post("/logout", secure=True).cookies["__Host-console"]
    assert (out.value, out["path"], out["max-age"]) == ("", "/", 0)
    assert out["secure"]  # without it browsers keep a cookie of this name


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("origin", [None, "https://evil.example.com", "null", "http://testserver:8080"])
def test_forms_of_other_sites_change_nothing(user, account, path, origin):
    client = Client(enforce_csrf_checks=True)
    page = client.get("/login")
    form = {**account, "name": "Eve"} | ({"csrfmiddlewaretoken": token_in(page)} if origin else {})
    headers = {"Origin": origin} if origin else {}
    assert client.post(path, form, headers=headers).status_code == 403
    assert COOKIE not in client.cookies
    assert (Session.objects.count(), User.objects.count()) == (0, 1)


def test_a_planted_token_or_log_in_is_of_no_use_after_the_log_in(console, user, stranger, account):
    """An attacker who can set cookies knows both before the victim logs in."""
    victim = Client(enforce_csrf_checks=True)
    victim.cookies.update(console(stranger).cookies)
    planted, token = victim.cookies[COOKIE].value, token_in(victim.get("/forgot-password"))
    known = victim.cookies[CSRF_COOKIE].value
    response = victim.post("/login", {**account, "csrfmiddlewaretoken": token})
    assert response.status_code == 302
    assert victim.cookies[COOKIE].value != planted
    assert victim.cookies[CSRF_COOKIE].value != known
    assert victim.post("/logout", {"csrfmiddlewaretoken": token}).status_code == 403
    assert victim.get(PROFILE).json()["email"] == user.email
    attacker = console()
    attacker.cookies[COOKIE] = planted
    assert attacker.get(PROFILE).status_code == 401


@pytest.mark.parametrize(
    "there",
    [
        "https://evil.example.com", "//evil.example.com", "///evil.example.com", "\\\\evil.example.com",
        "/\\evil.example.com", "http:evil.example.com", "https:///evil.example.com", "javascript:alert(1)",
        "data:text/html,x", " //evil.example.com", "\t//evil.example.com", "/\t/evil.example.com",
        "\x01//evil.example.com", "http://testserver@evil.example.com", "http://testserver.evil.example.com",
        "ftp://testserver/", "https://evil.example.com\\@testserver", "//[::1",
    ],
)  # fmt: skip  # a list to read at a glance
def test_a_log_in_or_sign_up_leads_to_no_other_site(client, account, there):
    new = {"email": "new@example.com", "password": PASSWORD}
    for path, form in (("/login", account), ("/signup", new)):
        assert client.get(path, {"next": there}).content.decode().count("evil.example.com") == 0
        assert client.post(path, {**form, "next": there})["Location"] == "/"
        assert client.get(path, {"next": there})["Location"] == "/"
        client.post("/logout")


@pytest.mark.parametrize("there", ["history", "admin", "console:logout", "\ufffd", "\0"])
def test_a_log_in_that_leads_to_no_page_is_one_all_the_same(client, account, there):
    assert client.post("/login", {**account, "next": there}).status_code == 302
    assert client.get("/login", {"next": there}).status_code == 302


def test_log_ins_count_together_with_those_at_the_api(client, api, account, settings):
    settings.THROTTLES = {**settings.THROTTLES, "login": (2, 60)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        assert client.post("/login", {**account, "password": "wrong"}).status_code == 400
        assert api().post("/api/v1/auth/login", {**account, "password": "wrong"}).status_code == 401
        refused = client.post("/login", account)
        assert api().post("/api/v1/auth/login", account).status_code == 429
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert "Try again in 60 seconds." in refused.content.decode()


def test_wrong_passwords_count_together_with_those_at_the_api(client, api, account):
    for number in range(FailedLogin.MAX_ATTEMPTS):
        wrong = {**account, "password": f"wrong-{number}"}
        client.post("/login", wrong) if number % 2 else api().post("/api/v1/auth/login", wrong)
    refused = client.post("/login", account)
    assert refused.status_code == 429
    assert "Too many wrong tries for this account. Try again in 5 minutes." in refused.content.decode()
    assert COOKIE not in client.cookies


def test_unknown_addresses_and_wrong_passwords_are_answered_alike(client, account):
    pages = [
        client.post("/login", form).content.decode()
        for form in ({**account, "password": "wrong"}, {**account, "email": "eda@example.com"})
    ]
    plain = [re.sub(r'(nonce|value|content)="[^"]*"', "", page) for page in pages]
    assert plain[0] == plain[1]


def deactivate(user):
    User.objects.filter(pk=user.pk).update(is_active=False)


def reset(user):
    passwords.reset(link_tokens.make_reset_token(user), "another-passphrase")


def end_everywhere(user):
    User.objects.end_all_sessions(User.objects.filter(pk=user.pk))


def expire(user):
    Session.objects.filter(user=user).update(expires_at=timezone.now())


@pytest.mark.parametrize("end", [deactivate, closing.close, reset, end_everywhere, expire])
def test_a_cookie_opens_nothing_once_its_log_in_has_ended(console, user, stranger, end):
    browser, other = console(user), console(stranger)
    assert browser.get(PROFILE).status_code == 200
    end(user)
    assert browser.get(PROFILE).status_code == 401
    page = browser.get("/")
    assert (page.status_code, user.email in page.content.decode()) == (200, False)
    assert browser.get("/history")["Location"] == "/login?next=%2Fhistory"
    assert COOKIE not in page.cookies  # it is not prolonged
    assert other.get(PROFILE).status_code == 200


def change_password(browser, new="another-passphrase"):
    passwords = {"current_password": PASSWORD, "new_password": new}
    return browser.post("/api/v1/auth/password/change", passwords, content_type="application/json")


def test_a_new_password_ends_what_a_copied_cookie_opens(console, user):
    browser, thief = console(user), console()
    thief.cookies[COOKIE] = browser.cookies[COOKIE].value
    assert thief.get(PROFILE).status_code == 200
    assert change_password(browser).status_code == 204
    assert thief.get(PROFILE).status_code == 401
    assert browser.get(PROFILE).status_code == 200
    assert user.sessions.alive().count() == 1


@pytest.mark.parametrize("end", [reset, end_everywhere, closing.close])
def test_what_ends_a_log_in_while_its_password_changes_leaves_no_other_one(console, user, end, monkeypatch):
    browser, change = console(user), passwords.change

    def change_and_end(*args, **options):
        is_changed = change(*args, **options)
        end(User.objects.get(pk=user.pk))
        return is_changed

    monkeypatch.setattr(passwords, "change", change_and_end)
    assert change_password(browser).status_code == 401
    assert Session.objects.alive().count() == 0


def test_a_log_in_from_before_addresses_had_to_be_verified_ends(console, user, settings):
    browser = console(user)
    settings.REQUIRE_VERIFIED_EMAIL = True
    assert browser.get(PROFILE).status_code == 401
    assert browser.get("/history")["Location"] == "/login?next=%2Fhistory"
    assert browser.get("/login?next=/history").status_code == 200  # the two lead to each other no further
    User.objects.update(email_verified_at=timezone.now())
    assert browser.get("/history").status_code == 200


def test_a_fragment_is_kept_for_no_page(console, user):
    """By `no-cache` alone, Back may show what htmx has been given at the same address."""
    for headers in ({}, {"HX-Request": "true"}):
        assert "HX-Request" in console(user).get("/history?offset=0", headers=headers)["Vary"]


def test_pages_say_what_is_missing_without_scripts(console, user, submit):
    detection = submit(user, photo())
    for path in ("/", "/history", "/account", f"/results/{detection.pk}"):
        content = console(user).get(path).content.decode()
        assert "JavaScript" in content.partition("<noscript>")[2].partition("</noscript>")[0], path
