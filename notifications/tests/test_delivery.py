"""Sending mails through Brevo: each arrives once, also after errors and when workers die."""

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings as configured
from django.utils import timezone

from notifications import tasks
from notifications.mail import delivery, outbox
from notifications.mail.outbox import Kind
from notifications.models import Mail
from testing import services
from testing.peers.brevo import KEY, Answer

ADA = "ada@example.com"
NOW = "2026-11-25 12:00:00"
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def row(db, brevo, clock):
    outbox.queue_mail(Kind.WELCOME, ADA)
    return Mail.objects.get()


def send(row):
    delivery.send_next_mail()
    row.refresh_from_db()
    return row


def test_the_request_to_brevo_has_its_fields(row, brevo, settings):
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
    assert text.startswith("Hello,\n\nYour address is confirmed")
    assert html.startswith("<!doctype html>")
    assert (row.attempts, row.claim, row.error, row.sent_at) == (1, None, "", timezone.now())


def test_a_mail_is_not_sent_twice(row, brevo):
    send(row)
    assert delivery.send_next_mail() is False
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
def test_a_temporary_refusal_is_retried_later(row, brevo, caplog, answer, error, delay, level):
    brevo.answers = [answer]
    send(row)
    assert (row.state, row.attempts, row.error, row.claim) == ("waiting", 1, error, None)
    assert row.due_at == timezone.now() + delay
    assert [(record.levelname, record.name) for record in caplog.records] == [
        (level, "notifications.mail.delivery")
    ]
    assert ADA not in caplog.text
    assert KEY not in caplog.text


def test_a_permanent_refusal_fails_the_mail_at_once(row, brevo):
    brevo.answers = [Answer(400, {"code": "invalid_parameter", "message": "email is not valid in to"})]
    send(row)
    assert (row.state, row.attempts) == ("failed", 1)
    assert row.error == "400 invalid_parameter: email is not valid in to"


def test_a_long_error_of_brevo_is_shortened(row, brevo):
    brevo.answers = [Answer(400, {"code": "invalid_parameter", "message": "x" * 5000})]
    assert len(send(row).error) == 300


def test_a_timeout_is_retried_and_the_mail_arrives_once(row, brevo, clock):
    """Brevo has accepted the mail; its answer is lost."""
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


def test_a_refused_connection_is_retried(row, settings):
    settings.ANYMAIL = {**settings.ANYMAIL, "BREVO_API_URL": f"http://127.0.0.1:{services.free_port()}/v3"}
    send(row)
    assert (row.state, row.error) == ("waiting", "No answer: ConnectionError")


def test_an_answer_that_is_not_brevos_is_retried(row, brevo):
    brevo.answers = [Answer(200, b"<html>a proxy</html>")]
    assert send(row).state == "waiting"


def test_calls_time_out_within_half_a_lease(read_settings):
    assert read_settings()["ANYMAIL"]["REQUESTS_TIMEOUT"] == (5, 10)
    assert sum(read_settings()["ANYMAIL"]["REQUESTS_TIMEOUT"]) * SECOND < Mail.LEASE / 2


def test_a_mail_is_tried_for_about_a_day_and_then_fails(row, brevo, clock):
    brevo.answers = [Answer(500)] * 10
    began, pauses = timezone.now(), []
    while send(row).state == "waiting":
        pauses.append(row.due_at - timezone.now())
        clock.shift(row.due_at - timezone.now() - SECOND)
        assert delivery.send_next_mail() is False
        clock.shift(1)
    assert pauses == [minutes * MINUTE for minutes in (1, 5, 30, 120, 480, 720)]
    assert (row.state, row.attempts, row.error) == ("failed", 7, "500 : ")
    assert 22 * HOUR < timezone.now() - began < 24 * HOUR


@pytest.mark.postgresql
def test_concurrent_workers_send_each_mail_once(at_once, brevo):
    for number in range(20):
        outbox.queue_mail(Kind.WELCOME, f"{number}@example.com")

    def work():
        while delivery.send_next_mail():
            pass

    at_once(*[work] * 8)
    while delivery.send_next_mail():  # workers that lost every race have ended
        pass
    assert set(Mail.objects.values_list("state", "attempts")) == {("sent", 1)}
    assert len(brevo.asked) == len(brevo.accepted) == 20


def taken(row, *, ago):
    """Claims the mail, as if that long ago."""
    row.take()
    Mail.objects.filter(pk=row.pk).update(claimed_at=timezone.now() - ago)


def test_a_mail_whose_worker_dies_after_sending_arrives_once(row, brevo, eager, clock):
    send(row)
    Mail.objects.update(state="waiting", sent_at=None)
    taken(row, ago=timedelta(0))  # the worker died before it recorded the sending
    clock.shift(119)
    tasks.sweep_notifications()
    assert len(brevo.asked) == 1
    clock.shift(2)
    tasks.sweep_notifications()
    row.refresh_from_db()
    assert (row.state, row.claim) == ("sent", None)
    first, second = (asked.body["headers"]["idempotencyKey"] for asked in brevo.asked)
    assert first == second
    assert len(brevo.accepted) == 1


def test_a_mail_claimed_before_the_clock_was_set_back_is_sent_again(row, clock):
    assert Mail.objects.claim() == row
    clock.shift(-3600)
    Mail.objects.release_lapsed()
    row.refresh_from_db()
    assert (row.state, row.claim) == ("waiting", None)


def test_a_mail_that_kills_its_worker_each_time_fails(row, clock):
    for _ in range(7):
        assert Mail.objects.claim() == row
        clock.shift(121)
        Mail.objects.release_lapsed()
    row.refresh_from_db()
    assert (row.state, row.attempts, row.claim) == ("failed", 7, None)
    assert row.error == "The worker that was sending it has not come back."


def test_a_late_worker_does_not_end_the_claim_of_another(row):
    late = Mail.objects.claim()
    taken(row, ago=3 * MINUTE)
    Mail.objects.release_lapsed()
    other = Mail.objects.claim()
    late.fail("late")
    row.refresh_from_db()
    assert (row.state, row.claim) == ("sending", other.claim)


def test_an_invalid_address_fails_without_a_request_to_brevo(db, brevo, caplog):
    row = Mail.objects.create(kind=Kind.WELCOME, to="ada@@example.com, eve@example.com", state="waiting")
    send(row)
    assert (row.state, brevo.asked) == ("failed", [])


def test_an_address_that_cannot_be_encoded_fails_and_other_mails_are_sent(db, settings, caplog):
    settings.EMAIL_BACKEND = "notifications.mail.console.EmailBackend"
    for address in ("ada@" + "\u00fc" * 60 + ".com", ADA):
        outbox.queue_mail(Kind.WELCOME, address)
    assert [delivery.send_next_mail() for _ in range(3)] == [True, True, False]
    assert list(Mail.objects.order_by("pk").values_list("state", flat=True)) == ["failed", "sent"]
    assert "cannot be sent" in caplog.text


def test_mails_without_an_active_user_are_dropped(db, brevo, user, stranger):
    user.email_verified_at = timezone.now()
    user.save()
    stranger.is_active = False
    stranger.save()
    outbox.queue_requested_mail(Kind.VERIFY_EMAIL, user.email)  # verified already
    for kind in (Kind.VERIFY_EMAIL, Kind.PASSWORD_RESET):
        outbox.queue_requested_mail(kind, stranger.email)
        outbox.queue_requested_mail(kind, "nobody@example.com")
    while delivery.send_next_mail():
        pass
    assert set(Mail.objects.values_list("state", flat=True)) == {"dropped"}
    assert brevo.asked == []


def test_the_mail_about_a_deleted_account_is_sent_after_the_deletion(db, brevo, user):
    outbox.queue_mail(Kind.ACCOUNT_DELETED, user.email)
    user.delete()
    delivery.send_next_mail()
    (asked,) = brevo.asked
    assert asked.body["subject"] == "Your account at ObjectVision is deleted"
    assert configured.EMAIL_BACKEND == "anymail.backends.brevo.EmailBackend"
