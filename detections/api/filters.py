from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy
from django.forms import CharField, Form
from django_filters import rest_framework as filters
from django_filters.fields import BaseCSVField, IsoDateTimeField
from drf_spectacular.utils import extend_schema_field

from detections import reports
from detections.models import Detection, DetectionQuerySet, DetectionResult


class FilterForm(Form):
    """A condition that is there has a value: an empty one is a mistake, not a wish for everything."""

    def clean(self) -> dict[str, Any]:
        for name, field in self.fields.items():
            if self.data.get(name) == "" and not isinstance(field, CharField | BaseCSVField):
                self.add_error(name, ValidationError(f"{name} has no value.", "invalid"))
        return self.cleaned_data


class MomentField(IsoDateTimeField):  # type: ignore[misc]  # untyped library
    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError as error:  # a time of the year 1 or 9999 that is another year's in UTC
            raise ValidationError("Enter a time that there is in UTC.", "invalid") from error


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]  # untyped library
    field_class = MomentField


class Ordering(filters.OrderingFilter):  # type: ignore[misc]  # untyped library
    """What is alike in the field asked for is ordered by id, so that pages neither repeat nor leave out."""

    def filter(self, queryset: QuerySet[Detection], value: list[str] | None) -> QuerySet[Detection]:
        fields = [self.get_ordering_value(param) for param in value or () if param]
        if not fields:
            return queryset
        return queryset.order_by(*map(placed, fields), "-id" if fields[0].startswith("-") else "id")


def placed(field: str) -> OrderBy:
    """In this order, what has no value behind all others, or in front where it is turned round, as PostgreSQL
    has it and its indexes."""
    name = F(field.removeprefix("-"))
    return name.desc(nulls_first=True) if field.startswith("-") else name.asc(nulls_last=True)


def confidence(help_text: str) -> filters.NumberFilter:
    bounds = extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
    return bounds(filters.NumberFilter(min_value=0, max_value=1, help_text=help_text))


class DetectionFilter(filters.FilterSet):  # type: ignore[misc]  # untyped library
    """What the conditions mean is said in `reports`, for exports take the same."""

    status = filters.ChoiceFilter(choices=Detection.Status.choices)
    object_class = filters.CharFilter(max_length=100, help_text="Found on it.")
    min_confidence = confidence(
        "Something, or some `object_class`, found on it with at least this confidence."
    )
    created_after = MomentFilter()
    created_before = MomentFilter()
    detector = filters.CharFilter(max_length=100)
    search = filters.CharFilter(max_length=200, help_text="In its name or the names of its images.")
    ordering = Ordering(
        fields=["created_at", "finished_at", "name", "total"], help_text="By default newest first."
    )

    class Meta:
        model = Detection
        fields: tuple[str, ...] = ()
        form = FilterForm

    def filter_queryset(self, queryset: DetectionQuerySet) -> QuerySet[Detection]:
        conditions = self.form.cleaned_data
        detections = reports.narrowed(queryset, self.request.user, conditions)
        return self.filters["ordering"].filter(detections, conditions["ordering"])  # type: ignore[no-any-return]  # untyped library


class ResultFilter(filters.FilterSet):  # type: ignore[misc]  # untyped library
    object_class = filters.CharFilter(max_length=100)
    min_confidence = confidence("Found with at least this confidence.")
    created_after = MomentFilter(help_text="Found at this time or later.")
    created_before = MomentFilter(help_text="Found before this time.")
    detector = filters.CharFilter(max_length=100, help_text="Name of the detector that found it.")

    class Meta:
        model = DetectionResult
        fields: tuple[str, ...] = ()
        form = FilterForm

    def filter_queryset(self, queryset: QuerySet[DetectionResult]) -> QuerySet[DetectionResult]:
        return reports.among(queryset, self.form.cleaned_data)
