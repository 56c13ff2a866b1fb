"""Wrong passwords are bounded for each account, in the database."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import tasks
from accounts.models import FailedLogin, Session
from accounts.tokens import open_session

LOGIN = "/api/v1/auth/login"
PASSWORD = "a-long-passphrase"


@pytest.fixture(autouse=True)
def _no_rate(settings):
    settings.THROTTLES = {**settings.THROTTLES, "login": None}


def log_in(api, password=PASSWORD, email="ada@example.com"):
    return api().post(LOGIN, {"email": email, "password": password})


def test_the_eleventh_try_within_five_minutes_is_not_made(api, user):
    for _ in range(10):
        assert log_in(api, "wrong").status_code == 401
    refused = log_in(api)
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["code"] == "throttled"
    assert 240 <= int(refused["Retry-After"]) <= 300
    assert FailedLogin.objects.count() == 10


def test_five_minutes_after_the_first_the_next_may_be_made(api, user):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(10):
            log_in(api, "wrong")
            clock.shift(1)
        clock.shift(int(log_in(api)["Retry-After"]) - 1)
        assert log_in(api).status_code == 429
        clock.shift(2)
        assert log_in(api).status_code == 200


def test_who_gets_in_begins_anew(api, user):
    for _ in range(9):
        log_in(api, "wrong")
    assert log_in(api).status_code == 200
    assert not FailedLogin.objects.exists()


def test_one_accounts_tries_are_not_anothers(api, user, stranger):
    for _ in range(11):
        log_in(api, "wrong", stranger.email)
    assert log_in(api).status_code == 200


def test_an_address_without_an_account_answers_alike_and_is_not_kept(api, user):
    known, unknown = (
        [log_in(api, "wrong", email) for _ in range(11)] for email in ("ADA@example.com", "no@example.com")
    )
    assert [a.status_code for a in known] == [b.status_code for b in unknown] == [401] * 10 + [429]
    assert known[0].json() == unknown[0].json()
    assert known[10].json()["errors"][0]["code"] == unknown[10].json()["errors"][0]["code"] == "throttled"
    assert all("@" not in account for account in FailedLogin.objects.values_list("account", flat=True))


@pytest.mark.postgresql
def test_of_thirty_wrong_ones_at_once_ten_are_made(at_once, api, user):
    answers = at_once(*[lambda: log_in(api, "wrong").status_code] * 30)
    assert sorted(answers) == [401] * 10 + [429] * 20


@pytest.mark.postgresql
def test_of_many_right_ones_at_once_all_get_in(at_once, api, user):
    assert at_once(*[lambda: log_in(api).status_code] * 20) == [200] * 20
    assert not FailedLogin.objects.exists()


def test_who_gets_in_forgives_no_try_that_is_still_being_checked(api, user):
    account = FailedLogin.account_of(user.email)
    FailedLogin.objects.create(account=account, checked=True)
    under_way = FailedLogin.objects.create(account=account)
    assert log_in(api).status_code == 200
    assert list(FailedLogin.objects.all()) == [under_way]


def test_a_try_whose_process_died_counts_as_a_wrong_one(api, user):
    died = timezone.now() - FailedLogin.LONGEST_CHECK
    FailedLogin.objects.bulk_create(
        FailedLogin(account=FailedLogin.account_of(user.email), at=died) for _ in range(10)
    )
    assert log_in(api).status_code == 429


def test_the_admins_log_in_counts_with_the_others(api, client, user):
    user.is_staff = True
    user.save()
    for _ in range(5):
        log_in(api, "wrong")
        client.post("/admin/login/", {"username": user.email, "password": "wrong"})
    page = client.post("/admin/login/", {"username": user.email, "password": PASSWORD})
    assert page.status_code == 200
    assert b"Too many wrong tries" in page.content
    assert log_in(api).status_code == 429


def test_the_admins_log_ins_are_counted_by_address_with_the_apis(api, client, db, settings):
    settings.THROTTLES = {**settings.THROTTLES, "login": (3, 60)}
    log_in(api, "wrong", "one@example.com")
    pages = [
        client.post("/admin/login/", {"username": f"{name}@example.com", "password": "wrong"})
        for name in ("two", "three", "four")
    ]
    assert [b"Too many log-ins" in page.content for page in pages] == [False, False, True]
    assert FailedLogin.objects.count() == 3
    assert log_in(api).status_code == 429


def test_what_nobody_asks_for_any_longer_is_forgotten(api, user, client):
    log_in(api, "wrong")
    open_session(user, "pytest")
    tasks.forget()
    assert (FailedLogin.objects.count(), Session.objects.count()) == (1, 1)
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        tasks.forget()
        assert (FailedLogin.objects.count(), Session.objects.count()) == (0, 1)
    with time_machine.travel(timezone.now() + timedelta(days=40)):
        tasks.forget()
        assert not Session.objects.exists()
