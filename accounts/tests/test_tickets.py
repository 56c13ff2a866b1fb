"""Tickets open one stream each, shortly after they were issued."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import keys, tasks
from accounts.models import Session, Ticket, User
from accounts.tokens import issue_ticket, redeem_ticket

pytestmark = pytest.mark.django_db
URL = "/api/v1/auth/ws-ticket"


@pytest.fixture
def session(user):
    return Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1))


def later(seconds):
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds))


def test_a_session_gets_a_ticket_of_30_seconds(api, user):
    answer = api(user).post(URL)
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 30)
    assert redeem_ticket(answer.json()["ticket"]) == user.sessions.get()
    assert answer.headers["Cache-Control"] == "no-store"


def test_neither_strangers_nor_api_keys_get_tickets(api, user):
    key = keys.issue(user, "Camera", ["read", "detect", "account"], None)[1]
    assert api().post(URL).status_code == 401
    assert api().post(URL, headers={"X-API-Key": key}).status_code == 403
    assert not Ticket.objects.exists()


def test_a_ticket_is_not_stored(session):
    ticket = issue_ticket(session)
    assert Ticket.objects.get().hash not in ticket
    assert len(Ticket.objects.get().hash) == 64


def test_a_ticket_is_taken_once(session):
    ticket = issue_ticket(session)
    assert redeem_ticket(ticket) == session
    assert redeem_ticket(ticket) is None


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_five_requests_with_one_ticket_one_gets_in(session, at_once):
    ticket = issue_ticket(session)
    found = at_once(*[lambda: redeem_ticket(ticket)] * 5)
    assert sorted(found, key=bool) == [None] * 4 + [session]


def test_a_ticket_is_taken_within_30_seconds(session):
    first, second = issue_ticket(session), issue_ticket(session)
    with later(28):
        assert redeem_ticket(first) == session
    with later(32):
        assert redeem_ticket(second) is None


@pytest.mark.parametrize(
    "end",
    [
        lambda session: Session.objects.filter(pk=session.pk).revoke(),
        lambda _: Session.objects.update(expires_at=timezone.now()),
        lambda _: User.objects.update(is_active=False),
        lambda session: session.delete(),
    ],
)
def test_a_ticket_ends_with_its_session(session, end):
    ticket = issue_ticket(session)
    end(session)
    assert redeem_ticket(ticket) is None


@pytest.mark.parametrize(
    "change", [lambda ticket: ticket[:-1], lambda ticket: "x" + ticket, lambda _: "", lambda _: "é"]
)
def test_a_made_up_ticket_costs_no_query(session, change, django_assert_num_queries):
    ticket = change(issue_ticket(session))
    with django_assert_num_queries(0):
        assert redeem_ticket(ticket) is None


def test_old_tickets_are_deleted(session):
    issue_ticket(session)
    with later(60):
        kept = issue_ticket(session)
        tasks.delete_old_credentials()
        assert Ticket.objects.count() == 1
        assert redeem_ticket(kept) == session
