"""The limit on wrong passwords for each account."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import tasks
from accounts.models import FailedLogin, Session
from accounts.tokens import open_session

pytestmark = pytest.mark.usefixtures("unthrottled")

LOGIN = "/api/v1/auth/login"
PASSWORD = "a-long-passphrase"


def log_in(api, password=PASSWORD, email="ada@example.com"):
    return api().post(LOGIN, {"email": email, "password": password})


def test_the_eleventh_attempt_within_five_minutes_is_refused(api, user):
    for _ in range(10):
        assert log_in(api, "wrong").status_code == 401
    refused = log_in(api)
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["code"] == "throttled"
    assert 240 <= int(refused["Retry-After"]) <= 300
    assert FailedLogin.objects.count() == 10


def test_five_minutes_after_the_first_attempt_another_is_allowed(api, user):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(10):
            log_in(api, "wrong")
            clock.shift(1)
        clock.shift(int(log_in(api)["Retry-After"]) - 1)
        assert log_in(api).status_code == 429
        clock.shift(2)
        assert log_in(api).status_code == 200


def test_a_log_in_forgets_earlier_wrong_attempts(api, user):
    for _ in range(9):
        log_in(api, "wrong")
    assert log_in(api).status_code == 200
    assert not FailedLogin.objects.exists()


def test_attempts_are_counted_for_each_account(api, user, stranger):
    for _ in range(11):
        log_in(api, "wrong", stranger.email)
    assert log_in(api).status_code == 200


def test_attempts_under_a_clock_that_was_far_ahead_lock_nothing_once_it_is_right(api, user):
    with time_machine.travel(timezone.now() + timedelta(days=365), tick=False):
        for _ in range(10):
            log_in(api, "wrong")
        assert log_in(api).status_code == 429
    assert log_in(api).status_code == 200


def test_an_unknown_address_is_limited_alike_and_not_stored(api, user):
    known, unknown = (
        [log_in(api, "wrong", email) for _ in range(11)] for email in ("ADA@example.com", "no@example.com")
    )
    assert [a.status_code for a in known] == [b.status_code for b in unknown] == [401] * 10 + [429]
    assert known[0].json() == unknown[0].json()
    assert known[10].json()["errors"][0]["code"] == unknown[10].json()["errors"][0]["code"] == "throttled"
    assert all("@" not in account for account in FailedLogin.objects.values_list("account", flat=True))


def begun_attempts(user, count):
    """Attempts whose passwords are being checked."""
    account = FailedLogin.account_of(user.email)
    return [FailedLogin.objects.create(account=account) for _ in range(count)]


def test_an_attempt_while_ten_are_being_checked_is_refused_for_a_second(api, user):
    *_, last = begun_attempts(user, 10)
    refused = log_in(api)
    assert (refused.status_code, refused["Retry-After"]) == (429, "1")
    assert refused.json()["errors"][0]["detail"].startswith("Too many log-ins to this account at once.")
    assert FailedLogin.objects.count() == 10
    last.delete()
    assert log_in(api).status_code == 200


def test_one_wrong_attempt_among_ten_does_not_prolong_the_refusal(api, user):
    FailedLogin.objects.filter(pk=begun_attempts(user, 10)[0].pk).update(checked=True)
    assert log_in(api)["Retry-After"] == "1"


@pytest.mark.postgresql
def test_of_thirty_concurrent_wrong_attempts_at_most_ten_are_checked(at_once, api, user):
    answers = at_once(*[lambda: log_in(api, "wrong").status_code] * 30)
    checked = answers.count(401)
    assert checked <= 10
    assert answers.count(429) == 30 - checked
    assert FailedLogin.objects.filter(checked=True).count() == FailedLogin.objects.count() == checked
    later = [log_in(api, "wrong").status_code for _ in range(11)]
    assert later.count(401) == 10 - checked


@pytest.mark.postgresql
def test_concurrent_right_attempts_are_not_counted_as_wrong(at_once, api, user):
    answers = at_once(*[lambda: log_in(api) for _ in range(20)])
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert {answer["Retry-After"] for answer in answers if answer.status_code == 429} <= {"1"}
    assert not FailedLogin.objects.exists()
    assert log_in(api).status_code == 200


@pytest.mark.postgresql
def test_ten_concurrent_right_attempts_all_log_in(at_once, api, user):
    assert at_once(*[lambda: log_in(api).status_code] * 10) == [200] * 10


def test_a_log_in_does_not_forget_attempts_that_are_being_checked(api, user):
    account = FailedLogin.account_of(user.email)
    FailedLogin.objects.create(account=account, checked=True)
    under_way = FailedLogin.objects.create(account=account)
    assert log_in(api).status_code == 200
    assert list(FailedLogin.objects.all()) == [under_way]


def test_an_attempt_whose_process_died_counts_as_wrong(api, user):
    died = timezone.now() - FailedLogin.LONGEST_CHECK
    FailedLogin.objects.bulk_create(
        FailedLogin(account=FailedLogin.account_of(user.email), at=died) for _ in range(10)
    )
    refused = log_in(api)
    assert (refused.status_code, int(refused["Retry-After"]) > 240) == (429, True)


def test_wrong_log_ins_to_the_admin_and_the_api_are_counted_together(api, client, user):
    user.is_staff = True
    user.save()
    for _ in range(5):
        log_in(api, "wrong")
        client.post("/admin/login/", {"username": user.email, "password": "wrong"})
    page = client.post("/admin/login/", {"username": user.email, "password": PASSWORD})
    assert page.status_code == 200
    assert b"Too many wrong tries" in page.content
    assert log_in(api).status_code == 429


def test_log_ins_to_the_admin_and_the_api_share_the_rate_of_an_address(api, client, db, settings):
    settings.THROTTLES = {**settings.THROTTLES, "login": (3, 60)}
    log_in(api, "wrong", "one@example.com")
    pages = [
        client.post("/admin/login/", {"username": f"{name}@example.com", "password": "wrong"})
        for name in ("two", "three", "four")
    ]
    assert [b"Too many log-ins" in page.content for page in pages] == [False, False, True]
    assert FailedLogin.objects.count() == 3
    assert log_in(api).status_code == 429


def test_old_sessions_and_attempts_are_deleted(api, user, client):
    log_in(api, "wrong")
    open_session(user, "pytest")
    tasks.delete_old_credentials()
    assert (FailedLogin.objects.count(), Session.objects.count()) == (1, 1)
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        tasks.delete_old_credentials()
        assert (FailedLogin.objects.count(), Session.objects.count()) == (0, 1)
    with time_machine.travel(timezone.now() + timedelta(days=40)):
        tasks.delete_old_credentials()
        assert not Session.objects.exists()
