"""The page for mailed links without a front end; `test_pages` opens it in a browser."""

import re

import pytest
import time_machine
from django.templatetags.static import static
from django.test import Client
from django.utils import timezone

from accounts import keys, link_tokens, passwords
from accounts.models import ApiKey, Session, User, UserSettings
from accounts.tokens import open_session
from notifications.models import Mail

URL = "/reset-password"
NEW = "another-passphrase"


@pytest.fixture
def browser(db):
    return Client(enforce_csrf_checks=True)


def form_of(page):
    """The hidden fields of the form, as a browser would send them."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', page.content.decode())
    return dict(fields)


def send(browser, page, first=NEW, second=None):
    passwords = {"new_password1": first, "new_password2": first if second is None else second}
    return browser.post(URL, {**form_of(page), **passwords})


def test_a_reset_link_shows_a_form_that_resets_the_password_once(browser, user):
    open_session(user, "elsewhere")
    page = browser.get(URL, {"token": link_tokens.make_reset_token(user)})
    assert page.status_code == 200
    assert set(form_of(page)) == {"csrfmiddlewaretoken", "token"}
    done = send(browser, page)
    assert done.status_code == 200
    assert b"Your password is changed" in done.content
    user.refresh_from_db()
    assert user.check_password(NEW)
    assert not Session.objects.filter(revoked_at=None).exists()
    again = send(browser, page, "a-third-passphrase")
    assert again.status_code == 400
    assert b"This link does not work" in again.content
    user.refresh_from_db()
    assert user.check_password(NEW)


@pytest.mark.parametrize("token", ["", "x", "<script>alert(1)</script>", "\0"])
def test_the_page_of_an_invalid_link_does_not_repeat_the_token(browser, token):
    for page in (browser.get(URL, {"token": token}), Client().post(URL, {"token": token})):
        assert page.status_code == 400
        assert b"This link does not work" in page.content
        assert b"alert" not in page.content


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        (NEW, "a-different-passphrase", "match."),
        ("12345", None, "This password is too short."),
        ("password1", None, "This password is too common."),
        ("x" * 129, None, "Ensure this value has at most 128 characters"),
        ("", None, "This field is required."),
    ],
)
def test_the_form_explains_a_weak_password_and_does_not_repeat_it(browser, user, first, second, fault):
    page = send(browser, browser.get(URL, {"token": link_tokens.make_reset_token(user)}), first, second)
    assert page.status_code == 400
    content = page.content.decode()
    assert fault in content
    assert f'value="{first}"' not in content
    assert send(browser, page).status_code == 200  # the form that came back works
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_another_site_cannot_send_the_reset_form(browser, user):
    form = {"token": link_tokens.make_reset_token(user), "new_password1": NEW, "new_password2": NEW}
    assert browser.post(URL, form).status_code == 403
    user.refresh_from_db()
    assert not user.check_password(NEW)


def test_a_form_sent_from_the_pages_own_origin_is_accepted(browser, user):
    page = browser.get(URL, {"token": link_tokens.make_reset_token(user)})
    form = {**form_of(page), "new_password1": NEW, "new_password2": NEW}
    for origin, status in (("null", 403), ("http://evil.example", 403), ("http://testserver", 200)):
        assert browser.post(URL, form, headers={"Origin": origin}).status_code == status


def test_the_page_is_not_cached_and_runs_no_script(browser, user):
    page = browser.get(URL, {"token": link_tokens.make_reset_token(user)})
    assert (page["Referrer-Policy"], page["Cache-Control"]) == ("strict-origin", "no-store")
    assert "unsafe-inline" not in page["Content-Security-Policy"]
    assert page["X-Frame-Options"] == "DENY"
    content = page.content.decode()
    assert re.findall(r"<script|style=|<style|onclick|https?://", content) == []
    assert re.findall(r'(?:href|src|action)="([^"]+)"', content) == [
        static("objectvision/favicon.svg"), static("objectvision/tokens.css"), static("console/console.css"),
        "/", static("objectvision/favicon.svg"), "/reset-password",
    ]  # fmt: skip  # a list to read at a glance


def test_requests_for_the_page_are_throttled(browser, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (2, 60)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        pages = [browser.get(URL, {"token": str(number)}) for number in range(3)]
    assert [page.status_code for page in pages] == [400, 400, 429]
    assert pages[2]["Retry-After"] == "60"


def test_other_methods_are_refused(browser):
    assert Client().delete(URL).status_code == 405


# The page that a verification leads to: another person may have signed up with the address

VERIFY, END = "/api/v1/auth/verify-email", "/end-access"


def verified_page(browser, user):
    return browser.get(VERIFY, {"token": link_tokens.make_verification_token(user)})


@pytest.fixture
def eves(user, stranger):
    """An account that Eve signed up with another's address; a stranger's rows must stay."""
    open_session(user, "<b>Eve's browser</b>")
    keys.issue(user, "Eve's camera", ["account"], None)
    UserSettings.objects.create(user=user, retention_days=1)
    open_session(stranger, "elsewhere")
    keys.issue(stranger, "Stranger's", ["account"], None)
    UserSettings.objects.create(user=stranger, theme="dark")
    yield user
    assert Session.objects.filter(user=stranger).alive().count() == 1
    assert ApiKey.objects.filter(user=stranger).alive().count() == 1
    assert UserSettings.objects.get(user=stranger).theme == "dark"


def test_the_verified_page_lists_all_access_and_no_secrets(browser, eves):
    page = verified_page(browser, eves)
    assert page.status_code == 200
    content = page.content.decode()
    assert "with &lt;b&gt;Eve&#x27;s browser&lt;/b&gt;" in content
    assert "The API key “Eve&#x27;s camera”" in content
    assert "Settings that were changed" in content
    assert "Stranger" not in content
    assert "elsewhere" not in content
    assert ApiKey.objects.get(user=eves).prefix not in content


def test_ending_all_access_mails_a_link_to_choose_a_password(browser, api, eves):
    page = verified_page(browser, eves)
    client = api(User.objects.get(pk=eves.pk))
    assert client.get("/api/v1/users/get-profile").status_code == 200
    done = browser.post(END, form_of(page))
    assert (done.status_code, b"All access has ended" in done.content) == (200, True)
    assert client.get("/api/v1/users/get-profile").status_code == 401
    assert not Session.objects.filter(user=eves).alive().exists()
    assert not ApiKey.objects.filter(user=eves).alive().exists()
    assert not UserSettings.objects.filter(user=eves).exists()
    eves.refresh_from_db()
    assert (eves.has_usable_password(), eves.name) == (False, "")
    login = {"email": eves.email, "password": "a-long-passphrase"}
    assert api().post("/api/v1/auth/login", login).status_code == 401
    mailed = Mail.objects.filter(to=eves.email, kind="password_reset", state="waiting", by_stranger=False)
    assert mailed.count() == 1
    again = browser.post(END, form_of(page))
    assert (again.status_code, mailed.count()) == (400, 1)
    assert send(browser, browser.get(URL, {"token": link_tokens.make_reset_token(eves)})).status_code == 200
    eves.refresh_from_db()
    assert eves.check_password(NEW)


def test_after_ending_access_the_verified_page_has_no_form(browser, eves):
    browser.post(END, form_of(verified_page(browser, eves)))
    eves.refresh_from_db()
    assert b"<form" not in verified_page(browser, eves).content


def test_another_site_cannot_end_access(browser, eves):
    secret = {"token": link_tokens.make_end_access_token(eves)}
    assert browser.post(END, secret).status_code == 403
    assert Session.objects.filter(user=eves).alive().exists()


@pytest.mark.parametrize(
    "how", ["nonsense", "a verification's", "a reset's", "another's", "old", "after a reset"]
)
def test_only_the_token_of_the_verified_page_ends_access(browser, eves, stranger, how):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        page = verified_page(browser, eves)
        form = form_of(page)
        match how:
            case "nonsense":
                form["token"] = "nonsense"
            case "a verification's":
                form["token"] = link_tokens.make_verification_token(eves)
            case "a reset's":
                form["token"] = link_tokens.make_reset_token(eves)
            case "another's":
                form["token"] = form["token"].replace(str(eves.pk), str(stranger.pk))
            case "old":
                clock.shift(3602)
            case "after a reset":
                passwords.reset(link_tokens.make_reset_token(eves), NEW)
        before = User.objects.values().get(pk=eves.pk)
        answer = browser.post(END, form)
        assert (answer.status_code, b"Nothing was ended" in answer.content) == (400, True)
    assert User.objects.values().get(pk=eves.pk) == before


def test_the_token_of_the_verified_page_resets_no_password(api, eves):
    body = {"token": link_tokens.make_end_access_token(eves), "new_password": NEW}
    assert api().post("/api/v1/auth/password/reset/confirm", body).status_code == 400


def test_verification_redirects_to_the_front_end_if_there_is_one(browser, eves, settings):
    settings.FRONTEND_SUCCESS_URL = "https://app.example/verified"
    answer = verified_page(browser, eves)
    assert (answer.status_code, answer["Location"]) == (302, "https://app.example/verified")
    assert answer.content == b""


def test_attempts_to_end_access_are_throttled(browser, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (2, 60)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        pages = [Client().post(END, {"token": str(number)}) for number in range(3)]
    assert [page.status_code for page in pages] == [400, 400, 429]
    assert pages[2]["Retry-After"] == "60"


def test_ending_access_by_get_answers_405(browser, eves):
    assert browser.get(END, {"token": link_tokens.make_end_access_token(eves)}).status_code == 405
