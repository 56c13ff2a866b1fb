"""Passwords change for those who know the old one or read the account's mail, and for nobody else."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.core import mail as outgoing
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from accounts import keys, passwords
from accounts.models import FailedLogin, Session, User
from accounts.serializers import UserSerializer
from accounts.tokens import open_session
from notifications import proofs
from notifications.models import Mail

CHANGE = "/api/v1/auth/password/change"
RESET = "/api/v1/auth/password/reset"
CONFIRM = "/api/v1/auth/password/reset/confirm"
PROFILE = "/api/v1/users/get-profile"
LOGIN = "/api/v1/auth/login"
OLD, NEW = "a-long-passphrase", "another-passphrase"


@pytest.fixture(autouse=True)
def _no_rate(settings):
    settings.THROTTLES = dict.fromkeys(settings.THROTTLES)


def change(client, current=OLD, new=NEW):
    return client.post(CHANGE, {"current_password": current, "new_password": new})


def confirm(api, token, new=NEW):
    return api().post(CONFIRM, {"token": token, "new_password": new})


def logs_in(api, password, email="ada@example.com"):
    return api().post(LOGIN, {"email": email, "password": password}).status_code == 200


def faults(response):
    assert response.status_code == 400
    return {(error["attr"], error["code"]) for error in response.json()["errors"]}


def mails(**conditions):
    return list(Mail.objects.filter(**conditions).order_by("pk").values_list("kind", "to", "name"))


def test_a_change_ends_the_other_sessions_and_is_mailed(api, user, stranger):
    this, other, strangers = api(user), api(user), api(stranger)
    response = change(this)
    assert (response.status_code, response.content) == (204, b"")
    assert [client.get(PROFILE).status_code for client in (this, other, strangers)] == [200, 401, 200]
    assert (logs_in(api, OLD), logs_in(api, NEW)) == (False, True)
    assert mails() == [("password_changed", "ada@example.com", "")]


def test_a_refresh_token_of_another_session_is_dead_too(api, user):
    pair = open_session(user, "elsewhere")
    change(api(user))
    refreshed = api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token})
    assert refreshed.status_code == 401


def test_only_a_verified_address_is_greeted_by_name(api, user):
    """Whoever signs up with somebody else's address does not get their own words mailed there."""
    User.objects.filter(pk=user.pk).update(email_verified_at=timezone.now())
    change(api(user))
    assert mails() == [("password_changed", "ada@example.com", "Ada")]


def test_a_wrong_current_password_changes_nothing(api, user):
    client, other = api(user), api(user)
    assert faults(change(client, current="wrong")) == {("current_password", "wrong_password")}
    assert other.get(PROFILE).status_code == 200
    assert logs_in(api, OLD)
    assert mails() == []


def test_a_stolen_token_tries_no_more_passwords_than_a_stranger_may(api, user):
    client = api(user)
    for _ in range(5):
        assert change(client, current="wrong").status_code == 400
        assert not logs_in(api, "wrong")
    refused = change(client)
    assert refused.status_code == 429
    assert 240 <= int(refused["Retry-After"]) <= 300
    assert not logs_in(api, OLD)


def test_changes_are_counted_with_log_ins_for_each_hashes_a_password(api, user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "login": (2, 60)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        client = api(user)
        assert logs_in(api, OLD)
        assert [change(client, current="wrong").status_code for _ in range(2)] == [400, 429]


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("short-1", "password_too_short"),
        ("password1", "password_too_common"),
        ("8273645190", "password_entirely_numeric"),
        ("ada@example", "password_too_similar"),
        ("x" * 129, "max_length"),
        ("", "blank"),
        (None, "null"),
        (12345678, "invalid"),
        ("a\0long-passphrase", "null_characters_not_allowed"),
    ],
)
def test_a_new_password_is_judged_as_at_sign_up(api, user, new, code):
    assert ("new_password", code) in faults(change(api(user), new=new))
    assert ("new_password", code) in faults(confirm(api, proofs.for_reset(user), new))
    user.refresh_from_db()
    assert user.check_password(OLD)


def test_what_is_missing_is_named(api, user):
    assert faults(api(user).post(CHANGE, {})) == {
        ("current_password", "required"), ("new_password", "required"),
    }  # fmt: skip  # a pair
    assert faults(api().post(CONFIRM, {})) == {("token", "required"), ("new_password", "required")}
    assert faults(api().post(RESET, {})) == {("email", "required")}


def test_a_password_set_by_staff_or_a_command_ends_all_sessions(api, client, user, monkeypatch):
    phone = api(user)
    client.force_login(User.objects.create_superuser("root@example.com", OLD))
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert client.post(f"/admin/accounts/user/{user.pk}/password/", form).status_code == 302
    assert phone.get(PROFILE).status_code == 401
    tablet = api(User.objects.get(pk=user.pk))
    monkeypatch.setattr("getpass.getpass", lambda **_: "a-third-passphrase")
    call_command("changepassword", user.email)
    assert tablet.get(PROFILE).status_code == 401
    assert logs_in(api, "a-third-passphrase")


def test_a_log_in_by_the_old_password_that_is_under_way_begins_no_session(api, user):
    proved = User.objects.get(pk=user.pk)  # the old password was right
    passwords.change(user, NEW, keep=Session())
    with pytest.raises(AuthenticationFailed):
        open_session(proved, "late")
    assert not Session.objects.exists()


@pytest.mark.postgresql
def test_log_ins_at_once_with_a_change_leave_no_session_by_the_old_password(at_once, user, api):
    clients = [api(user) for _ in range(3)]
    changes = [lambda client=client: change(client).status_code for client in clients]
    statuses = at_once(*changes, *[lambda: logs_in(api, OLD)] * 6)[:3]
    assert sorted(statuses) in ([204, 400, 400], [204, 400, 401], [204, 401, 401])
    alive = [client.get(PROFILE).status_code for client in clients]
    assert alive == [200 if status == 204 else 401 for status in statuses]
    assert Session.objects.filter(revoked_at=None).count() == 1


def test_who_asks_for_a_reset_is_mailed_a_link(api, user):
    response = api().post(RESET, {"email": "ADA@example.com"})
    assert (response.status_code, response.content) == (204, b"")
    assert mails(by_stranger=True) == [("password_reset", "ada@example.com", "")]


def test_a_forged_host_does_not_reach_the_link(api, user, settings, transactional_db, eager):
    settings.ALLOWED_HOSTS = ["*"]
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
    assert api().post(RESET, {"email": user.email}, headers=forged).status_code == 204
    (sent,) = outgoing.outbox
    for text in (sent.body, sent.alternatives[0][0]):
        assert "http://localhost:8000/reset-password?token=" in text
        assert "evil" not in text


def answer_of(response):
    headers = {name: value for name, value in response.headers.items() if name != "X-Request-ID"}
    return response.status_code, response.content, headers


@pytest.mark.parametrize("path", [RESET, "/api/v1/auth/verify-email"])
def test_known_and_unknown_addresses_answer_alike_to_the_byte_with_the_same_queries(api, user, path):
    User.objects.create(email="gone@example.com", is_active=False)
    told = []
    with time_machine.travel(timezone.now(), tick=False):
        for address in ("ada@example.com", "nobody@example.com", "gone@example.com"):
            answers = []
            with CaptureQueriesContext(connection) as queries:
                answers = [answer_of(api().post(path, {"email": address})) for _ in range(4)]
            told.append((answers, [query["sql"].split()[:3] for query in queries]))
    assert told[0] == told[1] == told[2]
    assert [status for status, _, _ in told[0][0]] == [204, 204, 204, 429]
    assert told[0][0][3][2]["Retry-After"] == "3600"


def test_one_place_asks_ten_times_an_hour_at_most_whatever_it_names(api, db, settings):
    settings.THROTTLES = {**settings.THROTTLES, "reset": (10, 3600)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        statuses = [api().post(RESET, {"email": f"{n}@example.com"}).status_code for n in range(12)]
    assert statuses == [204] * 10 + [429] * 2
    assert Mail.objects.count() == 10


def test_a_reset_ends_every_session_verifies_the_address_and_forgives_wrong_tries(api, user):
    client = api(user)
    for _ in range(10):
        logs_in(api, "wrong")
    response = confirm(api, proofs.for_reset(user))
    assert (response.status_code, response.content) == (204, b"")
    assert client.get(PROFILE).status_code == 401
    assert not FailedLogin.objects.exists()
    assert (logs_in(api, NEW), logs_in(api, OLD)) == (True, False)
    user.refresh_from_db()
    assert user.email_verified_at is not None
    assert sorted(mails()) == [
        ("password_changed", "ada@example.com", ""), ("welcome", "ada@example.com", "Ada"),
    ]  # fmt: skip  # a pair


def test_a_reset_welcomes_nobody_who_is_verified(api, user):
    verified_at = timezone.now() - timedelta(days=9)
    User.objects.filter(pk=user.pk).update(email_verified_at=verified_at)
    confirm(api, proofs.for_reset(user))
    user.refresh_from_db()
    assert user.email_verified_at == verified_at
    assert mails() == [("password_changed", "ada@example.com", "Ada")]


@pytest.mark.parametrize(
    "how", ["nonsense", "another's", "used", "old", "after a change", "inactive", "moved"]
)
def test_a_link_that_is_no_good_resets_nothing(api, user, stranger, how):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = proofs.for_reset(user)
        match how:
            case "nonsense":
                token = "nonsense"
            case "another's":
                token = token.replace(str(user.pk), str(stranger.pk))
            case "used":
                assert confirm(api, token, "the-first-passphrase").status_code == 204
            case "old":
                clock.shift(3602)
            case "after a change":
                change(api(user), new="the-first-passphrase")
            case "inactive":
                User.objects.filter(pk=user.pk).update(is_active=False)
            case "moved":
                User.objects.filter(pk=user.pk).update(email="countess@example.com")
        before = list(User.objects.order_by("pk").values_list("password", flat=True)), mails()
        assert faults(confirm(api, token)) == {("token", "invalid")}
        assert (list(User.objects.order_by("pk").values_list("password", flat=True)), mails()) == before


def test_a_link_that_is_no_good_costs_no_hash(api, user, monkeypatch):
    from django.contrib.auth.hashers import Argon2PasswordHasher

    hashed = []
    monkeypatch.setattr(Argon2PasswordHasher, "encode", lambda *_: hashed.append(1))
    confirm(api, f"{user.pk}.x-y")
    assert hashed == []


@pytest.mark.postgresql
def test_of_ten_who_show_the_same_link_at_once_one_wins(at_once, api, user):
    token = proofs.for_reset(user)
    words = [f"passphrase-number-{number}" for number in range(10)]
    statuses = at_once(*[lambda word=word: confirm(api, token, word).status_code for word in words])
    assert sorted(statuses) == [204] + [400] * 9
    user.refresh_from_db()
    assert user.check_password(words[statuses.index(204)])
    assert Mail.objects.filter(kind="password_changed").count() == 1


# A change of the name while something else happens to the account


def renaming(user):
    """A request that has read the account and is about to write its name."""
    serializer = UserSerializer(User.objects.get(pk=user.pk), data={"name": "Countess"}, partial=True)
    serializer.is_valid(raise_exception=True)
    return serializer


def test_a_new_name_does_not_bring_the_old_password_back(user):
    request = renaming(user)
    assert passwords.change(User.objects.get(pk=user.pk), NEW, keep=Session())
    request.save()
    user.refresh_from_db()
    assert (user.name, user.check_password(NEW), user.check_password(OLD)) == ("Countess", True, False)


@pytest.mark.postgresql
def test_renamed_all_the_while_a_password_is_changed_for_good(at_once, user, api):
    busy, phone = api(user), api(user)
    done = threading.Event()

    def rename():
        while not done.is_set():
            busy.patch(f"/api/v1/users/{user.pk}", {"name": "Countess"})

    def changed():
        try:
            return change(phone).status_code
        finally:
            done.set()

    assert at_once(rename, rename, changed)[2] == 204
    assert (logs_in(api, OLD), logs_in(api, NEW)) == (False, True)


# Somebody else may have signed up with the address


@pytest.mark.parametrize(("verified_at", "status"), [(None, 401), (timezone.now(), 200)])
def test_a_reset_revokes_the_keys_of_whoever_had_not_verified_the_address(api, user, verified_at, status):
    User.objects.filter(pk=user.pk).update(email_verified_at=verified_at)
    _, raw = keys.issue(user, "Eve's", ["account"], None)
    assert confirm(api, proofs.for_reset(user)).status_code == 204
    assert api().get(PROFILE, headers={"X-API-Key": raw}).status_code == status
