"""The page for mailed links where there is no front end; a browser goes through it in test_pages."""

import re

import pytest
import time_machine
from django.test import Client

from accounts.models import Session
from accounts.tokens import open_session
from notifications import proofs

URL = "/reset-password"
NEW = "another-passphrase"


@pytest.fixture
def browser(db):
    return Client(enforce_csrf_checks=True)


def form_of(page):
    """What a browser would send of the form, as it came."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', page.content.decode())
    return dict(fields)


def send(browser, page, first=NEW, second=None):
    passwords = {"new_password1": first, "new_password2": first if second is None else second}
    return browser.post(URL, {**form_of(page), **passwords})


def test_the_link_shows_a_form_and_the_form_resets_the_password_once(browser, user):
    open_session(user, "elsewhere")
    page = browser.get(URL, {"token": proofs.for_reset(user)})
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
def test_a_link_that_is_no_good_says_so_and_repeats_nothing(browser, token):
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
def test_a_password_that_will_not_do_is_told_on_the_form_and_not_repeated(
    browser, user, first, second, fault
):
    page = send(browser, browser.get(URL, {"token": proofs.for_reset(user)}), first, second)
    assert page.status_code == 400
    content = page.content.decode()
    assert fault in content
    assert f'value="{first}"' not in content
    assert send(browser, page).status_code == 200  # the form that came back works
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_another_site_cannot_send_the_form(browser, user):
    form = {"token": proofs.for_reset(user), "new_password1": NEW, "new_password2": NEW}
    assert browser.post(URL, form).status_code == 403
    user.refresh_from_db()
    assert not user.check_password(NEW)


def test_a_browser_that_names_the_pages_own_origin_may_send_it(browser, user):
    page = browser.get(URL, {"token": proofs.for_reset(user)})
    form = {**form_of(page), "new_password1": NEW, "new_password2": NEW}
    for origin, status in (("null", 403), ("http://evil.example", 403), ("http://testserver", 200)):
        assert browser.post(URL, form, headers={"Origin": origin}).status_code == status


def test_nothing_keeps_the_secret_or_runs_beside_it(browser, user):
    page = browser.get(URL, {"token": proofs.for_reset(user)})
    assert (page["Referrer-Policy"], page["Cache-Control"]) == ("strict-origin", "no-store")
    assert "unsafe-inline" not in page["Content-Security-Policy"]
    assert page["X-Frame-Options"] == "DENY"
    content = page.content.decode()
    assert re.findall(r"<script|style=|<style|onclick|https?://", content) == []
    assert re.findall(r'(?:href|src|action)="([^"]+)"', content) == [
        "/static/objectvision/favicon.svg", "/static/objectvision/page.css", "/reset-password",
    ]  # fmt: skip  # a list to read at a glance


def test_whoever_tries_links_is_stopped(browser, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (2, 60)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        pages = [browser.get(URL, {"token": str(number)}) for number in range(3)]
    assert [page.status_code for page in pages] == [400, 400, 429]
    assert pages[2]["Retry-After"] == "60"


def test_other_methods_are_refused(browser):
    assert Client().delete(URL).status_code == 405
