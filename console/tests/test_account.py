"""The account page: whose rows it shows, and that texts of users stay texts."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from django.utils.html import escape

from accounts import keys
from accounts.models import Session, UserSettings
from console.views.account import agents
from detections.models import Detector
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.webhooks import endpoints
from testing.clients import PASSWORD

HOSTILE = '<img src=x onerror="alert(1)"> \u202egnp.exe 🦊' + "x" * 60

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(console, user):
    return console(user)


def webhook_of(owner, **values):
    return endpoints.create_endpoint(owner, None, **{"url": "https://hooks.example.com/", **values})[0]


def delivery_to(webhook, **values):
    values = {"type": "ping", "state": "failed", "event": uuid4(), **values}
    return WebhookDelivery.objects.create(endpoint=webhook, **values)


def shown(person, path):
    response = person.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_the_page_shows_only_own_keys_webhooks_and_sessions(person, user, stranger):
    for owner, name in ((user, "mine"), (stranger, "theirs")):
        keys.issue(owner, f"key-{name}", ["read"], None)
        webhook_of(owner, description=f"hook-{name}")
        ends = timezone.now() + timedelta(days=1)
        Session.objects.create(user=owner, expires_at=ends, user_agent=f"agent-{name}")
    parts = "".join(shown(person, f"/account/{part}") for part in ("keys", "webhooks", "sessions"))
    for text in (shown(person, "/account"), parts):
        assert all(f"{kind}-mine" in text for kind in ("key", "hook", "agent"))
        assert "theirs" not in text


def test_revoked_keys_and_ended_sessions_are_gone(person, user):
    key, _ = keys.issue(user, "Camera", ["read"], None)
    session = Session.objects.create(
        user=user, expires_at=timezone.now() + timedelta(days=1), user_agent="curl/8.5.0"
    )
    assert "Camera" in shown(person, "/account/keys")
    assert "curl 8.5.0" in shown(person, "/account/sessions")
    user.api_keys.filter(pk=key.pk).revoke()
    user.sessions.filter(pk=session.pk).revoke()
    assert "Camera" not in shown(person, "/account/keys")
    assert "curl" not in shown(person, "/account/sessions")


def test_of_very_many_sessions_the_latest_and_this_one_are_shown(person, user):
    for number in range(51):
        Session.objects.create(
            user=user, expires_at=timezone.now() + timedelta(days=1), user_agent=f"agent-{number}."
        )
    text = shown(person, "/account/sessions")
    assert "agent-50." in text
    assert "agent-0." not in text
    assert text.count("<li>") == 51
    assert text.index("This browser") < text.index("agent-50.")
    assert "There are more" in text


@pytest.mark.parametrize("rows", [1, 3])
def test_the_number_of_rows_adds_no_queries(person, user, rows, django_assert_num_queries):
    for number in range(rows):
        keys.issue(user, f"{number}", ["read"], None)
        webhook_of(user)
        Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))
    with django_assert_num_queries(5):  # the session, keys, webhooks, sessions, detectors
        shown(person, "/account")


@pytest.mark.parametrize("rows", [1, 3])
def test_the_number_of_deliveries_adds_no_queries(person, user, rows, django_assert_num_queries):
    webhook = webhook_of(user)
    for _ in range(rows):
        delivery_to(webhook)
    with django_assert_num_queries(3):  # the session, the webhook, its deliveries
        shown(person, f"/account/webhooks/{webhook.pk}")


def test_the_settings_are_filled_in(person, user):
    UserSettings.objects.create(
        user=user, theme="dark", default_confidence=0.4, default_classes=["bus"], retention_days=30
    )
    text = shown(person, "/account")
    assert '<html lang="en" data-theme="dark">' in text
    assert 'name="theme" value="dark" checked' in text
    assert 'value="0.4"' in text
    assert 'name="default_classes" value="bus"' in text
    assert 'value="30"' in text


def test_classes_of_active_detectors_are_suggested(person, detector):
    name = detector.classes[0]
    assert f'<option value="{name}">' in shown(person, "/account")
    Detector.objects.update(is_active=False)
    assert f'<option value="{name}">' not in shown(person, "/account")


def test_texts_of_users_never_become_markup(person, user):
    user.rename(HOSTILE[:100])
    keys.issue(user, HOSTILE[:100], ["read"], None)
    UserSettings.objects.create(user=user, default_classes=[HOSTILE[:100]])
    webhook = webhook_of(user, description=HOSTILE, disabled_reason=HOSTILE, is_active=False)
    Session.objects.create(
        user=user, expires_at=timezone.now() + timedelta(days=1), user_agent=HOSTILE.replace("🦊", "")
    )
    answer = {"at": "2026-11-29T10:00:00Z", "error": HOSTILE, "headers": {HOSTILE: HOSTILE}, "body": HOSTILE}
    request = {"headers": {"a": HOSTILE}, "body": '{"a": "<img src=x>"}'}
    delivery = delivery_to(webhook, error=HOSTILE, response=[answer], request=request)
    page = f"/account/webhooks/{webhook.pk}"
    for path in ("/account", page, f"{page}/{delivery.pk}"):
        text = shown(person, path)
        assert "<img src=x" not in text
        assert escape(HOSTILE[:40]) in text


@pytest.mark.parametrize("name", ["items", "0"])
def test_an_answer_may_have_headers_of_any_name(person, user, name):
    webhook = webhook_of(user)
    answer = {"at": None, "error": "", "status_code": 200, "headers": {name: "kept", "server": "nginx"}}
    delivery = delivery_to(webhook, response=[answer], request={"headers": {"items": "sent"}, "body": ""})
    text = shown(person, f"/account/webhooks/{webhook.pk}/{delivery.pk}")
    for found in (name, "server", "items"):
        assert f"<dt>{found}</dt>" in text


@pytest.mark.parametrize("part", ["", "/state", "/log", "/{delivery}", "/{delivery}/part"])
def test_webhooks_of_others_and_deleted_ones_are_404(person, user, stranger, part):
    own, other = webhook_of(user), webhook_of(stranger)
    mine, theirs = delivery_to(own), delivery_to(other)

    def status(webhook, delivery):
        path = part.format(delivery=delivery.pk)
        return person.get(f"/account/webhooks/{webhook.pk}{path}").status_code

    assert status(own, mine) == 200
    assert status(other, theirs) == 404
    if part.startswith("/{"):
        assert status(own, theirs) == 404
    WebhookEndpoint.objects.filter(pk=own.pk).remove()
    assert status(own, mine) == 404


def test_what_is_missing_is_a_page(person):
    response = person.get(f"/account/webhooks/{uuid4()}")
    assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in response.content.decode()


def test_the_log_is_filtered_and_paged(person, user):
    webhook = webhook_of(user)
    for _ in range(20):
        delivery_to(webhook)
    delivered = delivery_to(webhook, state="delivered")
    page = f"/account/webhooks/{webhook.pk}/log"
    newest = shown(person, page)
    assert newest.count("<li ") == 20
    assert str(delivered.pk) in newest
    assert 'rel="next" href="?state=&amp;page=2' in newest
    oldest = shown(person, f"{page}?page=2")
    assert (oldest.count("<li "), 'rel="next"' in oldest, 'rel="prev"' in oldest) == (1, False, True)
    assert shown(person, f"{page}?state=delivered").count("<li ") == 1
    assert shown(person, f"{page}?state=pending").count("<li ") == 0


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "page=99999", "page=٣", "state=odd", "state="]
)
def test_odd_queries_show_the_first_page(person, user, query):
    webhook = webhook_of(user)
    delivery_to(webhook)
    assert shown(person, f"/account/webhooks/{webhook.pk}/log?{query}").count("<li ") == 1


def test_a_log_asks_again_only_while_something_is_due(person, user):
    webhook = webhook_of(user)
    page = f"/account/webhooks/{webhook.pk}/log"
    delivery = delivery_to(webhook, state="pending", next_at=timezone.now() + timedelta(hours=5))
    assert "every 1s" not in shown(person, page)
    WebhookDelivery.objects.filter(pk=delivery.pk).update(next_at=timezone.now())
    assert "every 1s" in shown(person, page)


def test_a_webhook_tells_its_state(person, user):
    webhook = webhook_of(user)
    page = f"/account/webhooks/{webhook.pk}/state"

    def state(**values):
        WebhookEndpoint.objects.filter(pk=webhook.pk).update(**values)
        return shown(person, page)

    assert ">Active<" in state()
    assert "Failing since" in state(failing_since=timezone.now())
    assert ">Paused<" in state(is_active=False, failing_since=None)
    disabled = state(disabled_reason="It failed for 5 days.")
    assert ">Disabled<" in disabled
    assert "It failed for 5 days." in disabled


def test_forms_send_no_password_in_an_address_while_scripts_are_missing(person, user):
    webhook = webhook_of(user)
    for path in ("/account", f"/account/webhooks/{webhook.pk}"):
        forms = re.findall(r"<form [^>]*>", shown(person, path))
        assert [form for form in forms if 'method="post"' not in form] == []
        assert person.post(path, {"password": PASSWORD}).status_code == 405


def test_no_secret_is_in_the_page(person, user):
    _, raw = keys.issue(user, "Camera", ["read"], None)
    webhook, secret = endpoints.create_endpoint(user, None, url="https://hooks.example.com/")
    for path in ("/account", f"/account/webhooks/{webhook.pk}"):
        text = shown(person, path)
        assert raw not in text
        assert secret not in text
        assert "whsec_" not in text


def test_answers_that_show_a_secret_are_not_stored(person, user):
    page = person.get("/account").content.decode()
    headers = {"X-CSRFToken": page.partition('name="csrf-token" content="')[2].partition('"')[0]}
    made = person.post("/api/v1/users/api-keys", {"name": "a"}, "application/json", headers=headers)
    webhook = webhook_of(user)
    rotated = person.post(f"/api/v1/webhooks/{webhook.pk}/rotate-secret", headers=headers)
    for answer in (made, rotated):
        assert answer.headers["Cache-Control"] == "no-store"


def test_visitors_are_led_to_the_log_in_and_back(client):
    for path in ("/account", f"/account/webhooks/{uuid4()}"):
        response = client.get(path)
        assert response.status_code == 302
        assert response["Location"].startswith("/login?next=%2Faccount")


APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox 145 on Linux"),
        ("(Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge 142 on Windows"),
        ("(Linux; Android 10; K) Chrome/142.0.0.0 Mobile Safari/537.36", "Chrome 142 on Android"),
        (
            f"(iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Mobile/15E148 Safari/604.1",
            "Safari 18 on iPhone",
        ),
        (f"(Macintosh; Intel Mac OS X 10_15_7) {APPLE} Safari/605.1.15", "Safari 18 on macOS"),
        ("curl/8.5.0", "curl 8.5.0"),
        ("Camera of the gate", "Camera of the gate"),
        ("", "An unknown program"),
    ],
)
def test_user_agents_are_told_in_words(user_agent, words):
    assert agents.in_words(user_agent) == words
