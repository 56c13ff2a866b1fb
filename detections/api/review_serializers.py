from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.api.permissions import may_read
from detections.api import examples
from detections.api.serializers import CLASSES_LENGTH, ImageResultSerializer
from detections.models import CLASS_LENGTH, DetectionResult
from objectvision.api.errors import invalid
from objectvision.api.examples import answered, sent
from objectvision.api.fields import NumberField, TextField, TextsField
from objectvision.api.serializers import StrictSerializer

Review = DetectionResult.Review

SMALLEST_SIDE = 0.00001  # of a box: the largest images have 65,500 pixels on a side
ROUNDING = 0.000001  # by which a box may lie outside: it is cut off
CONTROLS = "\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029"
CLASS_NAME = RegexValidator(
    rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$", "Leave out control characters."
)


class ClassNameField(TextField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=CLASS_LENGTH, **options)
        self.validators.append(CLASS_NAME)


class NewBoxSerializer(StrictSerializer):
    """A box in shares of the upright image, whole inside of it."""

    x = NumberField(min_value=0, max_value=1, help_text="Of the left edge.")
    y = NumberField(min_value=0, max_value=1, help_text="Of the top edge.")
    width = NumberField(min_value=SMALLEST_SIDE, max_value=1)
    height = NumberField(min_value=SMALLEST_SIDE, max_value=1)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for start, size in (("x", "width"), ("y", "height")):
            if attrs[start] + attrs[size] > 1 + ROUNDING:
                raise invalid(size, "The box ends outside of the image.", "invalid")
            attrs[size] = min(attrs[size], 1 - attrs[start])
        return attrs


@extend_schema_serializer(examples=[sent(examples.ADDED_BOX)])
class AddedResultSerializer(StrictSerializer):
    """A box that the model has missed."""

    image_id = serializers.UUIDField()
    object_class = ClassNameField(help_text="Any class, also one that the detector does not know.")
    bbox_normalized = NewBoxSerializer()


@extend_schema_serializer(examples=[sent(examples.RELABELLING)])
class ResultReviewSerializer(StrictSerializer):
    """What its owner says about a result."""

    review = serializers.ChoiceField(Review.choices, required=False, help_text="`none` takes a review back.")
    object_class = ClassNameField(
        required=False, help_text="The right class, also one that the detector does not know."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "object_class" in attrs and attrs.get("review", Review.ACCEPTED) != Review.ACCEPTED:
            raise invalid("object_class", "Only an accepted result can have another class.", "invalid")
        return attrs


@extend_schema_serializer(examples=[sent(examples.REVIEW)])
class ReviewSerializer(StrictSerializer):
    """Which results are reviewed, and how. At least one of the confidences is needed."""

    review = serializers.ChoiceField(Review.choices, help_text="`none` takes reviews back.")
    min_confidence = NumberField(min_value=0, max_value=1, required=False)
    max_confidence = NumberField(min_value=0, max_value=1, required=False)
    classes = TextsField(
        max_length=CLASSES_LENGTH,
        required=False,
        help_text="Only these classes of the model's: names, separated by commas, or a list.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "min_confidence" not in attrs and "max_confidence" not in attrs:
            raise invalid("min_confidence", "Send min_confidence or max_confidence, or both.", "required")
        return attrs


@extend_schema_serializer(examples=[answered(examples.CHANGED)])
class ReviewedCountSerializer(serializers.Serializer[Any]):
    changed = serializers.IntegerField(min_value=0, help_text="How many results have changed.")


@extend_schema_serializer(examples=[answered(examples.REVIEWED_RESULT)])
class ReviewedResultSerializer(ImageResultSerializer):
    """A result after its review; for API keys without the scope `read`, only its ids and the review."""

    def to_representation(self, instance: DetectionResult) -> dict[str, Any]:
        row = super().to_representation(instance)
        seen = row if may_read(self.context["request"]) else ("id", "image_id", "review")
        return {name: row[name] for name in seen}
