from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.utils import html

from detections.api import examples
from detections.api.serializers import CLASSES_LENGTH, TITLE_LENGTH
from detections.uploads.parameters import (
    ALL_CLASSES,
    LARGEST_OVERLAP,
    LARGEST_SIZE,
    MOST_DETECTIONS,
    SMALLEST_TILE,
    STRIDE,
)
from objectvision.api.errors import invalid
from objectvision.api.examples import sent
from objectvision.api.fields import IntegerField, NumberField, Repeatable, TextField, TextsField, TruthField
from objectvision.api.serializers import StrictSerializer

MOST_IMAGES = 100
NO_FILE = "Send the image as a file in a multipart form."
IMAGES_SCHEMA = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MOST_IMAGES}


@extend_schema_field(OpenApiTypes.BINARY)
class ImageFileField(serializers.Field[Any, Any, Any, Any]):
    """A file that has not been looked into."""

    default_error_messages: ClassVar = {"invalid": NO_FILE}

    def to_internal_value(self, data: Any) -> Any:
        if not hasattr(data, "read"):
            self.fail("invalid")
        return data


class ArchiveFileField(ImageFileField):
    default_error_messages: ClassVar = {"invalid": "Send the archive as a file in a multipart form."}


@extend_schema_field(IMAGES_SCHEMA)
class ImageFilesField(Repeatable, serializers.Field[list[Any], Any, Any, Any]):
    """Files that have not been looked into."""

    default_error_messages: ClassVar = {
        "invalid": NO_FILE,
        "too_many_files": f"Send at most {MOST_IMAGES} images.",
    }

    def get_value(self, dictionary: Any) -> Any:
        files = dictionary.getlist(self.field_name) if html.is_html_input(dictionary) else []
        return files or serializers.empty

    def to_internal_value(self, data: list[Any]) -> list[Any]:
        if not all(hasattr(file, "read") for file in data):
            self.fail("invalid")
        if len(data) > MOST_IMAGES:
            self.fail("too_many_files")
        return data


class ParametersSerializer(StrictSerializer):
    """How to look at the images, and what to call the detection."""

    confidence = NumberField(
        min_value=0, max_value=1, required=False, help_text="Report objects of at least this confidence."
    )
    iou = NumberField(
        min_value=0,
        max_value=1,
        required=False,
        help_text="Boxes of a class that overlap by more are one object (by NMS; YOLO26 has none).",
    )
    classes = TextsField(
        max_length=CLASSES_LENGTH,
        required=False,
        allow_blank=True,
        help_text=(
            f"Look for these alone: names or ids, separated by commas; `{ALL_CLASSES}`: for all. May be sent "
            "several times, and each is one name or id then."
        ),
    )
    max_detections = IntegerField(
        min_value=1, max_value=MOST_DETECTIONS, required=False, help_text="Of an image."
    )
    image_size = IntegerField(
        min_value=STRIDE,
        max_value=LARGEST_SIZE,
        required=False,
        help_text=f"Pixels of the longer side, a multiple of {STRIDE}; few detectors leave a choice.",
    )
    augment = TruthField(required=False, help_text="Look at everything mirrored, too.")
    tile = IntegerField(
        min_value=SMALLEST_TILE,
        max_value=LARGEST_SIZE,
        required=False,
        help_text="Look at square tiles of so many pixels besides the whole picture, for small objects.",
    )
    overlap = NumberField(
        min_value=0,
        max_value=LARGEST_OVERLAP,
        required=False,
        help_text="The share of a tile that the next one repeats.",
    )
    detector = TextField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="Its name; by default, or blank, the default one.",
    )
    name = TextField(max_length=TITLE_LENGTH, required=False, allow_blank=True)
    is_public = TruthField(default=False)
    reuse = TruthField(
        default=False,
        help_text="Take over the results of your earlier images of the same bytes, detector and parameters.",
    )

    def validate_image_size(self, value: int) -> int:
        if value % STRIDE:
            raise serializers.ValidationError(f"Must be a multiple of {STRIDE}.", "invalid")
        return value


@extend_schema_serializer(examples=[sent(examples.RERUN)])
class RerunSerializer(ParametersSerializer):
    """What to change; the rest is as in the detection that is run again."""

    tile = IntegerField(
        min_value=0,
        max_value=LARGEST_SIZE,
        required=False,
        help_text=f"Pixels of square tiles, at least {SMALLEST_TILE}; 0: no tiles.",
    )

    def validate_tile(self, value: int) -> int:
        if 0 < value < SMALLEST_TILE:
            raise serializers.ValidationError(f"Must be 0, or at least {SMALLEST_TILE}.", "min_value")
        return value


@extend_schema_serializer(examples=[sent(examples.UPLOAD, "multipart/form-data")])
class DetectImageSerializer(ParametersSerializer):
    image = ImageFileField(help_text="JPEG, PNG, WebP, BMP, TIFF, GIF (its first frame), HEIC or AVIF.")


@extend_schema_serializer(examples=[sent(examples.BATCH, "multipart/form-data")])
class DetectBatchSerializer(ParametersSerializer):
    images = ImageFilesField(required=False, help_text=f"Up to {MOST_IMAGES} files under this name.")
    archive = ArchiveFileField(required=False, help_text="A ZIP with pictures, instead.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "images" not in attrs and "archive" not in attrs:
            raise invalid("images", "Send images, or an archive.", "required")
        if "images" in attrs and "archive" in attrs:
            raise invalid("archive", "Send images or an archive, not both.", "invalid")
        return attrs
