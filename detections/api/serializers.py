from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound

from detections import examples, exports
from detections.models import Detection, DetectionImage, DetectionResult, Detector, Export
from objectvision.examples import answered, sent
from objectvision.fields import NumberField, QuerySerializer, TextField, TruthField
from objectvision.links import absolute

TITLE_LENGTH = 200
CLASSES_LENGTH = 2000


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
            "id", "object_class", "class_id", "confidence", "bbox", "bbox_normalized",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields


class ImageErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class DetectionImageSerializer(serializers.ModelSerializer[DetectionImage]):
    processed = serializers.BooleanField(read_only=True)
    error = serializers.SerializerMethodField()
    results = ResultSerializer(many=True, read_only=True)

    class Meta:
        model = DetectionImage
        fields = (
            "id", "original_name", "width", "height", "state", "processed", "error", "inference_ms",
            "results",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    @extend_schema_field(ImageErrorSerializer(allow_null=True))
    def get_error(self, image: DetectionImage) -> dict[str, str] | None:
        return {"code": image.error_code, "detail": image.error} if image.error_code else None


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "iou": {"type": "number", "minimum": 0, "maximum": 1},
            "classes": {
                "type": ["array", "null"],
                "items": {"type": "integer"},
                "description": "Ids; null: all.",
            },
            "max_detections": {"type": "integer", "minimum": 1},
            "image_size": {"type": ["integer", "null"], "description": "Pixels; null: the detector's own."},
            "augment": {"type": "boolean"},
            "tile": {"type": "integer", "minimum": 0, "description": "Pixels; 0: the whole picture alone."},
            "overlap": {"type": "number", "minimum": 0, "maximum": 0.5},
        },
        "required": ["confidence", "iou", "classes", "max_detections"],
    }
)
class ParametersField(serializers.JSONField):
    pass


@extend_schema_serializer(examples=[answered(examples.SUMMARY)])
class DetectionSummarySerializer(serializers.ModelSerializer[Detection]):
    """A detection in a list, without its images; and what of it may be changed."""

    name = TextField(max_length=TITLE_LENGTH, required=False, allow_blank=True)
    is_public = TruthField(required=False)
    detector = serializers.CharField(source="detector.name", read_only=True)
    parameters = ParametersField(read_only=True, help_text="All that a repetition needs beside the images.")

    class Meta:
        model = Detection
        fields: tuple[str, ...] = (
            "id", "name", "status", "detector", "parameters", "total", "processed", "failed", "is_public",
            "error", "created_at", "started_at", "finished_at",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = tuple(name for name in fields if name not in {"name", "is_public"})

    def update(self, instance: Detection, validated_data: dict[str, Any]) -> Detection:
        # These columns alone, for a worker writes the rest; and no row comes back that was deleted meanwhile.
        row = Detection.objects.filter(pk=instance.pk)
        if not row.update(**validated_data, updated_at=timezone.now()):
            raise NotFound
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return instance


@extend_schema_serializer(examples=[answered(examples.DETECTION), sent(examples.CHANGE)])
class DetectionSerializer(DetectionSummarySerializer):
    """A detection with its images and what was found on them."""

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
    """What is drawn of a detection."""

    image_id = serializers.UUIDField(required=False, help_text="By default its first image.")
    min_confidence = serializers.FloatField(min_value=0, max_value=1, default=0.0)
    classes = serializers.CharField(
        max_length=CLASSES_LENGTH, default="", allow_blank=True, help_text="Names, separated by commas."
    )
    download = TruthField(default=False, help_text="As an attachment, to be saved.")


class OriginalSerializer(QuerySerializer):
    """How an original is given out."""

    download = TruthField(default=False, help_text="As an attachment, to be saved.")


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
        help_text="Images in front, itself included; 0: not waiting.",
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
        return absolute(self.context["request"], reverse("job", args=[detection.pk]))


@extend_schema_serializer(examples=[answered(examples.FOUND)])
class FoundResultSerializer(ResultSerializer):
    """A result outside its detection."""

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


class ClassCountSerializer(serializers.Serializer[Any]):
    object_class = serializers.CharField()
    objects = serializers.IntegerField(min_value=1)


class DayCountSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    detections = serializers.IntegerField(min_value=1)
    images = serializers.IntegerField(min_value=0)


@extend_schema_serializer(examples=[answered(examples.STATISTICS)])
class StatisticsSerializer(serializers.Serializer[Any]):
    detections = serializers.IntegerField(min_value=0)
    images = serializers.IntegerField(min_value=0)
    objects = serializers.IntegerField(min_value=0)
    per_class = ClassCountSerializer(many=True)
    per_day = DayCountSerializer(many=True)


class PeriodSerializer(QuerySerializer):
    days = serializers.IntegerField(
        min_value=1, max_value=366, default=30, help_text="How many days `per_day` goes back, today included."
    )


class FormatSerializer(QuerySerializer):
    format = serializers.ChoiceField(Export.Format.choices)


@extend_schema_serializer(examples=[sent(examples.EXPORT_REQUEST)])
class ExportRequestSerializer(serializers.Serializer[Any]):
    """Which file of which detections: the conditions are those of the history."""

    format = serializers.ChoiceField(Export.Format.choices)
    status = serializers.ChoiceField(Detection.Status.choices, required=False)
    object_class = TextField(max_length=100, required=False, help_text="Found on it.")
    min_confidence = NumberField(min_value=0, max_value=1, required=False)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)
    detector = TextField(max_length=100, required=False)
    search = TextField(max_length=200, required=False, help_text="In its name or the names of its images.")

    def filters(self) -> dict[str, Any]:
        """The conditions as JSON knows them."""
        given = {name: value for name, value in self.validated_data.items() if name != "format"}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()
        }


@extend_schema_serializer(examples=[answered(examples.EXPORT), answered(examples.EXPORT_WAITING, 202)])
class ExportSerializer(serializers.ModelSerializer[Export]):
    filters = serializers.DictField(read_only=True, help_text="The conditions that it was asked for with.")
    download_url = serializers.SerializerMethodField(
        help_text="Opens the file without a log-in until `expires_at`; null as long as there is none."
    )

    class Meta:
        model = Export
        fields = (
            "id", "format", "filters", "status", "total", "processed", "error", "created_at", "expires_at",
            "download_url",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_download_url(self, export: Export) -> str | None:
        if not export.is_downloadable:
            return None
        path = reverse("export-file", args=[export.pk])
        return absolute(self.context["request"], f"{path}?signature={exports.signature(export)}")


class DownloadSerializer(QuerySerializer):
    signature = serializers.CharField(max_length=100, help_text="As the link has it.")
