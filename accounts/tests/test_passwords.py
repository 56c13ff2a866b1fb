"""Changes of passwords: by the old one, by a mailed link, by staff and by a command."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.hashers import make_password
from django.core import mail as outgoing
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from accounts import closing, keys, link_tokens, passwords
from accounts.forms import OthersPasswordForm
from accounts.models import FailedLogin, Session, User
from accounts.tokens import open_session
from notifications.models import Mail
from testing.api import faults

pytestmark = pytest.mark.usefixtures("unthrottled")

CHANGE = "/api/v1/auth/password/change"
RESET = "/api/v1/auth/password/reset"
CONFIRM = "/api/v1/auth/password/reset/confirm"
PROFILE = "/api/v1/users/get-profile"
LOGIN = "/api/v1/auth/login"
OLD, NEW = "a-long-passphrase", "another-passphrase"


def change(client, current=OLD, new=NEW):
    return client.post(CHANGE, {"current_password": current, "new_password": new})


def confirm(api, token, new=NEW):
    return api().post(CONFIRM, {"token": token, "new_password": new})


def logs_in(api, password, email="ada@example.com"):
    return api().post(LOGIN, {"email": email, "password": password}).status_code == 200


def mails(**conditions):
    return list(Mail.objects.filter(**conditions).order_by("pk").values_list("kind", "to"))


def test_a_change_ends_the_other_sessions_and_is_mailed(api, user, stranger):
    this, other, strangers = api(user), api(user), api(stranger)
    response = change(this)
    assert (response.status_code, response.content) == (204, b"")
    assert [client.get(PROFILE).status_code for client in (this, other, strangers)] == [200, 401, 200]
    assert (logs_in(api, OLD), logs_in(api, NEW)) == (False, True)
    assert mails() == [("password_changed", "ada@example.com")]


def test_a_change_of_password_ends_refresh_tokens_of_other_sessions(api, user):
    pair = open_session(user, "elsewhere")
    change(api(user))
    refreshed = api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token})
    assert refreshed.status_code == 401


def test_a_wrong_current_password_changes_nothing(api, user):
    client, other = api(user), api(user)
    assert faults(change(client, current="wrong")) == [("wrong_password", "current_password")]
    assert other.get(PROFILE).status_code == 200
    assert logs_in(api, OLD)
    assert mails() == []


def test_wrong_current_passwords_count_as_wrong_log_ins(api, user):
    client = api(user)
    for _ in range(5):
        assert change(client, current="wrong").status_code == 400
        assert not logs_in(api, "wrong")
    refused = change(client)
    assert refused.status_code == 429
    assert 240 <= int(refused["Retry-After"]) <= 300
    assert not logs_in(api, OLD)


def test_changes_share_the_rate_of_log_ins(api, user, settings):
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
def test_a_new_password_is_validated_as_at_sign_up(api, user, new, code):
    assert (code, "new_password") in faults(change(api(user), new=new))
    assert (code, "new_password") in faults(confirm(api, link_tokens.make_reset_token(user), new))
    user.refresh_from_db()
    assert user.check_password(OLD)


def test_missing_fields_are_named(api, user):
    assert set(faults(api(user).post(CHANGE, {}))) == {
        ("required", "current_password"), ("required", "new_password"),
    }  # fmt: skip  # a pair
    assert set(faults(api().post(CONFIRM, {}))) == {("required", "token"), ("required", "new_password")}
    assert faults(api().post(RESET, {})) == [("required", "email")]


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


def set_by_staff(user):
    """A form of the admin that was opened before the account changes and is sent afterwards."""
    row = User.objects.get(pk=user.pk)
    return OthersPasswordForm(row, {"password1": NEW, "password2": NEW, "usable_password": "true"})


@pytest.mark.parametrize("is_erased", [True, False])
def test_a_password_set_by_staff_does_not_reopen_a_closed_account(user, stranger, is_erased):
    form = set_by_staff(user)
    closing.close(user)
    if is_erased:
        user.delete()
    assert form.is_valid()
    with pytest.raises(PermissionDenied):
        form.save()
    assert list(User.objects.filter(is_active=True)) == [stranger]
    assert User.objects.count() == 2 - is_erased


def test_a_password_set_by_staff_changes_no_other_field_and_is_mailed(user):
    form = set_by_staff(user)
    User.objects.filter(pk=user.pk).update(is_active=False, name="Countess")
    assert form.is_valid()
    form.save()
    user.refresh_from_db()
    assert (user.is_active, user.name, user.check_password(NEW)) == (False, "Countess", True)
    assert mails() == [("password_changed", "ada@example.com")]


def test_a_password_set_by_staff_does_not_undo_a_reset(user):
    form = set_by_staff(user)
    passwords.reset(link_tokens.make_reset_token(user), "a-third-passphrase")
    assert form.is_valid()
    with pytest.raises(PermissionDenied):
        form.save()
    assert User.objects.get(pk=user.pk).check_password("a-third-passphrase")


def test_staff_can_make_a_password_unusable(user, api):
    phone = api(user)
    form = OthersPasswordForm(user, {"usable_password": "false"})
    assert form.is_valid()
    form.save()
    assert not User.objects.get(pk=user.pk).has_usable_password()
    assert phone.get(PROFILE).status_code == 401


def test_a_password_set_by_a_command_changes_no_other_field(user):
    read = User.objects.get(pk=user.pk)
    User.objects.filter(pk=user.pk).update(is_active=False, name="Countess")
    read.set_password(NEW)
    read.save()
    user.refresh_from_db()
    assert (user.is_active, user.name, user.check_password(NEW)) == (False, "Countess", True)


def test_saving_does_not_insert_an_erased_row_again(user):
    read = User.objects.get(pk=user.pk)
    user.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        read.save()
    read.set_password(NEW)
    with pytest.raises(DatabaseError), transaction.atomic():
        read.save()
    assert not User.objects.exists()


def test_upgrading_a_hash_does_not_restore_a_replaced_password(user, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    read = User.objects.get(pk=user.pk)
    passwords.change(user, NEW, by=None)
    assert read.check_password(OLD)
    again = User.objects.get(pk=user.pk)
    assert (again.check_password(NEW), again.check_password(OLD)) == (True, False)


def test_checking_a_password_upgrades_an_old_hash(user, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    assert user.check_password(OLD)
    assert user.password == User.objects.get(pk=user.pk).password
    assert user.password.startswith("md5$")


def test_the_current_password_is_checked_against_the_users_own_row(api, user, stranger):
    """Two rows from before addresses had one form may be the same mailbox."""
    User.objects.filter(pk=stranger.pk).update(password=make_password(OLD))
    User.objects.filter(pk=user.pk).update(
        email="eve@\uff45xample.com", password=make_password("my-own-words")
    )
    own = api(User.objects.get(pk=user.pk))
    assert change(own, OLD).status_code == 400  # the stranger's
    assert change(own, "my-own-words").status_code == 204
    assert User.objects.get(pk=user.pk).check_password(NEW)
    assert User.objects.get(pk=stranger.pk).check_password(OLD)


def test_a_log_in_with_a_password_replaced_meanwhile_creates_no_session(api, user):
    proved = User.objects.get(pk=user.pk)  # the old password was right
    passwords.change(user, NEW, by=None)
    with pytest.raises(AuthenticationFailed):
        open_session(proved, "late")
    assert not Session.objects.exists()


@pytest.mark.postgresql
def test_log_ins_concurrent_with_a_change_leave_no_session_of_the_old_password(at_once, user, api):
    clients = [api(user) for _ in range(3)]
    changes = [lambda client=client: change(client).status_code for client in clients]
    statuses = at_once(*changes, *[lambda: logs_in(api, OLD)] * 6)[:3]
    assert sorted(statuses) in ([204, 400, 400], [204, 400, 401], [204, 401, 401])
    alive = [client.get(PROFILE).status_code for client in clients]
    assert alive == [200 if status == 204 else 401 for status in statuses]
    assert Session.objects.filter(revoked_at=None).count() == 1


def test_a_reset_is_requested_by_address_and_mailed(api, user):
    response = api().post(RESET, {"email": "ADA@example.com"})
    assert (response.status_code, response.content) == (204, b"")
    assert mails(by_stranger=True) == [("password_reset", "ada@example.com")]


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
def test_known_and_unknown_addresses_get_the_same_bytes_with_the_same_queries(api, user, path):
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


def test_one_client_requests_ten_resets_an_hour_for_any_addresses(api, db, settings):
    settings.THROTTLES = {**settings.THROTTLES, "reset": (10, 3600)}
    with time_machine.travel("2026-11-25 12:30:00", tick=False):
        statuses = [api().post(RESET, {"email": f"{n}@example.com"}).status_code for n in range(12)]
    assert statuses == [204] * 10 + [429] * 2
    assert Mail.objects.count() == 10


def test_a_reset_ends_sessions_verifies_the_address_and_clears_wrong_attempts(api, user):
    client = api(user)
    for _ in range(10):
        logs_in(api, "wrong")
    response = confirm(api, link_tokens.make_reset_token(user))
    assert (response.status_code, response.content) == (204, b"")
    assert client.get(PROFILE).status_code == 401
    assert not FailedLogin.objects.exists()
    assert (logs_in(api, NEW), logs_in(api, OLD)) == (True, False)
    user.refresh_from_db()
    assert user.email_verified_at is not None
    assert sorted(mails()) == [
        ("password_changed", "ada@example.com"), ("welcome", "ada@example.com"),
    ]  # fmt: skip  # a pair


def test_a_reset_sends_no_second_welcome(api, user):
    verified_at = timezone.now() - timedelta(days=9)
    User.objects.filter(pk=user.pk).update(email_verified_at=verified_at)
    confirm(api, link_tokens.make_reset_token(user))
    user.refresh_from_db()
    assert user.email_verified_at == verified_at
    assert mails() == [("password_changed", "ada@example.com")]


@pytest.mark.parametrize(
    "how", ["nonsense", "another's", "used", "old", "after a change", "inactive", "moved"]
)
def test_an_invalid_link_resets_nothing(api, user, stranger, how):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = link_tokens.make_reset_token(user)
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
        assert faults(confirm(api, token)) == [("invalid", "token")]
        assert (list(User.objects.order_by("pk").values_list("password", flat=True)), mails()) == before


def test_an_invalid_link_hashes_no_password(api, user, monkeypatch):
    from django.contrib.auth.hashers import Argon2PasswordHasher

    hashed = []
    monkeypatch.setattr(Argon2PasswordHasher, "encode", lambda *_: hashed.append(1))
    confirm(api, f"{user.pk}.x-y")
    assert hashed == []


@pytest.mark.postgresql
def test_ten_concurrent_requests_with_one_link_reset_once(at_once, api, user):
    token = link_tokens.make_reset_token(user)
    words = [f"passphrase-number-{number}" for number in range(10)]
    statuses = at_once(*[lambda word=word: confirm(api, token, word).status_code for word in words])
    assert sorted(statuses) == [204] + [400] * 9
    user.refresh_from_db()
    assert user.check_password(words[statuses.index(204)])
    assert Mail.objects.filter(kind="password_changed").count() == 1


# Renaming during other changes


def test_a_change_of_the_name_does_not_restore_the_old_password(user):
    read = User.objects.get(pk=user.pk)
    assert passwords.change(User.objects.get(pk=user.pk), NEW, by=None)
    read.rename("Countess")
    user.refresh_from_db()
    assert (user.name, user.check_password(NEW), user.check_password(OLD)) == ("Countess", True, False)


@pytest.mark.postgresql
def test_a_password_changed_during_renames_stays_changed(at_once, user, api):
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


# Another person may have signed up with the address


@pytest.mark.parametrize(("verified_at", "status"), [(None, 401), (timezone.now(), 200)])
def test_a_reset_revokes_keys_made_before_the_address_was_verified(api, user, verified_at, status):
    User.objects.filter(pk=user.pk).update(email_verified_at=verified_at)
    _, raw = keys.issue(user, "Eve's", ["account"], None)
    assert confirm(api, link_tokens.make_reset_token(user)).status_code == 204
    assert api().get(PROFILE, headers={"X-API-Key": raw}).status_code == status
