"""Making, changing and deleting webhooks, and their secrets."""

import json
import re
import socket

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from notifications import tasks
from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from notifications.tests.api.conftest import HOOK
from notifications.webhooks import endpoints
from objectvision.lib import sealing
from testing.api import faults
from testing.clients import PASSWORD

URL = "/api/v1/webhooks"
NAMES = ["id", "url", "events", "description", "is_active", "disabled_reason", "failing_since", "created_at"]
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


def close(client, user):
    """Close the user's account."""
    assert client.delete(f"/api/v1/users/{user.pk}", {"password": PASSWORD}).status_code == 204


def place(webhook, *rest):
    return "/".join([URL, str(webhook.pk), *rest])


def test_a_new_webhook_is_answered_with_its_secret_this_once(api, user, caplog):
    client = api(user)
    response = client.post(URL, {"url": HOOK, "events": ["export.failed"], "description": "Line 2"})
    assert response.status_code == 201
    answer = response.json()
    assert list(answer) == [*NAMES, "secret"]
    secret = answer.pop("secret")
    assert SECRET.fullmatch(secret)
    row = WebhookEndpoint.objects.get()
    assert answer == {
        "id": str(row.pk),
        "url": HOOK,
        "events": ["export.failed"],
        "description": "Line 2",
        "is_active": True,
        "disabled_reason": "",
        "failing_since": None,
        "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert sealing.unseal(row.secret) == secret
    assert client.get(URL).json() == {"items": [answer], "total": 1, "limit": 10, "offset": 0}
    assert client.get(place(row)).json() == answer
    assert client.patch(place(row), {"description": "Line 2"}).json() == answer
    for text in (repr(row), str(row), caplog.text, str(WebhookEndpoint.objects.values().get())):
        assert secret not in text
    assert row.secret not in repr(row) + str(row) + caplog.text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ["*"]),
        ("*", ["*"]),
        (["*"], ["*"]),
        (["export.failed", "*"], ["*"]),
        (["export.failed", "detection.failed", "export.failed"], ["export.failed", "detection.failed"]),
        (Event.Type.values, Event.Type.values),
    ],
)
def test_events_are_types_each_once_or_all(api, user, sent, kept):
    body = {"url": HOOK} if sent is None else {"url": HOOK, "events": sent}
    assert api(user).post(URL, body).json()["events"] == kept
    assert WebhookEndpoint.objects.get().events == kept


FAULTS = [
    ("events", [], "empty"),
    ("events", None, "null"),
    ("events", "", "invalid"),
    ("events", "export.failed", "invalid"),
    ("events", {"*": 1}, "invalid"),
    ("events", {}, "invalid"),
    ("events", 1, "invalid"),
    ("events", True, "invalid"),
    ("events", [1], "invalid"),
    ("events", [None], "invalid"),
    ("events", [["export.failed"]], "invalid"),
    ("events", ["export.done"], "unknown_type"),
    ("events", ["ping"], "unknown_type"),
    ("events", ["EXPORT.FAILED"], "unknown_type"),
    ("events", ["export.failed\0"], "unknown_type"),
    ("events", ["\ud800"], "unknown_type"),
    ("events", ["x" * 100_000], "unknown_type"),
    ("events", ["export.failed"] * 51, "max_length"),
    ("description", "x" * 201, "max_length"),
    ("description", "x" * 500_000, "max_length"),
    ("description", "x\0", "null_characters_not_allowed"),
    ("description", "x\ud800", "surrogate_characters_not_allowed"),
    ("description", ["x"], "invalid"),
    ("description", 5, "invalid"),
    ("description", None, "null"),
    ("is_active", "true", "invalid"),
    ("is_active", 1, "invalid"),
    ("is_active", None, "null"),
    ("url", None, "null"),
    ("url", "", "blank"),
    ("url", 5, "invalid"),
    ("url", [HOOK], "invalid"),
    ("url", {"url": HOOK}, "invalid"),
    ("url", "https://8.8.8.8/" + "x" * 2000, "max_length"),
    ("url", "https://8.8.8.8/\0", "null_characters_not_allowed"),
    ("url", "https://8.8.8.8/\ud800", "surrogate_characters_not_allowed"),
    ("url", "ftp://8.8.8.8/", "invalid"),
    ("url", "//8.8.8.8/", "invalid"),
    ("url", "https://user:secret@8.8.8.8/", "invalid"),
    ("url", "https://8.8.8.8/#part", "invalid"),
    ("url", "https://8.8.8.8:0/", "invalid"),
    ("url", "https://8.8.8.8\\@127.0.0.1/", "invalid"),
    ("url", "http://127.0.0.1:8000/", "address_not_allowed"),
    ("url", "http://[::1]/", "address_not_allowed"),
    ("url", "http://[::ffff:10.0.0.1]/", "address_not_allowed"),
    ("url", "http://169.254.169.254/latest/meta-data", "address_not_allowed"),
    ("url", "http://0x7f.1/", "address_not_allowed"),
    ("url", "http://2130706433/", "address_not_allowed"),
    ("url", "http://0177.0.0.1/", "address_not_allowed"),
    ("url", "http://localhost/", "address_not_allowed"),
]


@pytest.mark.parametrize(("field", "value", "code"), FAULTS)
@pytest.mark.parametrize("method", ["post", "patch"])
def test_an_invalid_field_is_named_and_changes_nothing(api, user, webhook, method, field, value, code):
    before = list(WebhookEndpoint.objects.values())
    body = json.dumps({"url": HOOK, field: value})
    path = URL if method == "post" else place(webhook)
    response = getattr(api(user), method)(path, body, content_type="application/json")
    assert faults(response) == [(code, field)]
    assert list(WebhookEndpoint.objects.values()) == before


def test_an_unknown_type_is_answered_with_the_known_ones(api, user):
    detail = api(user).post(URL, {"url": HOOK, "events": ["export.done"]}).json()["errors"][0]["detail"]
    assert "'export.done'" in detail
    assert all(name in detail for name in ["*", *Event.Type.values])


def test_a_missing_url_is_named(api, user):
    assert faults(api(user).post(URL, {"events": ["*"]})) == [("required", "url")]


def test_all_invalid_fields_are_named_at_once(api, user):
    body = {"url": "x", "events": [], "is_active": 1, "secret": "whsec_mine", "user": 1}
    assert sorted(faults(api(user).post(URL, body))) == [
        ("empty", "events"),
        ("invalid", "is_active"),
        ("invalid", "url"),
        ("unknown_field", "secret"),
        ("unknown_field", "user"),
    ]


@pytest.mark.parametrize("body", ["[]", '"x"', "5", "null", "true", "[[]]"])
@pytest.mark.parametrize("path", ["", "/{pk}", "/{pk}/replay"])
def test_a_body_that_is_no_object_is_refused(api, user, webhook, path, body):
    client = api(user)
    ask = client.patch if path == "/{pk}" else client.post
    response = ask(URL + path.format(pk=webhook.pk), body, content_type="application/json")
    assert response.status_code == 400
    assert WebhookEndpoint.objects.count() == 1


@pytest.mark.parametrize("body", ["{", '{"url": NaN}', "\ufeff{}", "{" * 100_000, ""])
def test_a_body_that_is_no_json_is_refused(api, user, webhook, body):
    for ask, path in ((api(user).post, URL), (api(user).patch, place(webhook))):
        response = ask(path, body, content_type="application/json")
        assert response.status_code in {200, 400}
        assert response.status_code == 400 or (body == "" and path != URL)
    assert WebhookEndpoint.objects.count() == 1


def test_a_field_that_comes_twice_is_refused(api, user):
    body = f'{{"url": "{HOOK}", "events": ["*"], "url": "http://127.0.0.1/"}}'
    assert faults(api(user).post(URL, body, content_type="application/json")) == [("repeated_field", "url")]


@pytest.mark.parametrize("body", [{"secret": "whsec_mine"}, {"user": "x"}, {"deleted_at": None}])
def test_secret_and_owner_are_no_fields_of_a_change(api, user, webhook, body):
    before = WebhookEndpoint.objects.values().get()
    assert faults(api(user).patch(place(webhook), body)) == [("unknown_field", next(iter(body)))]
    assert WebhookEndpoint.objects.values().get() == before


def test_a_change_ignores_what_can_only_be_read(api, user, webhook):
    client = api(user)
    shown = client.get(place(webhook)).json()
    answer = client.patch(place(webhook), {**shown, "id": "x", "failing_since": "x", "description": "New"})
    assert answer.json() == {**shown, "description": "New"}


def test_internal_addresses_are_accepted_where_the_operator_allows_them(api, user, settings):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    client = api(user)
    assert client.post(URL, {"url": "http://127.0.0.1:8000/"}).status_code == 201
    assert faults(client.post(URL, {"url": "http://me:pw@127.0.0.1/"})) == [("invalid", "url")]


def test_a_name_that_does_not_resolve_is_accepted(api, user):
    assert api(user).post(URL, {"url": "https://nonesuch.invalid/"}).status_code == 201


def test_a_name_is_looked_up_only_once_all_fields_are_right(api, user, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    client = api(user)
    assert client.post(URL, {"url": "https://hooks.example.com/", "events": []}).status_code == 400
    assert asked == []
    assert client.post(URL, {"url": "https://hooks.example.com/"}).status_code == 201
    assert asked == ["hooks.example.com"]


@pytest.mark.postgresql
@pytest.mark.parametrize("method", ["post", "patch"])
def test_a_name_is_looked_up_without_a_lock(while_looked_up, api, user, webhook, method):
    locked = []

    def lock():
        with transaction.atomic():
            locked.append(get_user_model().objects.select_for_update(nowait=True).get())
            locked.append(WebhookEndpoint.objects.select_for_update(nowait=True).get())

    while_looked_up(lock)
    path = URL if method == "post" else place(webhook)
    response = getattr(api(user), method)(path, {"url": "https://hooks.example.com/"})
    assert response.status_code < 300
    assert locked == [user, webhook]


# The limit


def test_the_twenty_first_webhook_is_refused_until_one_is_deleted(api, user, stranger, make_webhook):
    made = [make_webhook() for _ in range(20)]
    client = api(user)
    refused = client.post(URL, {"url": HOOK})
    assert faults(refused, 409) == [("too_many_webhooks", None)]
    assert "20" in refused.json()["errors"][0]["detail"]
    assert api(stranger).post(URL, {"url": HOOK}).status_code == 201
    assert client.delete(place(made[0])).status_code == 204
    assert client.post(URL, {"url": HOOK}).status_code == 201
    assert client.post(URL, {"url": HOOK}).status_code == 409


def test_of_many_requests_at_once_twenty_make_a_webhook(user, api, at_once, unthrottled):
    clients = [api(user) for _ in range(21)]
    asks = [lambda client=client: client.post(URL, {"url": HOOK}).status_code for client in clients]
    assert sorted(at_once(*asks)) == [201] * 20 + [409]
    assert WebhookEndpoint.objects.kept().count() == 20


# Changes


def test_a_change_saves_the_sent_fields_alone(api, user, webhook, make_webhook):
    other = make_webhook()
    before = WebhookEndpoint.objects.values().get(pk=other.pk)
    answer = api(user).patch(place(webhook), {"url": "https://8.8.4.4/", "events": ["export.failed"]})
    assert (answer.status_code, answer.json()["url"]) == (200, "https://8.8.4.4/")
    row = WebhookEndpoint.objects.get(pk=webhook.pk)
    assert (row.url, row.events, row.description) == ("https://8.8.4.4/", ["export.failed"], "")
    assert (row.secret, row.is_active) == (webhook.secret, True)
    assert WebhookEndpoint.objects.values().get(pk=other.pk) == before


def test_events_stay_as_they_are_in_a_change_without_them(api, user, make_webhook):
    webhook = make_webhook(events=["export.failed"])
    assert api(user).patch(place(webhook), {"description": "x"}).json()["events"] == ["export.failed"]


def test_a_deactivated_webhook_ends_what_waits_and_begins_anew_when_activated(
    api, user, webhook, make_delivery
):
    waiting = make_delivery(webhook, "pending")
    client = api(user)
    assert client.patch(place(webhook), {"is_active": False}).json()["is_active"] is False
    waiting.refresh_from_db()
    assert (waiting.state, waiting.error) == ("failed", "The webhook was deactivated.")
    failing = {"failing_since": timezone.now(), "disabled_reason": "It answered 410 Gone."}
    WebhookEndpoint.objects.update(**failing)
    shown = client.get(place(webhook)).json()
    assert shown["disabled_reason"] == "It answered 410 Gone."
    assert shown["failing_since"]
    answer = client.patch(place(webhook), {"is_active": True}).json()
    assert (answer["is_active"], answer["disabled_reason"], answer["failing_since"]) == (True, "", None)


# Deletion


def test_a_deleted_webhook_is_gone_at_once_and_its_rows_later(api, user, webhook, make_delivery):
    delivery = make_delivery(webhook)
    client = api(user)
    answer = client.delete(place(webhook))
    assert (answer.status_code, answer.content) == (204, b"")
    log = f"deliveries/{delivery.pk}"
    period = {"since": "2026-01-01T00:00:00Z"}
    for ask, path, body in [
        (client.get, [], None),
        (client.patch, [], {"is_active": True}),
        (client.delete, [], None),
        (client.post, ["rotate-secret"], None),
        (client.post, ["ping"], None),
        (client.post, ["replay"], period),
        (client.get, ["deliveries"], None),
        (client.get, [log], None),
        (client.post, [log, "redeliver"], None),
    ]:
        assert faults(ask(place(webhook, *path), body), 404) == [("not_found", None)]
    assert client.get(URL).json()["items"] == []
    assert WebhookEndpoint.objects.get().is_active is False
    WebhookEndpoint.objects.update(deleted_at=timezone.now() - 2 * endpoints.LONGEST_TRANSACTION)
    tasks.sweep_notifications()
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_a_webhook_that_is_deleted_while_it_is_changed_stays_deleted(while_looked_up, api, user, webhook):
    while_looked_up(lambda: endpoints.remove_endpoint(webhook))
    body = {"url": "https://hooks.example.com/", "is_active": True}
    assert faults(api(user).patch(place(webhook), body), 404) == [("not_found", None)]
    row = WebhookEndpoint.objects.get()
    assert (row.is_active, row.url) == (False, HOOK)


def test_the_webhooks_of_a_closed_account_send_nothing_and_show_nothing(api, user, keyed, webhook):
    clients = [api(user), keyed("account")]
    close(clients[0], user)
    for client in clients:
        assert client.get(URL).status_code == 401
        assert client.post(place(webhook, "ping")).status_code == 401
    row = WebhookEndpoint.objects.get()
    assert (row.is_active, row.deleted_at is None) == (False, False)


# Secrets


def test_a_new_secret_is_answered_once_and_the_old_one_signs_too(api, user):
    client = api(user)
    made = client.post(URL, {"url": HOOK}).json()
    webhook = WebhookEndpoint.objects.get()
    answer = client.post(place(webhook, "rotate-secret"))
    assert answer.status_code == 200
    assert list(answer.json()) == [*NAMES, "secret"]
    secret = answer.json()["secret"]
    assert SECRET.fullmatch(secret)
    webhook.refresh_from_db()
    assert webhook.signing_secrets(timezone.now()) == [secret, made["secret"]]
    shown = client.get(URL).content.decode() + client.get(place(webhook)).content.decode()
    for hidden in (secret, made["secret"], webhook.secret, webhook.previous_secret, "secret"):
        assert hidden not in shown


def test_two_rotations_at_once_leave_one_of_the_answered_secrets(user, api, at_once, webhook):
    def rotate(client):
        return client.post(place(webhook, "rotate-secret")).json()["secret"]

    first, second = api(user), api(user)
    answered = at_once(lambda: rotate(first), lambda: rotate(second))
    webhook.refresh_from_db()
    assert sorted(webhook.signing_secrets(timezone.now())) == sorted(answered)


# Keys and other users


@pytest.mark.parametrize("scopes", [["account"], ["account", "read", "detect"]])
def test_a_key_neither_makes_webhooks_nor_rotates_secrets(keyed, webhook, scopes):
    before = list(WebhookEndpoint.objects.values())
    client = keyed(*scopes)
    for path in (URL, place(webhook, "rotate-secret")):
        response = client.post(path, {"url": HOOK})
        assert faults(response, 403) == [("permission_denied", None)]
        assert response.json()["errors"][0]["detail"] == "An API key is not enough for this: log in."
    assert list(WebhookEndpoint.objects.values()) == before


def test_a_key_with_the_scope_account_reads_changes_and_deletes_webhooks(keyed, webhook):
    client = keyed("account")
    assert client.get(URL).json()["total"] == 1
    answer = client.patch(place(webhook), {"description": "By a program"})
    assert (answer.status_code, "secret" in answer.json()) == (200, False)
    assert client.get(place(webhook)).json()["description"] == "By a program"
    assert client.delete(place(webhook)).status_code == 204
    assert WebhookEndpoint.objects.kept().count() == 0


def test_a_key_with_other_scopes_gets_403(keyed, webhook):
    client = keyed("read", "detect")
    asks = [client.get(URL), client.get(place(webhook)), client.get(place(webhook, "deliveries"))]
    asks += [client.patch(place(webhook), {}), client.delete(place(webhook))]
    asks += [client.post(place(webhook, "ping")), client.post(place(webhook, "replay"))]
    assert [response.status_code for response in asks] == [403] * 7
    assert "'account'" in asks[0].json()["errors"][0]["detail"]


def test_a_list_shows_own_webhooks_alone_newest_first(api, user, stranger, make_webhook):
    own = [make_webhook() for _ in range(3)]
    make_webhook(stranger)
    answer = api(user).get(URL, {"limit": 2}).json()
    assert [item["id"] for item in answer["items"]] == [str(own[2].pk), str(own[1].pk)]
    assert answer["total"] == 3


@pytest.mark.parametrize("rows", [1, 3])
def test_a_list_takes_two_queries(api, user, make_webhook, django_assert_num_queries, rows):
    for _ in range(rows):
        make_webhook()
    client = api(user)
    with django_assert_num_queries(2):  # the session with its user; the webhooks
        assert client.get(URL).json()["total"] == rows


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "limit=x", "offset=99999999999"])
def test_a_page_that_there_is_not_is_refused(api, user, webhook, query):
    for path in (URL, place(webhook, "deliveries")):
        assert faults(api(user).get(f"{path}?{query}")) == [("invalid", query.partition("=")[0])]


def test_what_is_not_found_comes_before_what_is_invalid(api, stranger, webhook):
    client = api(stranger)
    for ask, rest in [(client.patch, []), (client.post, ["replay"]), (client.post, ["ping"])]:
        for body in ({"url": 5, "nonesuch": 1}, [], "x"):
            assert ask(place(webhook, *rest), body).status_code == 404
    assert client.get(f"{place(webhook, 'deliveries')}?nonesuch=1").status_code == 404


def test_an_id_that_is_none_is_not_found(api, user):
    for pk in ("x", "1' OR '1'='1", "*", "00000000-0000-0000-0000-000000000000"):
        assert api(user).get(f"{URL}/{pk}").status_code == 404


def test_without_credentials_nothing_is_shown(db, webhook):
    assert APIClient().get(URL).status_code == 401
    assert APIClient().post(URL, {"url": HOOK}).status_code == 401


@pytest.mark.parametrize("kind", ["session", "key"])
def test_a_credential_that_ends_while_a_name_is_looked_up_changes_nothing(
    while_looked_up, api, user, keyed, webhook, kind
):
    def end():
        user.sessions.all().revoke()
        user.api_keys.all().revoke()

    while_looked_up(end)
    asks = {"key": [keyed("account").patch], "session": [api(user).patch, api(user).post]}
    for ask in asks[kind]:
        path = URL if ask.__name__ == "post" else place(webhook)
        response = ask(path, {"url": "https://hooks.example.com/"})
        assert faults(response, 401) == [("authentication_failed", None)]
    assert list(WebhookEndpoint.objects.values_list("url", flat=True)) == [HOOK]


def test_an_account_that_closes_while_a_name_is_looked_up_gets_no_webhook(while_looked_up, api, user):
    while_looked_up(lambda: close(api(user), user))
    response = api(user).post(URL, {"url": "https://hooks.example.com/"})
    assert faults(response, 401) == [("authentication_failed", None)]
    assert not WebhookEndpoint.objects.exists()


# Rates


def test_changes_and_requests_to_others_have_a_rate_of_their_own(api, user, stranger, webhook, settings):
    settings.THROTTLES = {**dict.fromkeys(settings.THROTTLES), "webhook": (3, 86_400)}
    client = api(user)
    assert client.post(URL, {"url": "x"}).status_code == 400
    assert client.patch(place(webhook), {}).status_code == 200
    assert client.post(place(webhook, "ping")).status_code == 202
    for response in (client.post(place(webhook, "ping")), client.post(URL, {"url": HOOK})):
        assert faults(response, 429) == [("throttled", None)]
        assert int(response["Retry-After"]) > 0
    assert client.get(URL).status_code == client.get(place(webhook, "deliveries")).status_code == 200
    assert api(stranger).post(URL, {"url": HOOK}).status_code == 201
