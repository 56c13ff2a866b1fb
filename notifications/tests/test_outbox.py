"""Mails as rows: saved in the transaction they report, limited per address, deleted when old."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail as outgoing
from django.db import connection, transaction
from django.utils import timezone

from notifications import tasks
from notifications.mail import outbox
from notifications.mail.outbox import Kind
from notifications.models import Mail
from objectvision.celery import app

ADA = "ada@example.com"
State = Mail.State


def states(**conditions):
    return list(Mail.objects.filter(**conditions).order_by("pk").values_list("state", flat=True))


def test_the_row_of_a_mail_contains_no_secret(db):
    outbox.queue_mail(Kind.WELCOME, "ADA@example.com")
    (row,) = Mail.objects.values()
    assert (row["kind"], row["to"], row["state"], row["attempts"]) == (
        "welcome", ADA, "waiting", 0,
    )  # fmt: skip  # a row to read at a glance
    assert set(row) == {
        "id", "kind", "to", "data", "by_stranger", "state", "attempts", "due_at", "claim", "claimed_at",
        "error", "created_at", "sent_at",
    }  # fmt: skip  # as above


def test_a_mail_is_sent_after_the_commit(transactional_db, eager):
    with transaction.atomic():
        outbox.queue_mail(Kind.WELCOME, ADA)
        assert outgoing.outbox == []
    (sent,) = outgoing.outbox
    assert (sent.to, sent.subject) == ([ADA], "Welcome to ObjectVision")
    assert states() == ["sent"]
    assert Mail.objects.get().sent_at is not None


def test_a_rolled_back_transaction_sends_no_mail(transactional_db, eager):
    with transaction.atomic():
        outbox.queue_mail(Kind.WELCOME, ADA)
        transaction.set_rollback(True)
    assert (outgoing.outbox, states()) == ([], [])


def test_the_celery_message_contains_no_data_of_the_mail(transactional_db):
    with app.connection_for_read() as broker, broker.SimpleQueue("default") as queue:
        queue.clear()
        outbox.queue_mail(Kind.WELCOME, ADA)
        message = queue.get(timeout=1)
    assert message.headers["task"] == "notifications.send_mails"
    assert message.content_type == "application/json"
    assert message.payload[:2] == [[], {}]
    assert states() == ["waiting"]


def test_mails_queued_without_a_broker_are_sent_by_the_sweep(
    transactional_db, closed_redis, read_settings, monkeypatch, eager, caplog
):
    away = read_settings(REDIS_URL=closed_redis)
    with monkeypatch.context() as patch:
        patch.setitem(app.conf, "task_always_eager", False)  # noqa: FBT003  # a setting's value
        patch.setitem(app.conf, "broker_transport", away["CELERY_BROKER_TRANSPORT"])
        patch.setitem(app.conf, "broker_write_url", away["CELERY_BROKER_URL"])
        patch.setitem(app.conf, "broker_transport_options", away["CELERY_BROKER_TRANSPORT_OPTIONS"])
        patch.setattr(app, "_pool", None)
        patch.setattr(app.amqp, "_producer_pool", None)
        with transaction.atomic():
            outbox.queue_mail(Kind.WELCOME, ADA)
    assert "ring_without_connection in on_commit()" in caplog.text
    assert states() == ["waiting"]
    tasks.sweep_notifications()
    assert states() == ["sent"]


def test_each_due_mail_is_sent_once(transactional_db, eager):
    addresses = [f"{name}@example.com" for name in ("ada", "bob", "cyd")]
    for address in addresses:
        Mail.objects.create(kind=Kind.WELCOME, to=address, state=State.WAITING)
    tasks.send_mails()
    assert [sent.to for sent in outgoing.outbox] == [[address] for address in addresses]


def test_an_address_gets_at_most_three_mails_of_a_kind_in_an_hour(db):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(5):
            outbox.queue_mail(Kind.PASSWORD_CHANGED, ADA)
        outbox.queue_mail(Kind.WELCOME, ADA)
        outbox.queue_mail(Kind.PASSWORD_CHANGED, "bob@example.com")
        assert states(kind="password_changed", to=ADA) == ["waiting"] * 3 + ["dropped"] * 2
        assert states(kind="welcome") == states(to="bob@example.com") == ["waiting"]
        clock.shift(3601)
        outbox.queue_mail(Kind.PASSWORD_CHANGED, ADA)
        assert states(kind="password_changed", to=ADA)[-1] == "waiting"


def test_a_request_past_the_limit_says_when_to_try_again(db):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(3):
            outbox.queue_requested_mail(Kind.PASSWORD_RESET, ADA)
            clock.shift(60)
        with pytest.raises(outbox.TooManyMails) as refusal:
            outbox.queue_requested_mail(Kind.PASSWORD_RESET, "ADA@example.com")
        assert refusal.value.retry_after == 3600 - 180
        clock.shift(3600 - 180)
        outbox.queue_requested_mail(Kind.PASSWORD_RESET, ADA)
    assert states() == ["waiting"] * 4


def test_mails_of_the_system_do_not_count_against_requested_ones(db):
    for _ in range(3):
        outbox.queue_mail(Kind.VERIFY_EMAIL, ADA)
    for _ in range(3):
        outbox.queue_requested_mail(Kind.VERIFY_EMAIL, ADA)
    assert states() == ["waiting"] * 6


@pytest.mark.postgresql
def test_of_thirty_concurrent_requests_at_most_three_are_accepted(at_once):
    def ask():
        try:
            outbox.queue_requested_mail(Kind.PASSWORD_RESET, ADA)
        except outbox.TooManyMails:
            return "refused"
        return "heard"

    answers = at_once(*[ask] * 30)
    assert answers.count("heard") <= 3
    assert states() == ["waiting"] * answers.count("heard")


def test_rows_of_old_mails_are_deleted(db):
    now = timezone.now()
    for state, days in (
        ("sent", 29), ("sent", 31), ("failed", 31), ("dropped", 0.9), ("dropped", 1.1), ("waiting", 31),
    ):  # fmt: skip  # a table
        created = now - timedelta(days=days)
        Mail.objects.create(kind=Kind.WELCOME, to=ADA, state=state, created_at=created)
    tasks.delete_old_rows()
    assert states() == ["sent", "dropped", "waiting"]


@pytest.mark.postgresql  # SQLite chooses by itself
def test_due_mails_are_found_by_an_index(db):
    for number in range(300):
        Mail(kind=Kind.WELCOME, to=f"{number}@example.com", state=State.SENT).save()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_mail")
    plan = Mail.objects.due().order_by("due_at", "pk")[:10].explain()
    assert "notifications_mail_due" in plan
