"""Mails on their way to Brevo: each once, whatever it answers and whoever dies meanwhile."""

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings as configured
from django.utils import timezone

from notifications import delivery, mail, tasks
from notifications.mail import Kind
from notifications.models import Mail
from notifications.tests.brevo import KEY, Answer
from objectvision.tests import services

ADA = "ada@example.com"
NOW = "2026-11-25 12:00:00"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def row(db, brevo, clock):
    mail.send(Kind.WELCOME, ADA, "Ada")
    return Mail.objects.get()


def send(row):
    delivery.run()
    row.refresh_from_db()
    return row


def test_brevo_is_asked_for_the_mail_in_its_own_terms(row, brevo, settings):
    settings.DEFAULT_FROM_EMAIL = "Acme <hello@acme.example>"
    assert send(row).state == "sent"
    (asked,) = brevo.asked
    assert (asked.path, asked.headers["api-key"]) == ("/v3/smtp/email", KEY)
    assert asked.headers["Content-Type"] == "application/json"
    text, html = asked.body.pop("textContent"), asked.body.pop("htmlContent")
    assert asked.body == {
        "sender": {"name": "Acme", "email": "hello@acme.example"},
        "to": [{"email": ADA}],
        "subject": "Welcome to ObjectVision",
        "headers": {"idempotencyKey": str(row.pk)},
    }
    assert text.startswith("Hello Ada,\n\nYour address is confirmed")
    assert html.startswith("<!doctype html>")
    assert (row.attempts, row.claim, row.error, row.sent_at) == (1, None, "", timezone.now())


def test_a_mail_is_not_sent_twice(row, brevo):
    send(row)
    assert delivery.run() is False
    assert len(brevo.asked) == 1


@pytest.mark.parametrize(
    ("answer", "error", "delay", "level"),
    [
        (Answer(401, {"code": "unauthorized", "message": "Key not found"}),
         "401 unauthorized: Key not found", MINUTE, "ERROR"),
        (Answer(402, {"code": "not_enough_credits", "message": "No credits"}),
         "402 not_enough_credits: No credits", MINUTE, "ERROR"),
        (Answer(403, {"code": "permission_denied", "message": "Not activated"}),
         "403 permission_denied: Not activated", MINUTE, "ERROR"),
        (Answer(404, b"<html>"), "404 : ", MINUTE, "ERROR"),
        (Answer(429, {"code": "too_many_requests", "message": "Slow down"}, (("Retry-After", "7200"),)),
         "429 too_many_requests: Slow down", 2 * HOUR, "WARNING"),
        (Answer(429, {}, (("x-sib-ratelimit-reset", "90"),)), "429 : ", 90 * SECOND, "WARNING"),
        (Answer(429, {}, (("Retry-After", "5"),)), "429 : ", MINUTE, "WARNING"),
        (Answer(429, {}, (("Retry-After", "soon"),)), "429 : ", MINUTE, "WARNING"),
        (Answer(429, {}, (("Retry-After", "9" * 40),)), "429 : ", 12 * HOUR, "WARNING"),
        (Answer(500, []), "500 : ", MINUTE, "WARNING"),
        (Answer(503, b"busy"), "503 : ", MINUTE, "WARNING"),
    ],
)  # fmt: skip  # a table
def test_what_may_pass_is_tried_again_later(row, brevo, caplog, answer, error, delay, level):
    brevo.answers = [answer]
    send(row)
    assert (row.state, row.attempts, row.error, row.claim) == ("waiting", 1, error, None)
    assert row.due_at == timezone.now() + delay
    assert [(record.levelname, record.name) for record in caplog.records] == [
        (level, "notifications.delivery")
    ]
    assert ADA not in caplog.text
    assert KEY not in caplog.text


def test_a_mail_that_brevo_will_never_take_fails_at_once(row, brevo):
    brevo.answers = [Answer(400, {"code": "invalid_parameter", "message": "email is not valid in to"})]
    send(row)
    assert (row.state, row.attempts) == ("failed", 1)
    assert row.error == "400 invalid_parameter: email is not valid in to"


def test_a_long_reason_is_cut(row, brevo):
    brevo.answers = [Answer(400, {"code": "invalid_parameter", "message": "x" * 5000})]
    assert len(send(row).error) == 300


def test_no_answer_in_time_is_tried_again_and_the_mail_arrives_once(row, brevo, clock):
    """Brevo has taken it; what is lost is its answer."""
    key = str(row.pk)
    brevo.accepted[key] = {"to": [{"email": ADA}]}
    brevo.answers = [Answer(201, {"messageId": "<1@brevo>"}, delay=1.5)]
    send(row)
    assert (row.state, row.error) == ("waiting", "No answer: ReadTimeout")
    clock.shift(60)
    send(row)
    assert (row.state, row.attempts, row.error) == ("sent", 2, "")
    assert [asked.body["headers"]["idempotencyKey"] for asked in brevo.asked] == [key, key]
    assert len(brevo.accepted) == 1


def test_a_refused_connection_is_tried_again(row, settings):
    settings.ANYMAIL = {**settings.ANYMAIL, "BREVO_API_URL": f"http://127.0.0.1:{services.free_port()}/v3"}
    send(row)
    assert (row.state, row.error) == ("waiting", "No answer: ConnectionError")


def test_an_answer_that_is_none_of_brevos_is_tried_again(row, brevo):
    brevo.answers = [Answer(200, b"<html>a proxy</html>")]
    assert send(row).state == "waiting"


def test_the_calls_are_given_up_after_seconds(read_settings):
    assert read_settings()["ANYMAIL"]["REQUESTS_TIMEOUT"] == (5, 10)
    assert sum(read_settings()["ANYMAIL"]["REQUESTS_TIMEOUT"]) * SECOND < Mail.LEASE / 2


def test_it_is_tried_for_about_a_day_and_then_fails(row, brevo, clock):
    brevo.answers = [Answer(500)] * 10
    began, pauses = timezone.now(), []
    while send(row).state == "waiting":
        pauses.append(row.due_at - timezone.now())
        clock.shift(row.due_at - timezone.now() - SECOND)
        assert delivery.run() is False
        clock.shift(1)
    assert pauses == [minutes * MINUTE for minutes in (1, 5, 30, 120, 480, 720)]
    assert (row.state, row.attempts, row.error) == ("failed", 7, "500 : ")
    assert 22 * HOUR < timezone.now() - began < 24 * HOUR


@pytest.mark.postgresql
def test_workers_at_once_send_each_mail_once(at_once, brevo):
    for number in range(20):
        mail.send(Kind.WELCOME, f"{number}@example.com")

    def work():
        while delivery.run():
            pass

    at_once(*[work] * 8)
    while delivery.run():  # who was outrun for every mail it saw has gone home
        pass
    assert set(Mail.objects.values_list("state", "attempts")) == {("sent", 1)}
    assert len(brevo.asked) == len(brevo.accepted) == 20


def taken(row, *, ago):
    """As a worker has it that took it so long ago."""
    row.take()
    Mail.objects.filter(pk=row.pk).update(claimed_at=timezone.now() - ago)


def test_a_worker_that_dies_after_sending_lets_nothing_arrive_twice(row, brevo, eager, clock):
    send(row)
    Mail.objects.update(state="waiting", sent_at=None)
    taken(row, ago=timedelta(0))  # where it died, before it could say so
    clock.shift(119)
    tasks.sweep()
    assert len(brevo.asked) == 1
    clock.shift(2)
    tasks.sweep()
    row.refresh_from_db()
    assert (row.state, row.claim) == ("sent", None)
    first, second = (asked.body["headers"]["idempotencyKey"] for asked in brevo.asked)
    assert first == second
    assert len(brevo.accepted) == 1


def test_a_mail_that_kills_its_worker_each_time_fails(row, clock):
    for _ in range(7):
        assert Mail.objects.claim() == row
        clock.shift(121)
        Mail.objects.release_lapsed()
    row.refresh_from_db()
    assert (row.state, row.attempts, row.claim) == ("failed", 7, None)
    assert row.error == "The worker that was sending it has not come back."


def test_a_worker_that_comes_back_late_ends_nothing_that_another_has(row):
    late = Mail.objects.claim()
    taken(row, ago=3 * MINUTE)
    Mail.objects.release_lapsed()
    other = Mail.objects.claim()
    late.fail("late")
    row.refresh_from_db()
    assert (row.state, row.claim) == ("sending", other.claim)


def test_an_address_that_cannot_even_be_asked_for_fails(db, brevo, caplog):
    row = Mail.objects.create(kind=Kind.WELCOME, to="ada@@example.com, eve@example.com", state="waiting")
    send(row)
    assert (row.state, brevo.asked) == ("failed", [])


def test_an_address_that_cannot_be_written_fails_and_holds_nobody_up(db, settings, caplog):
    settings.EMAIL_BACKEND = "notifications.console.EmailBackend"
    for address in ("ada@" + "\u00fc" * 60 + ".com", ADA):
        mail.send(Kind.WELCOME, address)
    assert [delivery.run(), delivery.run(), delivery.run()] == [True, True, False]
    assert list(Mail.objects.order_by("pk").values_list("state", flat=True)) == ["failed", "sent"]
    assert "cannot be sent" in caplog.text


def test_mails_for_nobody_are_dropped(db, brevo, user, stranger):
    user.email_verified_at = timezone.now()
    user.save()
    stranger.is_active = False
    stranger.save()
    mail.ask(Kind.VERIFY_EMAIL, user.email)  # verified already
    for kind in (Kind.VERIFY_EMAIL, Kind.PASSWORD_RESET):
        mail.ask(kind, stranger.email)
        mail.ask(kind, "nobody@example.com")
    while delivery.run():
        pass
    assert set(Mail.objects.values_list("state", flat=True)) == {"dropped"}
    assert brevo.asked == []


def test_a_mail_about_an_account_outlives_it(db, brevo, user):
    mail.send(Kind.ACCOUNT_DELETED, user.email, user.name)
    user.delete()
    delivery.run()
    (asked,) = brevo.asked
    assert asked.body["subject"] == "Your account at ObjectVision is deleted"
    assert configured.EMAIL_BACKEND == "anymail.backends.brevo.EmailBackend"
