"""Mails as rows: written with what they tell of, bounded for each address, forgotten in the end."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail as outgoing
from django.db import connection, transaction
from django.utils import timezone

from notifications import mail, tasks
from notifications.mail import Kind
from notifications.models import Mail
from objectvision.celery import app

ADA = "ada@example.com"
State = Mail.State


def states(**conditions):
    return list(Mail.objects.filter(**conditions).order_by("pk").values_list("state", flat=True))


def test_a_mail_waits_in_a_row_that_holds_no_secret(db):
    mail.send(Kind.WELCOME, "ADA@example.com", " Ada \r\n Lovelace\t")
    (row,) = Mail.objects.values()
    assert (row["kind"], row["to"], row["name"], row["state"], row["attempts"]) == (
        "welcome", ADA, "Ada Lovelace", "waiting", 0,
    )  # fmt: skip  # a row to read at a glance
    assert set(row) == {
        "id", "kind", "to", "name", "by_stranger", "state", "attempts", "due_at", "claim", "claimed_at",
        "error", "created_at", "sent_at",
    }  # fmt: skip  # as above


def test_it_is_sent_once_what_it_tells_of_is_committed(transactional_db, eager):
    with transaction.atomic():
        mail.send(Kind.WELCOME, ADA, "Ada")
        assert outgoing.outbox == []
    (sent,) = outgoing.outbox
    assert (sent.to, sent.subject) == ([ADA], "Welcome to ObjectVision")
    assert states() == ["sent"]
    assert Mail.objects.get().sent_at is not None


def test_what_is_rolled_back_tells_nobody(transactional_db, eager):
    with transaction.atomic():
        mail.send(Kind.WELCOME, ADA)
        transaction.set_rollback(True)
    assert (outgoing.outbox, states()) == ([], [])


def test_the_message_names_no_mail(transactional_db):
    with app.connection_for_read() as broker, broker.SimpleQueue("default") as queue:
        queue.clear()
        mail.send(Kind.WELCOME, ADA)
        message = queue.get(timeout=1)
    assert message.headers["task"] == "notifications.send_mails"
    assert message.content_type == "application/json"
    assert message.payload[:2] == [[], {}]
    assert states() == ["waiting"]


def test_a_broker_that_is_away_fails_no_request_and_the_sweep_rings_again(
    transactional_db, closed_redis, read_settings, monkeypatch, eager, caplog
):
    away = read_settings(REDIS_URL=closed_redis)
    with monkeypatch.context() as patch:
        patch.setitem(app.conf, "task_always_eager", False)  # noqa: FBT003  # a setting's value
        patch.setitem(app.conf, "broker_write_url", away["CELERY_BROKER_URL"])
        patch.setitem(app.conf, "broker_transport_options", away["CELERY_BROKER_TRANSPORT_OPTIONS"])
        patch.setattr(app, "_pool", None)
        patch.setattr(app.amqp, "_producer_pool", None)
        with transaction.atomic():
            mail.send(Kind.WELCOME, ADA)
    assert "Error calling ring in on_commit()" in caplog.text
    assert states() == ["waiting"]
    tasks.sweep()
    assert states() == ["sent"]


def test_all_that_are_due_are_sent_a_task_each(transactional_db, eager):
    addresses = [f"{name}@example.com" for name in ("ada", "bob", "cyd")]
    for address in addresses:
        Mail.objects.create(kind=Kind.WELCOME, to=address, state=State.WAITING)
    tasks.send_mails()
    assert [sent.to for sent in outgoing.outbox] == [[address] for address in addresses]


def test_an_address_is_told_the_same_three_times_an_hour_at_most(db):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(5):
            mail.send(Kind.PASSWORD_CHANGED, ADA)
        mail.send(Kind.WELCOME, ADA)
        mail.send(Kind.PASSWORD_CHANGED, "bob@example.com")
        assert states(kind="password_changed", to=ADA) == ["waiting"] * 3 + ["dropped"] * 2
        assert states(kind="welcome") == states(to="bob@example.com") == ["waiting"]
        clock.shift(3601)
        mail.send(Kind.PASSWORD_CHANGED, ADA)
        assert states(kind="password_changed", to=ADA)[-1] == "waiting"


def test_who_asks_past_the_bound_is_told_when_there_is_room_again(db):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(3):
            mail.ask(Kind.PASSWORD_RESET, ADA)
            clock.shift(60)
        with pytest.raises(mail.TooManyMailsError) as refusal:
            mail.ask(Kind.PASSWORD_RESET, "ADA@example.com")
        assert refusal.value.wait == 3600 - 180
        clock.shift(3600 - 180)
        mail.ask(Kind.PASSWORD_RESET, ADA)
    assert states() == ["waiting"] * 4


def test_what_the_system_sends_leaves_a_stranger_as_many_as_an_unknown_address_has(db):
    for _ in range(3):
        mail.send(Kind.VERIFY_EMAIL, ADA)
    for _ in range(3):
        mail.ask(Kind.VERIFY_EMAIL, ADA)
    assert states() == ["waiting"] * 6


@pytest.mark.postgresql
def test_of_thirty_who_ask_at_once_three_are_heard_at_most(at_once):
    def ask():
        try:
            mail.ask(Kind.PASSWORD_RESET, ADA)
        except mail.TooManyMailsError:
            return "refused"
        return "heard"

    answers = at_once(*[ask] * 30)
    assert answers.count("heard") <= 3
    assert states() == ["waiting"] * answers.count("heard")


def test_what_became_of_mails_is_forgotten(db):
    now = timezone.now()
    for state, days in (
        ("sent", 29), ("sent", 31), ("failed", 31), ("dropped", 0.9), ("dropped", 1.1), ("waiting", 31),
    ):  # fmt: skip  # a table
        created = now - timedelta(days=days)
        Mail.objects.create(kind=Kind.WELCOME, to=ADA, state=state, created_at=created)
    tasks.forget()
    assert states() == ["sent", "dropped", "waiting"]


@pytest.mark.postgresql  # SQLite chooses by itself
def test_the_worker_finds_what_is_due_by_an_index(db):
    for number in range(300):
        Mail(kind=Kind.WELCOME, to=f"{number}@example.com", state=State.SENT).save()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notifications_mail")
    plan = Mail.objects.due().order_by("due_at", "pk")[:10].explain()
    assert "notifications_mail_due" in plan
