from datetime import UTC, datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import F, Model, QuerySet
from django.db.models.expressions import OrderBy
from django.forms import CharField, Form
from django_filters import rest_framework as filters
from django_filters.fields import BaseCSVField, IsoDateTimeField
from drf_spectacular.utils import extend_schema_field

from detections import search
from detections.models import Detection, DetectionQuerySet, DetectionResult

M = TypeVar("M", bound=Model)


class FilterForm(Form):
    """Refuses conditions without a value: an empty one is a mistake, not a wish for everything."""

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
        except OverflowError as error:  # at the ends of the years 1 and 9999
            raise ValidationError("Enter a time that there is in UTC.", "invalid") from error


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]  # untyped library
    field_class = MomentField


class Ordering(filters.OrderingFilter):  # type: ignore[misc]  # untyped library
    """Rows that are equal in the chosen field are ordered by id, so that pages have each row once."""

    def filter(self, queryset: QuerySet[M], value: list[str] | None) -> QuerySet[M]:
        fields = [self.get_ordering_value(param) for param in value or () if param]
        if not fields:
            return queryset
        return queryset.order_by(*map(order_by_field, fields), "-id" if fields[0].startswith("-") else "id")


def order_by_field(field: str) -> OrderBy:
    """NULLs come last, in descending order first, as in PostgreSQL's indexes."""
    name = F(field.removeprefix("-"))
    return name.desc(nulls_first=True) if field.startswith("-") else name.asc(nulls_last=True)


def confidence(help_text: str) -> filters.NumberFilter:
    bounds = extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
    return bounds(filters.NumberFilter(min_value=0, max_value=1, help_text=help_text))


class DetectionFilter(filters.FilterSet):  # type: ignore[misc]  # untyped library
    """The conditions of a history; `detections.search` applies them, for exports as well."""

    status = filters.ChoiceFilter(choices=Detection.Status.choices)
    object_class = filters.CharFilter(
        max_length=100, help_text="An image has a result of this class of the model's."
    )
    min_confidence = confidence(
        "A result has at least this confidence (and this `object_class`, if it is given)."
    )
    created_after = MomentFilter()
    created_before = MomentFilter()
    detector = filters.CharFilter(max_length=100)
    search = filters.CharFilter(max_length=200, help_text="A text in its name or in the names of its images.")
    ordering = Ordering(
        fields=["created_at", "finished_at", "name", "total"], help_text="By default the newest come first."
    )

    class Meta:
        model = Detection
        fields: tuple[str, ...] = ()
        form = FilterForm

    def filter_queryset(self, queryset: DetectionQuerySet) -> QuerySet[Detection]:
        conditions = self.form.cleaned_data
        detections = search.filter_detections(queryset, self.request.user, conditions)
        # django-filter has no types.
        return self.filters["ordering"].filter(detections, conditions["ordering"])  # type: ignore[no-any-return]  # untyped library


class ResultFilter(filters.FilterSet):  # type: ignore[misc]  # untyped library
    object_class = filters.CharFilter(max_length=100, help_text="The model's own, whatever the review says.")
    min_confidence = confidence("The result has at least this confidence.")
    created_after = MomentFilter(help_text="The result was found at this time or later.")
    created_before = MomentFilter(help_text="The result was found before this time.")
    detector = filters.CharFilter(max_length=100, help_text="Name of the detector that found it.")
    review = filters.ChoiceFilter(
        choices=DetectionResult.Review.choices, help_text="`none`: those that wait for a review."
    )
    ordering = Ordering(
        fields=["confidence"], help_text="By confidence; by default the newest results come first."
    )

    class Meta:
        model = DetectionResult
        fields: tuple[str, ...] = ()
        form = FilterForm

    def filter_queryset(self, queryset: QuerySet[DetectionResult]) -> QuerySet[DetectionResult]:
        conditions = self.form.cleaned_data
        results = search.filter_results(queryset, conditions)
        # django-filter has no types.
        return self.filters["ordering"].filter(results, conditions["ordering"])  # type: ignore[no-any-return]  # untyped library
