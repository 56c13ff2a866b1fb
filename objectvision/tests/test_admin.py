"""The admin: lists, forms, actions and permissions of staff."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
)
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from accounts import keys
from accounts.models import ApiKey, Session, User, UserSettings
from accounts.tokens import open_session
from detections.models import Detection
from detections.tasks import sweep
from notifications.mail import outbox
from notifications.models import Event, Mail, WebhookDelivery, WebhookEndpoint
from notifications.webhooks import endpoints
from objectvision.admin_site import BoundedPaginator
from objectvision.celery import app
from objectvision.lib import logs
from testing.files.pictures import photo

PAGES = [
    "accounts/user",
    "accounts/session",
    "accounts/apikey",
    "detections/detection",
    "detections/detector",
    "detections/export",
    "detections/publicdetection",
    "notifications/mail",
    "notifications/webhookendpoint",
    "notifications/webhookdelivery",
]


def model_admins():
    models = [model for model in apps.get_models() if admin.site.is_registered(model)]
    return [admin.site.get_model_admin(model) for model in models]


def failed_delivery(user, state="failed", **values):
    """A delivery of a new webhook of the user's."""
    values = {"attempts": 10, "error": "timed out after 15 s", "type": "export.failed", **values}
    webhook, _ = endpoints.create_endpoint(user, None, url=f"https://hooks.example.com/{user.pk}")
    return WebhookDelivery.objects.create(endpoint=webhook, event=webhook.pk, state=state, **values)


@pytest.fixture
def root(client, db):
    client.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    return client


@pytest.fixture
def clerk(client, db):
    """Staff who may change users."""
    user = User.objects.create_user("clerk@example.com", "a-long-passphrase", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client.force_login(user)
    return client


def test_staff_log_in_with_their_address(client, user):
    User.objects.filter(pk=user.pk).update(is_staff=True)
    credentials = {"username": "ADA@example.com", "password": "a-long-passphrase"}
    response = client.post("/admin/login/?next=/admin/", credentials)
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("rights", [{}, {"is_staff": True, "is_active": False}])
def test_users_who_are_not_active_staff_do_not_log_in(client, user, rights):
    User.objects.filter(pk=user.pk).update(**rights)
    client.post("/admin/login/", {"username": user.email, "password": "a-long-passphrase"})
    assert client.get("/admin/").status_code == 302


def test_an_access_token_does_not_open_the_admin(api, user):
    user.is_staff = user.is_superuser = True
    user.save()
    assert api(user).get("/admin/accounts/user/").status_code == 302


@pytest.mark.parametrize("page", PAGES)
def test_no_list_counts_its_rows_without_a_limit(root, submit, user, page):
    submit(user, photo())
    for query in ("", "?q=ada", "?o=1"):
        with CaptureQueriesContext(connection) as queries:
            assert root.get(f"/admin/{page}/{query}").status_code in {200, 302}
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
        assert counts
        assert [sql for sql in counts if f"LIMIT {BoundedPaginator.MAX_COUNT + 1}" not in sql] == []


def test_the_list_of_every_model_has_the_bounded_paginator():
    for model_admin in model_admins():
        assert model_admin.paginator is BoundedPaginator
        assert model_admin.show_full_result_count is False


def test_a_list_has_pages_up_to_the_counting_limit(root, submit, user, monkeypatch):
    monkeypatch.setattr(admin.site.get_model_admin(Detection), "list_per_page", 1)
    monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", 2)
    detections = [submit(user, photo()) for _ in range(4)]
    for number, detection in enumerate(reversed(detections[1:]), 1):
        page = root.get("/admin/detections/detection/", {"p": number})
        assert list(page.context["cl"].result_list) == [detection]
    assert page.context["cl"].paginator.num_pages == 3
    assert root.get("/admin/detections/detection/", {"p": 4}).status_code == 302


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("rows", [1, 3])
def test_lists_take_at_most_eight_queries(root, submit, user, page, rows, django_assert_max_num_queries):
    for _ in range(rows):
        submit(user, photo())
        open_session(user, "pytest")
        User.objects.create(email=f"{rows}-{User.objects.count()}@example.com")
        outbox.queue_mail(outbox.Kind.WELCOME, user.email)
        failed_delivery(user)
    with django_assert_max_num_queries(8):
        assert root.get(f"/admin/{page}/").status_code == 200


def test_a_detection_is_read_only_and_shows_its_images(root, submit, user):
    detection = submit(user, photo(), photo())
    url = f"/admin/detections/detection/{detection.pk}/change/"
    page = root.get(url).content.decode()
    assert "photo-1.jpg" in page
    assert "photo-2.jpg" in page
    assert root.post(url, {"name": "other"}).status_code == 403
    assert root.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Detection.objects.get().name == ""


def test_a_detection_is_found_by_id_owner_and_name(root, submit, user, stranger):
    mine, _ = submit(user, photo()), submit(stranger, photo())
    for search in (str(mine.pk), user.email):
        page = root.get("/admin/detections/detection/", {"q": search}).content.decode()
        assert str(mine.pk) in page
        assert stranger.email not in page
    assert root.get("/admin/detections/detection/", {"q": "%' OR 1=1"}).status_code == 200


def test_a_users_page_shows_no_hash_and_saves_name_and_address_in_lower_case(root, user):
    url = f"/admin/accounts/user/{user.pk}/change/"
    assert "argon2" not in root.get(url).content.decode()
    form = {"email": "ADA@Example.COM", "name": "Countess", "is_active": "on"}
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    assert root.post(url, {**form, **settings}).status_code == 302
    user.refresh_from_db()
    assert (user.email, user.name) == ("ada@example.com", "Countess")


def test_an_address_in_use_is_refused_in_any_case(root, user, stranger):
    url = f"/admin/accounts/user/{user.pk}/change/"
    form = {"email": stranger.email.upper(), "settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    response = root.post(url, form)
    assert response.status_code == 200
    assert b"already exists" in response.content


def test_the_action_to_end_sessions_reports_their_number(root, user, api):
    client = api(user)
    user_agents = {"action": "end_sessions", "_selected_action": [str(user.pk)]}
    page = root.post("/admin/accounts/user/", user_agents, follow=True)
    assert b"1 sessions ended." in page.content
    assert client.get("/api/v1/users/get-profile").status_code == 401
    assert Session.objects.get().revoked_at is not None


@pytest.mark.parametrize("page", PAGES)
def test_invalid_values_never_answer_500(root, user, page):
    root.raise_request_exception = False
    for action in admin.site.get_model_admin(apps.get_model(page.replace("/", "."))).actions:
        chosen = {"action": action if isinstance(action, str) else action.__name__, "_selected_action": "x"}
        assert root.post(f"/admin/{page}/", chosen).status_code == 400
    for query in ("created_at__year=99999999999", "id__exact=x", "id__in=1,2"):
        assert root.get(f"/admin/{page}/?{query}").status_code in {302, 400}, query
    assert root.get(f"/admin/{page}/?id__regex=(((").status_code == 400
    assert root.get(f"/admin/{page}/x/change/").status_code == 302
    assert root.get(f"/admin/{page}/").status_code == 200


@pytest.mark.parametrize("way", ["by staff", "at the API"])
def test_ending_all_sessions_ends_admin_sessions_too(root, api, way):
    staff = {}
    for name in ("ada", "bob"):
        user = User.objects.create_user(f"{name}@example.com", None, is_staff=True)
        staff[name] = user, Client()
        staff[name][1].force_login(user)
        assert staff[name][1].get("/admin/").status_code == 200
    ada, adas = staff["ada"]
    if way == "by staff":
        root.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [str(ada.pk)]})
    else:
        assert api(ada).post("/api/v1/auth/logout-all").status_code == 204
    assert adas.get("/admin/").status_code == 302
    assert staff["bob"][1].get("/admin/").status_code == 200


def test_staff_who_change_users_cannot_grant_rights(clerk, user):
    form = {
        "email": user.email, "is_active": "on", "is_staff": "on", "is_superuser": "on",
        "settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0",
    }  # fmt: skip  # a list to read at a glance
    assert clerk.post(f"/admin/accounts/user/{user.pk}/change/", form).status_code == 302
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser) == (False, False)


def test_staff_who_change_users_cannot_change_a_superuser(clerk):
    root = User.objects.create_superuser("root@example.com", "a-long-passphrase")
    password = {"password1": "another-passphrase", "password2": "another-passphrase"}
    assert clerk.post(f"/admin/accounts/user/{root.pk}/password/", password).status_code == 403
    assert clerk.post(f"/admin/accounts/user/{root.pk}/change/", {"email": "x@y.zz"}).status_code == 403
    root.refresh_from_db()
    assert root.check_password("a-long-passphrase")


def test_users_cannot_be_deleted_in_the_admin(root, user):
    assert root.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=user.pk).exists()


def test_staff_can_send_failed_mails_again_but_not_change_them(
    root, rings, django_capture_on_commit_callbacks
):
    rows = {
        state: Mail.objects.create(kind="welcome", to="ada@example.com", state=state, attempts=7, error="500")
        for state in Mail.State.values
    }
    chosen = {"action": "send_again", "_selected_action": [str(row.pk) for row in rows.values()]}
    with django_capture_on_commit_callbacks() as callbacks:
        page = root.post("/admin/notifications/mail/", chosen, follow=True)
    assert b"1 mails wait to be sent again." in page.content
    (ring,) = callbacks
    ring()
    assert rings == ["notifications.send_mails"]
    assert list(Mail.objects.order_by("pk").values_list("state", flat=True)) == [
        "waiting",
        "sending",
        "sent",
        "waiting",
        "dropped",
    ]
    rows["failed"].refresh_from_db()
    assert (rows["failed"].attempts, rows["failed"].error) == (0, "")
    url = f"/admin/notifications/mail/{rows['failed'].pk}"
    assert root.get(f"{url}/change/").status_code == 200
    assert root.post(f"{url}/change/", {"to": "eve@example.com"}).status_code == 403
    assert root.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    assert root.get("/admin/notifications/mail/add/").status_code == 403


def test_staff_who_may_only_view_mails_cannot_send_them_again(clerk):
    clerk_user = User.objects.get(email="clerk@example.com")
    clerk_user.user_permissions.add(Permission.objects.get(codename="view_mail"))
    failed = Mail.objects.create(kind="welcome", to="ada@example.com", state="failed")
    assert clerk.get("/admin/notifications/mail/").status_code == 200
    clerk.post("/admin/notifications/mail/", {"action": "send_again", "_selected_action": [str(failed.pk)]})
    failed.refresh_from_db()
    assert failed.state == "failed"


HOOKS, LOG = "/admin/notifications/webhookendpoint", "/admin/notifications/webhookdelivery"


def test_staff_can_send_deliveries_again_that_have_ended(
    root, user, rings, django_capture_on_commit_callbacks
):
    rows = {state: failed_delivery(user, state) for state in WebhookDelivery.State.values}
    inactive = failed_delivery(user)
    endpoints.change_endpoint(inactive.endpoint, is_active=False)
    chosen = {"action": "send_again", "_selected_action": [str(row.pk) for row in [*rows.values(), inactive]]}
    with django_capture_on_commit_callbacks(execute=True):
        page = root.post(f"{LOG}/", chosen, follow=True)
    assert b"2 deliveries wait to be sent again." in page.content
    assert rings == ["notifications.send_webhooks"]
    found = WebhookDelivery.objects.in_bulk([row.pk for row in rows.values()])
    assert {state: (found[row.pk].state, found[row.pk].attempts) for state, row in rows.items()} == {
        "pending": ("pending", 10),
        "sending": ("sending", 10),
        "delivered": ("pending", 0),
        "failed": ("pending", 0),
    }
    inactive.refresh_from_db()
    assert inactive.state == "failed"


def test_webhooks_and_deliveries_are_read_only_and_show_no_secret(root, user):
    answer = {"headers": {"a": "b"}, "body": "<script>alert(1)</script>"}
    delivery = failed_delivery(user, response=[answer], request={"body": "<b>sent</b>"})
    endpoints.rotate_secret(delivery.endpoint)
    webhook = WebhookEndpoint.objects.get()
    for url, pk in ((HOOKS, webhook.pk), (LOG, delivery.pk)):
        pages = [root.get(f"{url}/{pk}/change/"), root.get(f"{url}/"), root.get(f"{url}/{pk}/history/")]
        shown = "".join(page.content.decode() for page in pages)
        assert [page.status_code for page in pages] == [200] * 3
        for hidden in (webhook.secret, webhook.previous_secret, "whsec_", "<script>alert", "<b>sent"):
            assert hidden not in shown
        assert root.post(f"{url}/{pk}/change/", {"url": "https://8.8.8.8/"}).status_code == 403
        assert root.post(f"{url}/{pk}/delete/", {"post": "yes"}).status_code == 403
        assert root.get(f"{url}/add/").status_code == 403
    assert "&lt;script&gt;alert" in root.get(f"{LOG}/{delivery.pk}/change/").content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "notifications/webhookendpoint/?secret=gAAAA",
        "notifications/webhookendpoint/?previous_secret=gAAAA",
        "notifications/webhookendpoint/?secret__startswith=gAAAA",
        "notifications/webhookdelivery/?endpoint__secret__startswith=gAAAA",
        "accounts/apikey/?hash__startswith=a",
        "accounts/session/?refresh_jti__startswith=a",
        "accounts/session/?user__password__startswith=a",
    ],
)
def test_rows_are_not_found_by_parts_of_secrets(query, root):
    assert root.get(f"/admin/{query}").status_code == 400


def test_webhooks_and_deliveries_are_found_by_filters_ids_and_owner(root, user, stranger):
    mine, theirs = failed_delivery(user, type="ping"), failed_delivery(stranger, "delivered")
    WebhookEndpoint.objects.filter(user=user).update(failing_since=timezone.now())
    for query in ("state=failed", "type=ping", f"q={mine.pk}", f"q={mine.event}", "q=ADA@example.com"):
        assert list(root.get(f"{LOG}/?{query}").context["cl"].result_list) == [mine], query
    for query in ("failing_since__isempty=0", f"q={mine.endpoint_id}", "q=ada@example.com"):
        assert list(root.get(f"{HOOKS}/?{query}").context["cl"].result_list) == [mine.endpoint], query
    endpoints.change_endpoint(theirs.endpoint, is_active=False)
    assert list(root.get(f"{HOOKS}/?is_active__exact=0").context["cl"].result_list) == [theirs.endpoint]


def test_webhooks_that_their_owners_deleted_are_hidden_from_staff(root, user):
    delivery = failed_delivery(user)
    endpoints.remove_endpoint(delivery.endpoint)
    for url, pk in ((HOOKS, delivery.endpoint_id), (LOG, delivery.pk)):
        assert list(root.get(f"{url}/").context["cl"].result_list) == []
        assert root.get(f"{url}/{pk}/change/").status_code == 302
        for action in ("deactivate", "send_again"):
            root.post(f"{url}/", {"action": action, "_selected_action": [str(pk)]})
    delivery.refresh_from_db()
    assert delivery.state == "failed"


def test_the_owner_of_a_webhook_is_told_that_staff_deactivated_it(root, user):
    delivery = failed_delivery(user, "pending")
    other = failed_delivery(user, "pending")
    chosen = {"action": "deactivate", "_selected_action": [str(delivery.endpoint_id)]}
    for count in (1, 0):
        page = root.post(f"{HOOKS}/", chosen, follow=True)
        assert f"{count} webhooks deactivated; their owners are told." in page.content.decode()
    row = WebhookEndpoint.objects.get(pk=delivery.endpoint_id)
    assert (row.is_active, row.disabled_reason) == (False, "A member of staff deactivated it.")
    assert list(WebhookDelivery.objects.order_by("pk").values_list("pk", "state")) == [
        (delivery.pk, "failed"),
        (other.pk, "pending"),
    ]
    assert [event.subject_id for event in Event.objects.filter(type="webhook.disabled")] == [row.pk]
    assert list(Mail.objects.values_list("kind", "to")) == [("webhook_disabled", user.email)]


@pytest.mark.parametrize(
    ("page", "action"), [("webhookdelivery", "send_again"), ("webhookendpoint", "deactivate")]
)
def test_staff_who_may_only_view_webhooks_change_nothing(clerk, user, page, action):
    delivery = failed_delivery(user)
    pk = delivery.pk if page == "webhookdelivery" else delivery.endpoint_id
    clerk_user = User.objects.get(email="clerk@example.com")
    clerk_user.user_permissions.add(Permission.objects.get(codename=f"view_{page}"))
    url = f"/admin/notifications/{page}/"
    assert clerk.get(url).status_code == 200
    clerk.post(url, {"action": action, "_selected_action": [str(pk)]})
    delivery.refresh_from_db()
    assert (delivery.state, delivery.endpoint.is_active) == ("failed", True)
    clerk_user.user_permissions.add(Permission.objects.get(codename=f"change_{page}"))
    clerk.post(url, {"action": action, "_selected_action": [str(pk)]})
    delivery = WebhookDelivery.objects.select_related("endpoint").get()
    changed = ("pending", True) if action == "send_again" else ("failed", False)
    assert (delivery.state, delivery.endpoint.is_active) == changed


def test_staff_can_close_accounts_except_those_of_superusers(root, user, submit):
    submit(user, photo())
    superuser = User.objects.get(is_superuser=True)
    selected = {"action": "close_accounts", "_selected_action": [user.pk, superuser.pk]}
    answer = root.post("/admin/accounts/user/", selected, follow=True)
    assert "1 accounts closed" in answer.content.decode()
    sweep()
    assert list(User.objects.all()) == [superuser]
    assert not Detection.objects.exists()


def test_staff_who_may_only_change_users_cannot_close_accounts(clerk, user):
    clerk.post("/admin/accounts/user/", {"action": "close_accounts", "_selected_action": [user.pk]})
    user.refresh_from_db()
    assert user.closed_at is None


def test_staff_who_change_users_cannot_change_other_staff(clerk, api):
    """Staff who set the password of other staff would gain their rights."""
    other = User.objects.create_user("other@example.com", "a-long-passphrase", is_staff=True)
    session = api(other)
    form = {"password1": "another-passphrase", "password2": "another-passphrase", "usable_password": "true"}
    assert clerk.post(f"/admin/accounts/user/{other.pk}/password/", form).status_code == 403
    assert clerk.post(f"/admin/accounts/user/{other.pk}/change/", {"email": "x@y.zz"}).status_code == 403
    clerk.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [str(other.pk)]})
    assert session.get("/api/v1/users/get-profile").status_code == 200


def test_staff_can_change_their_own_name(clerk):
    own = User.objects.get(email="clerk@example.com")
    form = {"email": own.email, "name": "Clerk", "is_active": "on"}
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    assert clerk.post(f"/admin/accounts/user/{own.pk}/change/", {**form, **settings}).status_code == 302
    own.refresh_from_db()
    assert (own.name, own.is_staff) == ("Clerk", True)


def test_staff_who_may_only_view_users_cannot_end_sessions(clerk, user, api):
    session = api(user)
    User.objects.get(email="clerk@example.com").user_permissions.set(
        Permission.objects.filter(codename="view_user")
    )
    clerk.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [str(user.pk)]})
    assert session.get("/api/v1/users/get-profile").status_code == 200


OWN_PASSWORD = "/admin/password_change/"


def new_password(client, old):
    form = {"new_password1": "another-passphrase", "new_password2": "another-passphrase"}
    return client.post(OWN_PASSWORD, {"old_password": old, **form})


def test_wrong_old_passwords_in_the_admin_are_throttled(clerk):
    for guess in range(10):
        assert b"entered incorrectly" in new_password(clerk, f"guess-{guess}").content
    assert b"Too many wrong tries" in new_password(clerk, "a-long-passphrase").content
    assert User.objects.get(email="clerk@example.com").check_password("a-long-passphrase")


def test_changing_the_own_password_in_the_admin_ends_api_sessions_and_is_mailed(clerk, api):
    own = User.objects.get(email="clerk@example.com")
    session = api(own)
    assert clerk.get(OWN_PASSWORD).status_code == 200
    answer = new_password(clerk, "a-long-passphrase")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/done/")
    assert clerk.get("/admin/").status_code == 200
    own.refresh_from_db()
    assert own.check_password("another-passphrase")
    assert session.get("/api/v1/users/get-profile").status_code == 401
    assert list(Mail.objects.values_list("kind", "to")) == [("password_changed", "clerk@example.com")]


@pytest.mark.parametrize("spelling", [str, lambda pk: pk.hex, lambda pk: str(pk).upper()])
@pytest.mark.parametrize("is_superuser", [True, False])
def test_staff_cannot_set_their_own_password_without_the_old_one(clerk, spelling, is_superuser):
    own = User.objects.get(email="clerk@example.com")
    User.objects.filter(pk=own.pk).update(is_superuser=is_superuser)
    form = {"password1": "another-passphrase", "password2": "another-passphrase", "usable_password": "true"}
    answer = clerk.post(f"/admin/accounts/user/{spelling(own.pk)}/password/", form)
    assert (answer.status_code, answer["Location"]) == (302, OWN_PASSWORD)
    assert User.objects.get(pk=own.pk).check_password("a-long-passphrase")


def test_staff_cannot_change_their_own_address(clerk, user):
    own = User.objects.get(email="clerk@example.com")
    for row, expected in ((own, "clerk@example.com"), (user, "new@example.com")):
        form = {"email": "new@example.com", "is_active": "on", **SETTINGS}
        assert clerk.post(f"/admin/accounts/user/{row.pk}/change/", form).status_code == 302
        assert User.objects.get(pk=row.pk).email == expected


# Staff without all rights, and other staff


@pytest.fixture
def manager(client, db):
    """Staff with every right except superuser."""
    user = User.objects.create_user("manager@example.com", "a-long-passphrase", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    client.force_login(user)
    return client


def owned_rows(user):
    """A row of each kind that the user has."""
    open_session(user, "pytest")
    keys.issue(user, "Camera", ["read"], None)
    Mail.objects.create(kind="password_reset", to=user.email, state="failed")
    UserSettings.objects.create(user=user, theme="dark")
    failed_delivery(user)


def rows_of(user):
    """All rows of a user that staff could have changed."""
    whose = [(User, {"pk": user.pk}), (Mail, {"to": user.email})]
    own = (Session, ApiKey, UserSettings, Detection, WebhookEndpoint)
    whose += [(model, {"user": user}) for model in own]
    whose += [(WebhookDelivery, {"endpoint__user": user})]
    return [list(model.objects.filter(**which).order_by("pk").values()) for model, which in whose]


OTHER_STAFF = [{"is_staff": True}, {"is_superuser": True}, {"is_staff": True, "is_superuser": True}]
SETTINGS = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}


def every_action(request):
    for model_admin in model_admins():
        for action in model_admin.get_actions(request):
            yield model_admin.model, action


@pytest.mark.parametrize("rights", OTHER_STAFF)
def test_no_action_changes_rows_of_other_staff(manager, rf, submit, stranger, rights):
    User.objects.filter(pk=stranger.pk).update(**rights)
    owned_rows(stranger)
    submit(stranger, photo())
    before = rows_of(stranger)
    request = rf.get("/admin/")
    request.user = User.objects.get(email="manager@example.com")
    actions = list(every_action(request))
    assert {action for _, action in actions} >= {
        "end_sessions", "close_accounts", "revoke", "send_again", "deactivate",
    }  # fmt: skip  # a list to read at a glance
    for model, action in actions:
        if model._meta.app_label == "django_celery_beat":  # rows of no user: see below
            continue
        others = model._default_manager.exclude(pk=request.user.pk)  # to end one's own log-in ends the test
        chosen = {"action": action, "_selected_action": [str(row.pk) for row in others]}
        options = model._meta
        answer = manager.post(f"/admin/{options.app_label}/{options.model_name}/", {**chosen, "post": "yes"})
        assert answer.status_code in {302, 403}
    assert manager.get("/admin/").status_code == 200
    assert rows_of(stranger) == before


def test_every_action_works_on_users_who_are_not_staff(manager, user):
    owned_rows(user)
    pages = {
        "accounts/user": ("end_sessions", user.pk, "1 sessions ended."),
        "accounts/apikey": ("revoke", ApiKey.objects.get().pk, "1 API keys revoked."),
        "notifications/mail": ("send_again", Mail.objects.get().pk, "1 mails wait to be sent again."),
        "notifications/webhookdelivery": (
            "send_again", WebhookDelivery.objects.get().pk, "1 deliveries wait to be sent again.",
        ),
        "notifications/webhookendpoint": (
            "deactivate", WebhookEndpoint.objects.get().pk, "1 webhooks deactivated",
        ),
    }  # fmt: skip  # a list to read at a glance
    for page, (action, pk, told) in pages.items():
        answer = manager.post(f"/admin/{page}/", {"action": action, "_selected_action": [pk]}, follow=True)
        assert told in answer.content.decode()
    closed = {"action": "close_accounts", "_selected_action": [user.pk]}
    assert "1 accounts closed" in manager.post("/admin/accounts/user/", closed, follow=True).content.decode()


def test_superusers_can_close_accounts_of_staff(root, stranger):
    User.objects.filter(pk=stranger.pk).update(is_staff=True)
    root.post("/admin/accounts/user/", {"action": "close_accounts", "_selected_action": [stranger.pk]})
    stranger.refresh_from_db()
    assert stranger.closed_at is not None


@pytest.mark.parametrize("rights", OTHER_STAFF)
def test_no_form_changes_other_staff_or_their_settings(manager, stranger, rights):
    User.objects.filter(pk=stranger.pk).update(**rights)
    owned_rows(stranger)
    before = rows_of(stranger)
    page = f"/admin/accounts/user/{stranger.pk}"
    form = {
        "email": "mine@example.com", "is_active": "",
        "settings-TOTAL_FORMS": "1", "settings-INITIAL_FORMS": "1", "settings-0-user": str(stranger.pk),
        "settings-0-theme": "light", "settings-0-retention_days": "1", "settings-0-default_classes": "[]",
    }  # fmt: skip  # a form
    password = {
        "password1": "another-passphrase",
        "password2": "another-passphrase",
        "usable_password": "true",
    }
    for path, data in {"change": form, "password": password, "delete": {"post": "yes"}}.items():
        assert manager.post(f"{page}/{path}/", data).status_code == 403
    assert rows_of(stranger) == before


def test_staff_who_may_add_users_cannot_add_staff(manager):
    form = {
        "email": "new@example.com", "password1": "another-passphrase", "password2": "another-passphrase",
        "usable_password": "true", "is_staff": "on", "is_superuser": "on", "groups": "1",
        "user_permissions": "1", **SETTINGS,
    }  # fmt: skip  # a form
    assert manager.post("/admin/accounts/user/add/", form).status_code == 302
    new = User.objects.get(email="new@example.com")
    assert (new.is_staff, new.is_superuser, new.user_permissions.count()) == (False, False, 0)


def test_staff_who_may_change_groups_cannot_change_them_without_being_superuser(manager):
    group = Group.objects.create(name="clerks")
    User.objects.get(email="manager@example.com").groups.add(group)
    rights = {"name": "clerks", "permissions": [str(Permission.objects.first().pk)]}
    for path in (f"{group.pk}/change", "add", f"{group.pk}/delete"):
        assert manager.post(f"/admin/auth/group/{path}/", {**rights, "post": "yes"}).status_code == 403
    assert list(Group.objects.values_list("name", "permissions")) == [("clerks", None)]
    manager.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    assert manager.post(f"/admin/auth/group/{group.pk}/change/", rights).status_code == 302
    assert group.permissions.count() == 1


# The schedule of periodic tasks

BEAT = "/admin/django_celery_beat"


@pytest.fixture
def tasks(db):
    """The rows as beat writes them when it starts, and one of staff's own."""
    for name, entry in app.conf.beat_schedule.items():
        ModelEntry.from_entry(name, app=app, **entry)
    every = IntervalSchedule.objects.create(every=7, period="hours")
    PeriodicTask.objects.create(name="own", task="accounts.forget", interval=every)
    return {task.name: task for task in PeriodicTask.objects.select_related("interval")}


def schedule_rows():
    return [list(model.objects.order_by("pk").values()) for model in (PeriodicTask, IntervalSchedule)]


NO_TASKS = {"periodictask_set-TOTAL_FORMS": "0", "periodictask_set-INITIAL_FORMS": "0"}
FORM = {"task": "accounts.forget", "args": "[]", "kwargs": "{}", "headers": "{}"}


@pytest.mark.parametrize("name", app.conf.beat_schedule)
def test_superusers_cannot_change_or_stop_configured_tasks(root, tasks, name):
    before = schedule_rows()
    task = tasks[name]
    change = {**FORM, "name": name, "interval": task.interval_id}
    for path in (f"periodictask/{task.pk}", f"intervalschedule/{task.interval_id}"):
        assert root.get(f"{BEAT}/{path}/change/").status_code == 200
        changed = root.post(f"{BEAT}/{path}/change/", {**change, "every": "9", "period": "days"})
        assert changed.status_code == 403
        assert root.post(f"{BEAT}/{path}/delete/", {"post": "yes"}).status_code == 403
    for action in ("disable_tasks", "toggle_tasks", "delete_selected"):
        chosen = {"action": action, "_selected_action": [task.pk], "post": "yes"}
        assert root.post(f"{BEAT}/periodictask/", chosen).status_code in {302, 403}
    chosen = {"action": "delete_selected", "_selected_action": [task.interval_id], "post": "yes"}
    assert root.post(f"{BEAT}/intervalschedule/", chosen).status_code == 403
    assert schedule_rows() == before


def test_a_bulk_action_on_all_tasks_changes_only_tasks_of_staff(root, tasks):
    pks = [task.pk for task in tasks.values()]
    root.post(f"{BEAT}/periodictask/", {"action": "disable_tasks", "_selected_action": pks})
    assert list(PeriodicTask.objects.filter(enabled=False).values_list("name", flat=True)) == ["own"]
    root.post(f"{BEAT}/periodictask/", {"action": "toggle_tasks", "_selected_action": pks})
    assert not PeriodicTask.objects.filter(enabled=False).exists()
    root.post(f"{BEAT}/periodictask/", {"action": "delete_selected", "_selected_action": pks, "post": "yes"})
    assert PeriodicTask.objects.count() == len(tasks)


def test_staff_can_change_tasks_and_schedules_of_their_own(root, tasks):
    own = tasks["own"]
    change = {**FORM, "name": "own", "interval": own.interval_id}
    assert root.post(f"{BEAT}/periodictask/{own.pk}/change/", change).status_code == 302
    assert PeriodicTask.objects.get(name="own").enabled is False
    every = {"every": "8", "period": "hours", **NO_TASKS}
    schedule = f"{BEAT}/intervalschedule/{own.interval_id}"
    assert root.post(f"{schedule}/change/", every).status_code == 302
    assert IntervalSchedule.objects.get(pk=own.interval_id).every == 8
    assert root.post(f"{schedule}/delete/", {"post": "yes"}).status_code == 302
    assert not PeriodicTask.objects.filter(name="own").exists()


@pytest.mark.parametrize("kind", ["crontab", "clocked"])
def test_a_schedule_of_a_configured_task_cannot_be_deleted(root, tasks, kind):
    schedules = {
        "crontab": lambda: CrontabSchedule.objects.create(minute="1"),
        "clocked": lambda: ClockedSchedule.objects.create(clocked_time=timezone.now()),
    }
    schedule = schedules[kind]()
    used = {"interval": None, "one_off": kind == "clocked", kind: schedule}
    PeriodicTask.objects.filter(name="sweep").update(**used)
    assert root.post(f"{BEAT}/{kind}schedule/{schedule.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [schedule.pk], "post": "yes"}
    assert root.post(f"{BEAT}/{kind}schedule/", chosen).status_code == 403
    assert PeriodicTask.objects.filter(name="sweep").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("headers", "[1]"),
        ("headers", "7"),
        ("headers", "{"),
        ("args", "{}"),
        ("kwargs", "[]"),
        ("kwargs", '{"a": {"__type__": "uuid", "__value__": {}}}'),
        ("args", "[" * 100_000 + "]" * 100_000),
    ],
)
def test_a_task_that_beat_cannot_read_is_refused(root, tasks, field, value):
    form = {**FORM, "name": "new", "interval": tasks["own"].interval_id, field: value}
    answer = root.post(f"{BEAT}/periodictask/add/", form)
    assert answer.status_code == 200
    assert set(answer.context["adminform"].errors) == {field}
    assert not PeriodicTask.objects.filter(name="new").exists()


def test_a_task_with_an_interval_too_long_for_datetime_is_refused(root, tasks):
    for every in (2_147_483_647, 999_999_999):
        interval = IntervalSchedule.objects.create(every=every, period="days")
        form = {**FORM, "name": "new", "interval": interval.pk}
        answer = root.post(f"{BEAT}/periodictask/add/", form)
        assert "interval" in answer.context["adminform"].errors


@pytest.mark.parametrize(
    ("every", "period"),
    [(2_147_483_647, "days"), (3651, "days"), (87_601, "hours"), (999, "microseconds"), (0, "seconds")],
)
def test_an_interval_under_a_second_or_over_ten_years_is_refused(root, every, period):
    form = {"every": every, "period": period, **NO_TASKS}
    answer = root.post(f"{BEAT}/intervalschedule/add/", form)
    assert set(answer.context["adminform"].errors) == {"every"}
    assert not IntervalSchedule.objects.exists()


@pytest.mark.parametrize(("every", "period"), [(1, "seconds"), (3650, "days")])
def test_intervals_of_a_second_and_of_ten_years_are_accepted(root, every, period):
    form = {"every": every, "period": period, **NO_TASKS}
    assert root.post(f"{BEAT}/intervalschedule/add/", form).status_code == 302
    assert IntervalSchedule.objects.exists()


def test_solar_schedules_are_not_offered(root, tasks):
    assert root.get(f"{BEAT}/solarschedule/add/").status_code == 404
    assert "solar" not in root.get(f"{BEAT}/periodictask/add/").context["adminform"].form.fields


def test_staff_who_may_only_view_tasks_cannot_run_or_disable_them(clerk, tasks):
    look = Permission.objects.get(codename="view_periodictask")
    User.objects.get(email="clerk@example.com").user_permissions.add(look)
    before = schedule_rows()
    for action in ("disable_tasks", "toggle_tasks", "enable_tasks", "run_tasks", "delete_selected"):
        clerk.post(f"{BEAT}/periodictask/", {"action": action, "_selected_action": [tasks["own"].pk]})
    assert schedule_rows() == before


def test_beat_restores_configured_tasks_when_it_starts(transactional_db, tasks):
    before = {task.name: task for task in PeriodicTask.objects.all()}
    slow = IntervalSchedule.objects.create(every=9, period="days")
    past = timezone.now() - timedelta(days=1)
    broken = {"enabled": False, "interval": slow, "one_off": True, "expires": past, "queue": "nowhere"}
    PeriodicTask.objects.filter(name__in=["sweep", "own"]).update(**broken)
    PeriodicTask.objects.filter(name="forget").update(start_time=timezone.now() + timedelta(days=999))
    PeriodicTask.objects.filter(name="sweep mails").delete()
    scheduler = DatabaseScheduler(app=app)
    names = set(app.conf.beat_schedule)
    assert names <= set(scheduler.schedule)
    for task in PeriodicTask.objects.filter(name__in=names):
        old = before[task.name]
        for field in ("task", "enabled", "interval_id", "one_off", "expires", "start_time", "queue"):
            assert getattr(task, field) == getattr(old, field), (task.name, field)
    assert PeriodicTask.objects.get(name="own").enabled is False


def test_the_line_of_a_request_names_its_member_of_staff(clerk):
    with logs.gathering_facts() as facts:
        assert clerk.get("/admin/accounts/user/").status_code == 200
    assert facts["user_id"] == User.objects.get(email="clerk@example.com").pk
