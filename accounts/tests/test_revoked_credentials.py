"""Credentials that are revoked while their request runs: it changes nothing.

A reset ends keys and settings made by a log-in that began before the address was verified.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from accounts import closing, keys, link_tokens, passwords
from accounts.models import ApiKey, Session, User, UserSettings
from accounts.tokens import open_session
from testing.waiting import until

pytestmark = pytest.mark.usefixtures("unthrottled")

OLD, NEW = "a-long-passphrase", "another-passphrase"
API = "/api/v1"
KEYS, SETTINGS = f"{API}/users/api-keys", f"{API}/users/settings"
PROFILE = f"{API}/users/get-profile"
CHANGES = {
    "a key": ("post", KEYS, {"name": "Late"}),
    "settings": ("patch", SETTINGS, {"retention_days": 1}),
    "a name": ("patch", f"{API}/users/{{user}}", {"name": "Late"}),
    "a password": (
        "post",
        f"{API}/auth/password/change",
        {"current_password": OLD, "new_password": "late-passphrase"},
    ),
    "a log-in": ("post", f"{API}/auth/login", {"email": "ada@example.com", "password": OLD}),
    "a refresh": ("post", f"{API}/auth/refresh", {"refresh_token": "{refresh}"}),
    "a log-out": ("post", f"{API}/auth/logout", {}),
    "a log-out everywhere": ("post", f"{API}/auth/logout-all", {}),
    "the end of a session": ("delete", f"{API}/auth/sessions/{{session}}", None),
    "the end of a key": ("delete", f"{KEYS}/{{key}}", None),
    "the end of the account": ("delete", f"{API}/users/{{user}}", {"password": OLD}),
}


def is_blocked():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees the same at each look
        # Of this database alone: other tests run at the same time.
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


def at_the_same_time(change, ask):
    """Runs `ask` while the changes of `change` are not committed. Returns its result after the commit."""

    def in_thread():
        try:
            return ask()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            change()
            answer = thread.submit(in_thread)
            until(is_blocked, 20)
        return answer.result(20)


@pytest.fixture
def account(user, stranger):
    """Credentials of an account that Eve signed up with another's address. A second user's must stay."""
    User.objects.filter(pk=user.pk).update(email_verified_at=timezone.now())
    pair = open_session(user, "Eve's")
    session = Session.objects.get()
    key, _ = keys.issue(user, "Eve's", ["account"], None)
    strangers_key, _ = keys.issue(stranger, "Mine", ["account"], None)
    UserSettings.objects.create(user=stranger, theme="dark")
    yield {"user": user.pk, "session": session.pk, "key": key.pk, "refresh": pair.refresh_token}, pair
    assert ApiKey.objects.get(pk=strangers_key.pk).revoked_at is None
    assert UserSettings.objects.get(user=stranger).theme == "dark"


def state(user):
    row = User.objects.values("name", "password", "closed_at").get(pk=user.pk)
    alive = ApiKey.objects.filter(user=user).kept().count(), Session.objects.filter(user=user).alive().count()
    return row, alive, UserSettings.objects.filter(user=user).exists()


@pytest.mark.postgresql
@pytest.mark.parametrize("what", CHANGES)
def test_a_request_that_runs_into_a_reset_changes_nothing(transactional_db, api, user, account, what):
    ids, pair = account
    method, path, body = CHANGES[what]
    client = api()
    if what not in {"a log-in", "a refresh"}:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair.access_token}")
    body = body and {
        name: value.format(**ids) if isinstance(value, str) else value for name, value in body.items()
    }
    answer = at_the_same_time(
        lambda: passwords.reset(link_tokens.make_reset_token(User.objects.get(pk=user.pk)), NEW),
        lambda: getattr(client, method)(path.format(**ids), body),
    )
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    (row, alive, has_settings) = state(user)
    assert User.objects.get(pk=user.pk).check_password(NEW)
    assert (row["name"], row["closed_at"], alive, has_settings) == ("Ada", None, (1, 0), False)


@pytest.mark.postgresql
@pytest.mark.parametrize("what", ["a key", "settings", "a name", "a password", "the end of the account"])
def test_a_request_that_runs_into_a_log_out_everywhere_is_refused(transactional_db, api, user, account, what):
    ids, pair = account
    method, path, body = CHANGES[what]
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair.access_token}")

    def log_out_everywhere():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        Session.objects.filter(user=user).revoke()

    before = state(user)[0]
    answer = at_the_same_time(log_out_everywhere, lambda: getattr(client, method)(path.format(**ids), body))
    assert answer.status_code == 401
    assert state(user) == (before, (1, 0), False)


@pytest.mark.postgresql
def test_a_key_revoked_during_its_request_changes_no_settings(transactional_db, api, user):
    key, raw = keys.issue(user, "Stolen", ["account"], None)

    def revoke():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        ApiKey.objects.filter(pk=key.pk).revoke()

    client = api()
    client.credentials(HTTP_X_API_KEY=raw)
    answer = at_the_same_time(revoke, lambda: client.patch(SETTINGS, {"theme": "dark"}))
    assert answer.status_code == 401
    assert not UserSettings.objects.exists()


@pytest.mark.postgresql
def test_a_password_replaced_meanwhile_does_not_close_the_account(transactional_db, api, user, account):
    """The session stays valid, as it made the change; the password sent is the old one."""
    ids, pair = account
    session = Session.objects.get(pk=ids["session"])
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair.access_token}")
    answer = at_the_same_time(
        lambda: passwords.change(User.objects.get(pk=user.pk), NEW, by=session),
        lambda: client.delete(f"{API}/users/{user.pk}", {"password": OLD}),
    )
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "wrong_password")
    assert User.objects.get(pk=user.pk).closed_at is None


@pytest.mark.postgresql
def test_a_change_by_staff_during_a_reset_does_not_restore_the_old_password(transactional_db, client, user):
    client.force_login(User.objects.create_superuser("root@example.com", OLD))
    form = {"email": user.email, "name": "Countess", "is_active": "on"}
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    answer = at_the_same_time(
        lambda: passwords.reset(link_tokens.make_reset_token(user), NEW),
        lambda: client.post(f"/admin/accounts/user/{user.pk}/change/", {**form, **settings}),
    )
    assert answer.status_code == 302
    user.refresh_from_db()
    assert (user.name, user.check_password(NEW)) == ("Countess", True)
    assert user.email_verified_at is not None


@pytest.mark.postgresql
@pytest.mark.parametrize("is_verified", [True, False])
def test_keys_made_during_a_reset_do_not_survive_it(at_once, api, user, is_verified):
    clients = [api(user) for _ in range(6)]
    if is_verified:  # the owner follows the link in the mail first, and then resets
        User.objects.filter(pk=user.pk).update(email_verified_at=timezone.now())
    done = threading.Event()

    def make(client):
        statuses = set()
        while not done.is_set():
            statuses.add(client.post(KEYS, {"name": "Eve's", "scopes": ["account"]}).status_code)
            client.patch(SETTINGS, {"retention_days": 1})
        return statuses

    def reset():
        until(lambda: ApiKey.objects.kept().count() > 2, 20)
        try:
            return passwords.reset(link_tokens.make_reset_token(User.objects.get(pk=user.pk)), NEW)
        finally:
            done.set()

    makers = [lambda client=client: make(client) for client in clients]
    assert at_once(*makers, reset)[-1] is True
    assert not ApiKey.objects.alive().exists()
    assert not UserSettings.objects.exists()


# Before the address was verified


def verified(user, **ago):
    User.objects.filter(pk=user.pk).update(email_verified_at=timezone.now() - timedelta(**ago))


def reset(user):
    assert passwords.reset(link_tokens.make_reset_token(User.objects.get(pk=user.pk)), NEW)


def test_a_reset_ends_keys_and_settings_of_log_ins_from_before_the_verification(api, user):
    eves = api(user)
    verified(user, seconds=0)
    assert eves.post(KEYS, {"name": "Eve's"}).status_code == 201
    assert eves.patch(SETTINGS, {"retention_days": 1}).status_code == 200
    reset(user)
    assert not ApiKey.objects.alive().exists()
    assert not UserSettings.objects.exists()


def test_a_reset_ends_settings_changed_by_a_key_from_before_the_verification(api, user):
    raw = api(user).post(KEYS, {"name": "Eve's", "scopes": ["account"]}).json()["key"]
    verified(user, seconds=0)
    changed = api().patch(SETTINGS, {"theme": "dark"}, headers={"X-API-Key": raw})
    assert changed.status_code == 200
    reset(user)
    assert not UserSettings.objects.exists()


def test_a_reset_keeps_keys_and_settings_of_log_ins_after_the_verification(api, user):
    verified(user, minutes=5)
    client = api(user)
    raw = client.post(KEYS, {"name": "Mine", "scopes": ["account"]}).json()["key"]
    client.patch(SETTINGS, {"theme": "dark"})
    reset(user)
    assert api().get(PROFILE, headers={"X-API-Key": raw}).status_code == 200
    assert UserSettings.objects.get().theme == "dark"


def test_a_refresh_does_not_move_a_log_in_past_the_verification(api, user):
    refresh_token = open_session(user, "Eve's").refresh_token
    verified(user, seconds=0)
    pair = api().post(f"{API}/auth/refresh", {"refresh_token": refresh_token}).json()
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")
    assert client.post(KEYS, {"name": "Eve's"}).status_code == 201
    reset(user)
    assert not ApiKey.objects.alive().exists()


def test_a_closed_account_cannot_be_changed(user):
    session = Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))
    assert closing.close_own(User.objects.get(pk=user.pk), session)
    with pytest.raises(AuthenticationFailed):
        keys.issue(user, "Late", ["read"], None, by=session)
    with pytest.raises(AuthenticationFailed):
        closing.close_own(user, session)
