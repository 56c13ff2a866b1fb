from typing import Any, ClassVar

from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts.api.permissions import may_read
from detections import reports
from detections.api import examples
from detections.exports import runs
from detections.exports.formats import WITH_PICTURES
from detections.models import Detection, DetectionImage, DetectionResult, Detector, Export
from objectvision.api.errors import invalid
from objectvision.api.examples import answered, sent
from objectvision.api.fields import (
    IdListField,
    NumberField,
    QuerySerializer,
    TextField,
    TextsField,
    TruthField,
)
from objectvision.api.serializers import StrictSerializer
from objectvision.lib.links import absolute

TITLE_LENGTH = 200
CLASSES_LENGTH = 2000
MOST_IDS = 1000


class PixelBoxSerializer(serializers.Serializer[Any]):
    x1 = serializers.FloatField()
    y1 = serializers.FloatField()
    x2 = serializers.FloatField()
    y2 = serializers.FloatField()
    width = serializers.FloatField()
    height = serializers.FloatField()


class NormalizedBoxSerializer(serializers.Serializer[Any]):
    x = serializers.FloatField(min_value=0, max_value=1)
    y = serializers.FloatField(min_value=0, max_value=1)
    width = serializers.FloatField(min_value=0, max_value=1)
    height = serializers.FloatField(min_value=0, max_value=1)


class ResultSerializer(serializers.ModelSerializer[DetectionResult]):
    bbox = PixelBoxSerializer(source="pixels", read_only=True, help_text="Pixels of the upright image.")
    bbox_normalized = NormalizedBoxSerializer(
        source="shares", read_only=True, help_text="0..1 of the upright image."
    )

    class Meta:
        model = DetectionResult
        fields: tuple[str, ...] = (
            "id", "object_class", "class_id", "confidence", "bbox", "bbox_normalized", "source", "review",
            "reviewed_class",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    def to_representation(self, instance: DetectionResult) -> dict[str, Any]:
        """Without DRF's fields, which take more than a second for the 10,000 results of an answer."""
        return {
            "id": str(instance.pk),
            "object_class": instance.object_class,
            "class_id": instance.class_id,
            "confidence": instance.confidence,
            "bbox": instance.pixels,
            "bbox_normalized": instance.shares,
            "source": instance.source,
            "review": instance.review,
            "reviewed_class": instance.reviewed_class,
        }


class ImageErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class ImageSerializer(serializers.ModelSerializer[DetectionImage]):
    """An image without its results."""

    processed = serializers.BooleanField(read_only=True)
    error = serializers.SerializerMethodField()

    class Meta:
        model = DetectionImage
        fields: tuple[str, ...] = (
            "id", "original_name", "width", "height", "state", "processed", "error", "inference_ms",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    @extend_schema_field(ImageErrorSerializer(allow_null=True))
    def get_error(self, image: DetectionImage) -> dict[str, str] | None:
        return {"code": image.error_code, "detail": image.error} if image.error_code else None


class ImageWithResultsSerializer(ImageSerializer):
    """An image with its results."""

    # Not required: this tells the document that they may be absent.
    results_total = serializers.IntegerField(
        min_value=0,
        required=False,
        help_text="How many results the image has. Absent for API keys without the scope `read`.",
    )
    results = ResultSerializer(
        source="shown_results",
        many=True,
        required=False,
        help_text=(
            f"The most confident {reports.MOST_SHOWN_OF_IMAGE:,} of the image, as far as they are among the "
            f"most confident {reports.MOST_SHOWN:,} of all images; `/detect/{{id}}/results` has the others. "
            "Absent for API keys without the scope `read`."
        ),
    )

    class Meta(ImageSerializer.Meta):
        fields = (*ImageSerializer.Meta.fields, "results_total", "results")


class DetectionImageSerializer(ImageWithResultsSerializer):
    """An image with its results, except for API keys without the scope `read`."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if not may_read(self.context["request"]):
            del fields["results_total"], fields["results"]
        return fields


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "iou": {"type": "number", "minimum": 0, "maximum": 1},
            "classes": {
                "type": ["array", "null"],
                "items": {"type": "integer"},
                "description": "Class ids; null: all classes.",
            },
            "max_detections": {"type": "integer", "minimum": 1},
            "image_size": {"type": ["integer", "null"], "description": "Pixels; null: the detector's own."},
            "augment": {"type": "boolean"},
            "tile": {"type": "integer", "minimum": 0, "description": "Pixels; 0: no tiles."},
            "overlap": {"type": "number", "minimum": 0, "maximum": 0.5},
        },
        "required": ["confidence", "iou", "classes", "max_detections"],
    }
)
class ParametersField(serializers.JSONField):
    pass


@extend_schema_serializer(examples=[answered(examples.SUMMARY)])
class DetectionSummarySerializer(StrictSerializer, serializers.ModelSerializer[Detection]):
    """A detection without its images; its name and visibility can be changed."""

    name = TextField(max_length=TITLE_LENGTH, required=False, allow_blank=True)
    is_public = TruthField(required=False)
    moderation = serializers.ChoiceField(
        Detection.Moderation.choices,
        read_only=True,
        help_text="What staff decided. Once public, it is shown if this is `approved`.",
    )
    detector = serializers.CharField(source="detector.name", read_only=True)
    parameters = ParametersField(
        read_only=True, help_text="The parameters of the upload, with all defaults filled in."
    )

    class Meta:
        model = Detection
        fields: tuple[str, ...] = (
            "id", "name", "status", "detector", "parameters", "source", "total", "processed", "failed",
            "is_public", "moderation", "moderation_reason", "error", "created_at", "started_at",
            "finished_at",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = tuple(name for name in fields if name not in {"name", "is_public"})
        extra_kwargs: ClassVar = {
            "source": {
                "pk_field": serializers.UUIDField(),
                "help_text": "The detection that this one runs again, while there is one.",
            }
        }


@extend_schema_serializer(examples=[answered(examples.DETECTION), sent(examples.CHANGE)])
class DetectionSerializer(DetectionSummarySerializer):
    """A detection with its images and their results."""

    images = DetectionImageSerializer(many=True, read_only=True)

    class Meta(DetectionSummarySerializer.Meta):
        fields = (*DetectionSummarySerializer.Meta.fields, "images")


@extend_schema_serializer(examples=[answered(examples.DETECTOR)])
class DetectorSerializer(serializers.ModelSerializer[Detector]):
    classes = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Names by class id, in the order of the ids."
    )

    class Meta:
        model = Detector
        fields = (
            "id",
            "name",
            "version",
            "task",
            "backend",
            "image_size",
            "classes",
            "is_default",
            "created_at",
        )
        read_only_fields = fields


class AnnotationSerializer(QuerySerializer):
    """What the annotated picture shows."""

    image_id = serializers.UUIDField(required=False, help_text="Default: the detection's first image.")
    min_confidence = serializers.FloatField(min_value=0, max_value=1, default=0.0)
    classes = TextsField(
        max_length=CLASSES_LENGTH,
        default="",
        allow_blank=True,
        help_text="Names, separated by commas, or each for itself.",
    )
    download = TruthField(default=False, help_text="Send the picture as an attachment, which browsers save.")


class OriginalSerializer(QuerySerializer):
    """How the original picture is sent."""

    download = TruthField(default=False, help_text="Send the picture as an attachment, which browsers save.")


class ProgressSerializer(serializers.ModelSerializer[Detection]):
    percent = serializers.IntegerField(min_value=0, max_value=100, read_only=True)

    class Meta:
        model = Detection
        fields = ("total", "processed", "failed", "percent")
        read_only_fields = fields


@extend_schema_serializer(examples=[answered(examples.JOB)])
class JobSerializer(serializers.ModelSerializer[Detection]):
    job_id = serializers.UUIDField(source="id", read_only=True)
    detection_id = serializers.UUIDField(source="id", read_only=True)
    progress = ProgressSerializer(source="*", read_only=True)
    queue_position = serializers.IntegerField(
        min_value=0,
        max_value=1000,
        read_only=True,
        help_text="The place of its next image in the queue, from 1; 0: none waits.",
    )

    class Meta:
        model = Detection
        fields = (
            "job_id", "detection_id", "status", "progress", "queue_position", "created_at", "started_at",
            "finished_at", "error",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields


@extend_schema_serializer(examples=[answered(examples.ACCEPTED, 202)])
class AcceptedSerializer(serializers.ModelSerializer[Detection]):
    detection_id = serializers.UUIDField(source="id", read_only=True)
    job_id = serializers.UUIDField(source="id", read_only=True)
    job_url = serializers.SerializerMethodField()

    class Meta:
        model = Detection
        fields = ("detection_id", "job_id", "status", "job_url")
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_job_url(self, detection: Detection) -> str:
        return absolute(self.context["request"], reverse("job-detail", args=[detection.pk]))


@extend_schema_serializer(examples=[answered(examples.FOUND)])
class FoundResultSerializer(ResultSerializer):
    """A result with its detection and image."""

    detection_id = serializers.UUIDField(read_only=True)
    image_id = serializers.UUIDField(read_only=True)
    original_name = serializers.CharField(source="image.original_name", read_only=True)
    detector = serializers.CharField(source="image.detector.name", read_only=True)

    class Meta(ResultSerializer.Meta):
        fields = (
            *ResultSerializer.Meta.fields,
            "detection_id",
            "image_id",
            "original_name",
            "detector",
            "created_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: DetectionResult) -> dict[str, Any]:
        created_at = self.fields["created_at"].to_representation(instance.created_at)
        return {
            **super().to_representation(instance),
            "detection_id": str(instance.detection_id),
            "image_id": str(instance.image_id),
            "original_name": instance.image.original_name,
            "detector": instance.image.detector.name,
            "created_at": created_at,
        }


@extend_schema_serializer(examples=[answered(examples.IMAGE_RESULT)])
class ImageResultSerializer(ResultSerializer):
    """A result inside its detection."""

    image_id = serializers.UUIDField(read_only=True)

    class Meta(ResultSerializer.Meta):
        fields = (*ResultSerializer.Meta.fields, "image_id")
        read_only_fields = fields

    def to_representation(self, instance: DetectionResult) -> dict[str, Any]:
        return {**super().to_representation(instance), "image_id": str(instance.image_id)}


class ImageResultsSerializer(QuerySerializer):
    """Which results of a detection are listed."""

    image_id = serializers.UUIDField(required=False, help_text="Only the results of this image.")
    review = serializers.ChoiceField(
        DetectionResult.Review.choices, required=False, help_text="`none`: those that wait for a review."
    )
    ordering = serializers.ChoiceField(
        ["confidence", "-confidence"], default="-confidence", help_text="`confidence`: the lowest first."
    )


class ClassCountSerializer(serializers.Serializer[Any]):
    object_class = serializers.CharField()
    objects = serializers.IntegerField(min_value=1)


class DetectorCountSerializer(serializers.Serializer[Any]):
    detector = serializers.CharField()
    version = serializers.CharField()
    images = serializers.IntegerField(min_value=0, help_text="Images that are done.")
    objects = serializers.IntegerField(min_value=0)


class AgreementSerializer(serializers.Serializer[Any]):
    detector = serializers.CharField()
    version = serializers.CharField()
    object_class = serializers.CharField(help_text="The model's; of added boxes yours.")
    reviewed = serializers.IntegerField(min_value=0, help_text="The model's results that you have reviewed.")
    accepted = serializers.IntegerField(min_value=0)
    relabelled = serializers.IntegerField(min_value=0)
    rejected = serializers.IntegerField(min_value=0)
    added = serializers.IntegerField(min_value=0, help_text="Boxes that you have added.")
    agreement = serializers.FloatField(
        min_value=0,
        max_value=1,
        allow_null=True,
        help_text="`accepted` of `reviewed`; null: none is reviewed.",
    )


class ConfidenceCountSerializer(serializers.Serializer[Any]):
    min_confidence = serializers.FloatField(min_value=0, max_value=1)
    max_confidence = serializers.FloatField(min_value=0, max_value=1)
    objects = serializers.IntegerField(min_value=0, help_text="Without boxes that were added.")


class DayCountSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    detections = serializers.IntegerField(min_value=1)
    images = serializers.IntegerField(min_value=0)


@extend_schema_serializer(examples=[answered(examples.STATISTICS)])
class StatisticsSerializer(serializers.Serializer[Any]):
    detections = serializers.IntegerField(min_value=0)
    images = serializers.IntegerField(min_value=0)
    objects = serializers.IntegerField(min_value=0)
    per_class = ClassCountSerializer(many=True, help_text="The 1,000 most frequent.")
    per_detector = DetectorCountSerializer(many=True)
    agreement = AgreementSerializer(many=True, help_text="The 1,000 most reviewed.")
    confidences = ConfidenceCountSerializer(many=True, help_text="Ten tenths, the lowest first.")
    per_day = DayCountSerializer(many=True)


class PeriodSerializer(QuerySerializer):
    days = serializers.IntegerField(
        min_value=1, max_value=366, default=30, help_text="How many days `per_day` goes back, today included."
    )


# The formats that an option is for.
OPTIONS: dict[str, list[str]] = {
    "images": WITH_PICTURES,
    "names": WITH_PICTURES,
    "dialect": [Export.Format.CSV],
}


class ExportOptionsSerializer(serializers.Serializer[Any]):
    """What the file of an export shall be."""

    format = serializers.ChoiceField(Export.Format.choices)
    reviewed = TruthField(
        default=False, help_text="Only what you have accepted or added, with the classes that you gave it."
    )
    names = serializers.ChoiceField(
        Export.Names.choices,
        required=False,
        help_text="Of images: with their ids (`unique`), or as you named them, duplicates numbered.",
    )
    dialect = serializers.ChoiceField(
        Export.Dialect.choices, required=False, help_text="Of CSV: `excel` begins with a byte order mark."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for option, formats in OPTIONS.items():
            if attrs.get(option) and attrs["format"] not in formats:
                code = "invalid" if option == "images" else "invalid_choice"  # those of the field
                raise invalid(option, f"Goes with {', '.join(formats)}.", code)
        return attrs


class FileSerializer(ExportOptionsSerializer, QuerySerializer):
    """What the file of a detection shall be."""


@extend_schema_field(
    {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": MOST_IDS}
)
class DetectionIdsField(IdListField):
    pass


@extend_schema_serializer(examples=[sent(examples.EXPORT_REQUEST)])
class ExportRequestSerializer(ExportOptionsSerializer, StrictSerializer):
    """What the file shall be, and the conditions of a history."""

    images = TruthField(default=False, help_text="With the pictures, upright and without metadata: a ZIP.")
    detection_ids = DetectionIdsField(
        length=MOST_IDS,
        required=False,
        help_text="Only these detections; ids that are not yours are ignored.",
    )
    status = serializers.ChoiceField(Detection.Status.choices, required=False)
    object_class = TextField(max_length=100, required=False, help_text="An image has a result of this class.")
    min_confidence = NumberField(min_value=0, max_value=1, required=False)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)
    detector = TextField(max_length=100, required=False)
    search = TextField(
        max_length=200, required=False, help_text="A text in its name or in the names of its images."
    )


@extend_schema_serializer(examples=[answered(examples.EXPORT), answered(examples.EXPORT_WAITING, 202)])
class ExportSerializer(serializers.ModelSerializer[Export]):
    filters = serializers.DictField(read_only=True, help_text="The conditions of the request that made it.")
    download_url = serializers.SerializerMethodField(
        help_text="Opens the file without a log-in until `expires_at`; null while there is no file."
    )

    class Meta:
        model = Export
        fields = (
            "id", "format", "reviewed", "images", "names", "dialect", "filters", "status", "total",
            "processed", "error", "created_at", "expires_at", "download_url",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_download_url(self, export: Export) -> str | None:
        if not export.is_downloadable:
            return None
        path = reverse("export-file", args=[export.pk])
        return absolute(self.context["request"], f"{path}?signature={runs.signature(export)}")


class DownloadSerializer(QuerySerializer):
    signature = serializers.CharField(max_length=100, help_text="From the link in `download_url`.")
