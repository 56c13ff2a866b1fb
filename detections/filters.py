from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.forms import CharField, Form
from django_filters import rest_framework as filters
from django_filters.fields import BaseCSVField, IsoDateTimeField
from drf_spectacular.utils import extend_schema_field

from detections.models import Detection, DetectionImage, DetectionResult


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
        return queryset.order_by(*fields, "-id" if fields[0].startswith("-") else "id")


class DetectionFilter(filters.FilterSet):  # type: ignore[misc]  # untyped library
    status = filters.ChoiceFilter(choices=Detection.Status.choices)
    object_class = filters.CharFilter(max_length=100, help_text="Found on it.", method="by_class")
    min_confidence = extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})(
        filters.NumberFilter(
            min_value=0,
            max_value=1,
            help_text="Something, or some `object_class`, found on it with at least this confidence.",
            method="by_confidence",
        )
    )
    created_after = MomentFilter("created_at", "gte")
    created_before = MomentFilter("created_at", "lt")
    detector = filters.CharFilter("detector__name", max_length=100)
    search = filters.CharFilter(
        max_length=200, help_text="In its name or the names of its images.", method="by_names"
    )
    ordering = Ordering(
        fields=["created_at", "finished_at", "name", "total"], help_text="By default newest first."
    )

    class Meta:
        model = Detection
        fields: tuple[str, ...] = ()
        form = FilterForm

    def by_class(self, queryset: QuerySet[Detection], name: str, value: str) -> QuerySet[Detection]:  # noqa: ARG002  # django-filter passes it
        least = self.form.cleaned_data["min_confidence"]
        return queryset.filter(found(object_class=value, confidence__gte=least or 0))

    def by_confidence(self, queryset: QuerySet[Detection], name: str, value: Any) -> QuerySet[Detection]:  # noqa: ARG002  # django-filter passes it
        if self.form.cleaned_data["object_class"]:
            return queryset  # one and the same result has to fulfil both
        return queryset.filter(found(confidence__gte=value))

    def by_names(self, queryset: QuerySet[Detection], name: str, value: str) -> QuerySet[Detection]:  # noqa: ARG002  # django-filter passes it
        images = DetectionImage.objects.filter(
            user=self.request.user, detection=OuterRef("pk"), original_name__icontains=value
        )
        return queryset.filter(Q(name__icontains=value) | Exists(images))


def found(**lookups: Any) -> Exists:
    return Exists(DetectionResult.objects.filter(detection=OuterRef("pk"), **lookups))
