from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.utils.timezone import now

from notifications import tasks
from notifications.models import Event, first_id_at

pytestmark = pytest.mark.django_db


def events(user, count=1, age=timedelta(0)):
    first = first_id_at(now() - age).int + user.pk.int % 2**64
    return Event.objects.bulk_create(
        Event(pk=UUID(int=first + number), user=user, type="detection.started", subject_id=user.pk)
        for number in range(count)
    )


def test_the_first_id_of_a_time_lies_between_those_made_before_and_after():
    made = Event().pk
    assert first_id_at(now() - timedelta(milliseconds=50)) < made < first_id_at(now() + timedelta(seconds=1))


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_beyond_all_ids_has_a_first_id(year):
    assert first_id_at(datetime(year, 1, 1, tzinfo=UTC))


def test_events_since_a_time_come_oldest_first(user, stranger):
    events(user, age=timedelta(minutes=3))
    second, third = *events(user, age=timedelta(minutes=2)), *events(user, age=timedelta(minutes=1))
    events(stranger)
    assert list(user.events.since(now() - timedelta(minutes=2, seconds=1))) == [second, third]


def test_events_are_deleted_after_7_days_in_chunks(user, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(Event, "DELETED_AT_ONCE", 2)
    events(user, 5, age=timedelta(days=7, minutes=1))
    [kept] = events(user, age=timedelta(days=6, hours=23))
    with django_assert_num_queries(3 * 2 + 1):
        assert Event.objects.delete_outdated() == 5
    events(user, age=timedelta(days=8))
    tasks.delete_old_rows()
    assert Event.objects.get() == kept


def test_events_go_with_their_user(user, stranger):
    events(user)
    [other] = events(stranger)
    user.delete()
    assert Event.objects.get() == other
