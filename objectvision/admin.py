"""The admin of Celery beat's schedule. The tasks of `CELERY_BEAT_SCHEDULE` are read-only."""

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from django_celery_beat import admin as beat  # its own registrations come first
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from kombu.utils.json import loads

LONGEST_INTERVAL = timedelta(days=3650)
SHORTEST_INTERVAL = timedelta(seconds=1)
# Errors of parsing: kombu reads some objects as dates, UUIDs and decimals.
PARSE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class TaskForm(beat.PeriodicTaskForm):  # type: ignore[misc]  # it has no types
    """Refuses values that beat could not read."""

    def clean_args(self) -> str:
        return self.json_of("args", list, "list")

    def clean_kwargs(self) -> str:
        return self.json_of("kwargs", dict, "object")

    def clean_headers(self) -> str:
        return self.json_of("headers", dict, "object")

    def json_of(self, field: str, kind: type, name: str) -> str:
        text: str = self.cleaned_data[field]
        try:
            is_right = isinstance(loads(text), kind)
        except PARSE_ERRORS as error:
            raise ValidationError("It is no valid JSON.") from error
        if not is_right:
            raise ValidationError(f"It must be a JSON {name}.")
        return text

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean()
        for field in ("interval", "crontab", "clocked"):
            if data.get(field):
                check_schedule(field, data[field])
        return data


def check_schedule(field: str, row: Any) -> None:
    try:
        row.schedule.is_due(timezone.now())
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise ValidationError({field: f"Its next time cannot be computed: {error}"}) from error


class IntervalForm(ModelForm):
    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("every") is None or not data.get("period"):
            return data
        try:
            every = timedelta(**{data["period"]: data["every"]})
        except OverflowError:
            every = timedelta.max
        if not SHORTEST_INTERVAL <= every <= LONGEST_INTERVAL:
            raise ValidationError({"every": "An interval is one second at least and 3650 days at most."})
        return data


def is_fixed(row: Model | None) -> bool:
    """Whether the row is a task of `CELERY_BEAT_SCHEDULE`, or a schedule that one uses."""
    if row is None:
        return False
    tasks = PeriodicTask.objects.filter(name__in=settings.CELERY_BEAT_SCHEDULE)
    which = {"pk": row.pk} if isinstance(row, PeriodicTask) else {f"{schedule_field(row)}_id": row.pk}
    return bool(tasks.filter(**which).exists())


def schedule_field(schedule: Model) -> str:
    """The field of `PeriodicTask` that refers to such a schedule."""
    return type(schedule).__name__.removesuffix("Schedule").lower()


class FixedRows(admin.ModelAdmin):
    """Fixed rows cannot be changed or deleted; deleting a schedule would delete its tasks."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and not is_fixed(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_fixed(obj)


class PeriodicTaskAdmin(FixedRows, beat.PeriodicTaskAdmin):  # type: ignore[misc]  # it has no types
    """The library's actions need the right to change tasks, and leave fixed ones enabled."""

    form = TaskForm
    fieldsets: ClassVar[Any] = tuple(
        (title, {**options, "fields": [name for name in options["fields"] if name != "solar"]})
        for title, options in beat.PeriodicTaskAdmin.fieldsets
    )

    @admin.action(description="Enable selected tasks", permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().enable_tasks(request, queryset)

    @admin.action(description="Disable selected tasks", permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().disable_tasks(request, without_fixed(queryset))

    @admin.action(description="Toggle activity of selected tasks", permissions=["change"])
    def toggle_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().toggle_tasks(request, without_fixed(queryset))

    @admin.action(description="Run selected tasks", permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().run_tasks(request, queryset)


def without_fixed(tasks: QuerySet[Any]) -> QuerySet[Any]:
    return tasks.exclude(name__in=settings.CELERY_BEAT_SCHEDULE)


class IntervalAdmin(FixedRows, beat.IntervalScheduleAdmin):  # type: ignore[misc]  # as above
    form = IntervalForm


class CrontabAdmin(FixedRows, beat.CrontabScheduleAdmin):  # type: ignore[misc]  # as above
    pass


class ClockedAdmin(FixedRows, beat.ClockedScheduleAdmin):  # type: ignore[misc]  # as above
    pass


MODEL_ADMINS: dict[type[Model], type[Any]] = {
    PeriodicTask: PeriodicTaskAdmin,
    IntervalSchedule: IntervalAdmin,
    CrontabSchedule: CrontabAdmin,
    ClockedSchedule: ClockedAdmin,
}
admin.site.unregister(SolarSchedule)  # needs a library that is not installed
for model, model_admin in MODEL_ADMINS.items():
    admin.site.unregister(model)
    admin.site.register(model, model_admin)
