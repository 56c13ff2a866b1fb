from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, SolarSchedule

from objectvision.beat import Scheduler
from objectvision.celery import app

pytestmark = pytest.mark.django_db(transaction=True)  # it closes connections


@pytest.fixture
def sent(monkeypatch):
    """The names of the tasks that were sent, in place of a broker."""
    names = []
    app.loader.import_default_modules()  # as beat does: it knows the tasks
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda task, *_, **__: names.append(task.name))
    return names


def run(scheduler, clock, seconds):
    """Ticks once a second, as beat does."""
    for _ in range(seconds):
        scheduler.tick()
        clock.shift(timedelta(seconds=1))


@pytest.mark.parametrize("restarted", [False, True])
def test_sweeps_go_on_after_the_clock_is_set_back(sent, restarted):
    begun = timezone.now()
    with time_machine.travel(begun, tick=False) as clock:
        scheduler = Scheduler(app=app)
        run(scheduler, clock, 15)
        assert {"detections.sweep", "notifications.sweep"} <= set(sent)
        scheduler.sync()
        sent.clear()
        clock.move_to(begun - timedelta(hours=1))
        if restarted:
            scheduler = Scheduler(app=app)
        run(scheduler, clock, 30)
    assert sent.count("detections.sweep") == sent.count("notifications.sweep") == 2


def test_the_last_run_is_not_in_the_future_after_the_clock_is_set_back(sent):
    PeriodicTask.objects.all().delete()
    begun = timezone.now()
    with time_machine.travel(begun, tick=False) as clock:
        scheduler = Scheduler(app=app)
        run(scheduler, clock, 15)
        clock.move_to(begun - timedelta(hours=1))
        run(scheduler, clock, 30)
        scheduler.sync()
        assert PeriodicTask.objects.get(name="sweep").last_run_at <= timezone.now()


def every(days):
    return {"interval": IntervalSchedule.objects.create(every=days, period="days")}


UNREADABLE = {
    "headers": lambda: {**every(1), "headers": "[1]"},
    "beyond all durations": lambda: every(2_147_483_647),
    "beyond all calendars": lambda: every(999_999_999),
    "without ephem": lambda: {"solar": SolarSchedule.objects.create(event="sunset", latitude=1, longitude=1)},
    "arguments": lambda: {**every(1), "kwargs": '{"a": {"__type__": "uuid", "__value__": {}}}'},
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("restarted", [False, True])
def test_an_unreadable_task_does_not_stop_the_others(sent, kind, restarted):
    begun = timezone.now()
    with time_machine.travel(begun, tick=False) as clock:
        scheduler = Scheduler(app=app)
        run(scheduler, clock, 15)
        sent.clear()
        PeriodicTask.objects.create(name="broken", task="accounts.forget", **UNREADABLE[kind]())
        if restarted:
            scheduler = Scheduler(app=app)
        run(scheduler, clock, 30)
    assert min(sent.count("detections.sweep"), sent.count("notifications.sweep")) >= 2
