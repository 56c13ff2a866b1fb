"""What visitors see of public and shared results, and what owners see of their links."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from detections.api import examples
from detections.api.serializers import ClassCountSerializer, NormalizedBoxSerializer, PixelBoxSerializer
from detections.publication.models import REASON_LENGTH, ShareLink
from objectvision.api.examples import answered, sent
from objectvision.api.fields import IntegerField, QuerySerializer, TextField
from objectvision.api.serializers import StrictSerializer

DAY = 24 * 60 * 60
LONGEST_SHARE, USUAL_SHARE = 90 * DAY, 7 * DAY


class ShownResultSerializer(serializers.Serializer[Any]):
    object_class = serializers.CharField()
    confidence = serializers.FloatField(min_value=0, max_value=1)
    bbox = PixelBoxSerializer(help_text="Pixels of the upright image.")
    bbox_normalized = NormalizedBoxSerializer(help_text="0..1 of the upright image.")


class ShownImageSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    image_url = serializers.URLField(help_text="The picture with its boxes.")
    results_total = serializers.IntegerField(min_value=0)
    results = ShownResultSerializer(many=True, help_text="The most confident 1,000 at most.")


@extend_schema_serializer(examples=[answered(examples.SHOWN_SUMMARY)])
class ShownSummarySerializer(serializers.Serializer[Any]):
    """A detection as visitors see it, without its images."""

    id = serializers.UUIDField()
    owner_name = serializers.CharField(
        allow_null=True, help_text="Null unless its owner wants the name to be shown."
    )
    total = serializers.IntegerField(min_value=1, help_text="How many images it shows.")
    objects = ClassCountSerializer(many=True, help_text="The most frequent 20 classes.")
    created_at = serializers.DateTimeField()
    image_url = serializers.URLField(help_text="The first picture with its boxes.")
    page_url = serializers.URLField(help_text="The page for people.")


@extend_schema_serializer(examples=[answered(examples.SHOWN)])
class ShownSerializer(ShownSummarySerializer):
    """A detection as visitors see it."""

    images = ShownImageSerializer(many=True)


class ShownPictureSerializer(QuerySerializer):
    image_id = serializers.UUIDField(required=False, help_text="Default: the first image.")


@extend_schema_serializer(examples=[sent(examples.REPORT)])
class ReportSerializer(StrictSerializer):
    reason = TextField(max_length=REASON_LENGTH, help_text="What should not be public, and why.")


@extend_schema_serializer(examples=[answered(examples.SHARE, 200)])
class ShareSerializer(serializers.ModelSerializer[ShareLink]):
    """A link, without its token."""

    class Meta:
        model = ShareLink
        fields: tuple[str, ...] = ("id", "expires_at", "created_at", "use_count")
        read_only_fields = fields


@extend_schema_serializer(examples=[sent(examples.SHARE_REQUEST)])
class ShareRequestSerializer(StrictSerializer):
    expires_in = IntegerField(
        min_value=1, max_value=LONGEST_SHARE, default=USUAL_SHARE, help_text="Seconds; 90 days at most."
    )


@extend_schema_serializer(examples=[answered(examples.NEW_SHARE, 201)])
class NewShareSerializer(ShareSerializer):
    """A link with its token, which is shown this once."""

    url = serializers.URLField(help_text="The page for people.")
    token = serializers.CharField()

    class Meta(ShareSerializer.Meta):
        fields = (*ShareSerializer.Meta.fields, "url", "token")
        read_only_fields = fields
