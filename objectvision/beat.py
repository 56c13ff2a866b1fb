import logging
from typing import Any

from django.db import Error
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

log = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """The library's stops all tasks when the clock is put back or a row cannot be read. This one goes on."""

    def tick(self, *arguments: Any, **options: Any) -> float:
        now = timezone.now()
        if ahead := [entry for entry in self.schedule.values() if entry.last_run_at > now]:
            for entry in ahead:
                entry.last_run_at = now
            self.populate_heap()  # it is sorted by the time at which each entry is due
        seconds: float = super().tick(*arguments, **options)
        return seconds

    def all_as_schedule(self) -> dict[str, ModelEntry]:
        entries = {row.name: self.entry_of(row) for row in self.enabled_models()}
        return {name: entry for name, entry in entries.items() if entry is not None}

    def entry_of(self, row: PeriodicTask) -> ModelEntry | None:
        """None for a row that cannot be read."""
        try:
            return self.Entry(row, app=self.app)
        except Error:  # the database is at fault, not the row
            raise
        except Exception:  # staff write rows, and the library checks few of their values
            log.exception("The periodic task %r is skipped: its row cannot be read", row.name)
            return None
