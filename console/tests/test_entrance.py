"""Signing up and mailed links at the console."""

import re

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from accounts import link_tokens
from accounts.models import Session, User
from notifications.models import Mail
from testing.clients import PASSWORD

COOKIE = settings.CONSOLE_COOKIE_NAME
ADA = {"name": "Ada", "email": "Ada@Example.com", "password": PASSWORD}
HOSTILE = ['"><img src=x onerror=alert(1)>', "\u202egnp.exe", "n" * 150, "👩🏽‍🚀 Ada", "{{ 7 * 7 }}"]

pytestmark = pytest.mark.django_db


def texts(response):
    """What a reader sees of the page."""
    content = re.sub(r"<(script|head).*?</\1>", "", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content))


def fault_of(response, name):
    """The text beside the field, which the field names for screen readers."""
    content = response.content.decode()
    assert re.search(
        rf'<input id="{name}"[^>]* aria-invalid="true"[^>]* aria-describedby="{name}-fault"', content
    )
    return re.search(rf'id="{name}-fault">([^<]*)<', content)[1]


def test_a_sign_up_logs_in_and_says_that_a_mail_was_sent(client):
    response = client.post("/signup", ADA)
    assert (response.status_code, response["Location"]) == (302, "/")
    user = User.objects.get(email="ada@example.com")
    assert (user.name, user.sessions.alive().count()) == ("Ada", 1)
    assert list(Mail.objects.values_list("kind", "to")) == [("verify_email", "ada@example.com")]
    assert "We have sent a mail to ada@example.com" in texts(client.get("/"))
    client.get("/api/v1/auth/verify-email", {"token": link_tokens.make_verification_token(user)})
    assert "We have sent a mail" not in texts(client.get("/"))


def test_the_notice_of_the_mail_is_gone_after_an_hour(client):
    client.post("/signup", ADA)
    with time_machine.travel(timezone.now() + Mail.WINDOW, tick=False):
        assert "We have sent a mail" not in texts(client.get("/"))


def test_a_sign_up_goes_on_to_the_page_that_led_to_it(client):
    page = client.get("/login", {"next": "/public?a=1"})
    assert 'href="/signup?next=%2Fpublic%3Fa%3D1"' in page.content.decode()
    assert (
        'name="next" value="/public?a=1"' in client.get("/signup", {"next": "/public?a=1"}).content.decode()
    )
    assert client.post("/signup", {**ADA, "next": "/public?a=1"})["Location"] == "/public?a=1"


def test_where_addresses_must_be_verified_a_sign_up_leads_to_the_mailbox(client, settings):
    settings.REQUIRE_VERIFIED_EMAIL = True
    response = client.post("/signup", ADA)
    assert response.status_code == 200
    assert "We have sent a link to ada@example.com" in texts(response)
    assert (COOKIE in client.cookies, Session.objects.count()) == (False, 0)
    refused = client.post("/login", ADA)
    assert refused.status_code == 403
    assert "Verify your e-mail address first" in texts(refused)
    assert 'href="/verify-email"' in refused.content.decode()


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("email", "ada", "Enter a valid e-mail address."),
        ("email", "", "This field may not be blank."),
        ("password", "short", "This password is too short."),
        ("password", "12345678901", "This password is entirely numeric."),
        ("password", "ada@example.com", "The password is too similar to the email"),
        ("password", "", "This field may not be blank."),
        ("name", "n" * 151, "no more than 150 characters"),
        ("name", "a\0b", "Null characters are not allowed."),
    ],
)
def test_a_fault_stands_beside_its_field_and_nothing_but_the_password_is_lost(client, field, value, fault):
    response = client.post("/signup", {**ADA, field: value})
    assert response.status_code == 400
    assert fault in fault_of(response, field).replace("&#x27;", "'")
    content = response.content.decode()
    assert PASSWORD not in content
    kept = {"name": "Ada", "email": "Ada@Example.com"} | ({field: value} if field != "password" else {})
    for text in kept.values():
        assert f'value="{text}"' in content
    assert not User.objects.exists()


def test_an_address_that_is_taken_is_told_beside_it(client, user):
    response = client.post("/signup", {**ADA, "email": user.email.upper()})
    assert response.status_code == 400
    assert fault_of(response, "email") == "A user with this e-mail address exists."


def test_sign_ups_count_together_with_those_at_the_api(client, api, settings):
    settings.THROTTLES = {**settings.THROTTLES, "signup": (2, 3600)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        client.post("/signup", {**ADA, "password": "short"})
        api().post("/api/v1/auth/signup", {"email": "x"})
        response = client.post("/signup", ADA)
    assert response.status_code == 429
    assert "Try again in 30 minutes." in texts(response)
    assert int(response["Retry-After"]) == 1800
    assert not User.objects.exists()


@pytest.mark.parametrize("page", ["/login", "/signup"])
def test_users_are_led_on_from_the_pages_of_visitors(client, page):
    client.post("/signup", ADA)
    assert client.get(page, {"next": "/public"})["Location"] == "/public"


def test_signing_up_while_logged_in_ends_the_first_log_in(client):
    client.post("/signup", ADA)
    first = client.cookies[COOKIE].value
    client.post("/signup", {**ADA, "email": "countess@example.com"})
    assert list(Session.objects.alive().values_list("user__email", flat=True)) == ["countess@example.com"]
    client.cookies[COOKIE] = first
    assert "Sign up" in texts(client.get("/"))


@pytest.mark.parametrize(
    ("page", "kind"), [("forgot-password", "password_reset"), ("verify-email", "verify_email")]
)
def test_known_and_unknown_addresses_are_answered_alike(client, user, page, kind):
    answers = []
    for email in (user.email, "nobody@example.com"):
        response = client.post(f"/{page}", {"email": email})
        answers.append((response.status_code, response["Location"], texts(client.get(response["Location"]))))
    assert answers[0] == answers[1]
    assert "a link" in answers[0][2]
    assert list(Mail.objects.order_by("pk").values_list("kind", "to", "by_stranger")) == [
        (kind, user.email, True),
        (kind, "nobody@example.com", True),
    ]


@pytest.mark.parametrize("page", ["/forgot-password", "/verify-email"])
def test_a_malformed_address_is_told_beside_it(client, page):
    response = client.post(page, {"email": "nonsense"})
    assert response.status_code == 400
    assert "Enter a valid e-mail address." in fault_of(response, "email")
    assert 'value="nonsense"' in response.content.decode()
    assert not Mail.objects.exists()


@pytest.mark.parametrize(
    ("page", "api_path", "scope"),
    [("forgot-password", "auth/password/reset", "reset"), ("verify-email", "auth/verify-email", "verify")],
)
def test_asking_for_links_counts_together_with_the_api(client, api, settings, page, api_path, scope):
    settings.THROTTLES = {**settings.THROTTLES, scope: (2, 3600)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        client.post(f"/{page}", {"email": "a@example.com"})
        api().post(f"/api/v1/{api_path}", {"email": "b@example.com"})
        assert client.post(f"/{page}", {"email": "c@example.com"}).status_code == 429


def test_an_address_gets_three_links_an_hour(client, user, unthrottled):
    statuses = [client.post("/forgot-password", {"email": user.email}).status_code for _ in range(4)]
    assert statuses == [302, 302, 302, 429]


@pytest.mark.parametrize("front_end", ["", "https://app.example", "http://localhost:8000"])
def test_the_mailed_links_lead_to_pages_that_answer(client, user, settings, front_end):
    from accounts import mails

    settings.FRONTEND_BASE_URL = front_end
    link = mails.reset_context(user.email)["link"]
    base = front_end or settings.PUBLIC_URL
    assert link.startswith(f"{base}/reset-password?token=")
    page = client.get(link.removeprefix(base))
    assert (page.status_code, "Choose a new password" in texts(page)) == (200, True)
    verify = mails.verification_context(user.email)["link"].removeprefix(settings.PUBLIC_URL)
    assert "Your address is verified" in texts(client.get(verify))


def test_refused_links_lead_to_where_another_one_is_sent(client, db):
    assert 'href="/forgot-password"' in client.get("/reset-password", {"token": "x"}).content.decode()
    assert 'href="/verify-email"' in client.get("/api/v1/auth/verify-email", {"token": "x"}).content.decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_names_and_addresses_are_text_on_every_page_of_the_entrance(client, settings, text):
    pages = [
        client.post(page, {"name": text, "email": text, "password": text}) for page in ("/login", "/signup")
    ]
    pages += [client.post(page, {"email": text}) for page in ("/forgot-password", "/verify-email")]
    pages.append(client.get("/login", {"next": text}))
    client.post("/signup", {**ADA, "name": text})
    pages += [client.get("/"), client.get("/public")]
    for page in pages:
        content = page.content.decode()
        assert "<img src=x" not in content
        assert "49" not in re.sub(r'(nonce|content|value)="[^"]*"', "", texts(page))
    assert User.objects.get().name == text
    bar = pages[-2].content.decode()
    shown = text.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert f'<bdi class="who-name">{shown}</bdi>' in bar


def test_a_refused_log_in_says_so_once(client):
    page = client.post("/login", {"email": "ada@example.com", "password": "wrong"}).content.decode()
    assert page.count("The e-mail address or the password is wrong.") == 1
    assert 'aria-invalid="true"' not in page
