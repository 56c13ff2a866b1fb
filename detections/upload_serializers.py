from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.utils import html

from accounts.models import User
from detections import detectors, examples, geometry
from detections.inference import Options
from detections.intake import RefusedUpload, Upload
from detections.models import Detector, UnknownClassesError
from detections.serializers import CLASSES_LENGTH, TITLE_LENGTH
from detections.validators import read_image
from detections.zips import UploadedZip
from objectvision.errors import invalid
from objectvision.examples import sent
from objectvision.fields import IntegerField, NumberField, TextField, TruthField

ALL_CLASSES = "*"
MOST_IMAGES = 100
MOST_TILES = 64
SMALLEST_TILE = 64
LARGEST_SIZE = 2048
STRIDE = 32  # models see in steps of so many pixels
DEFAULTS = Options()
# Stored as they were sent, where they were.
PLAIN = ("iou", "max_detections", "augment", "tile", "overlap")
NO_FILE = "Send the image as a file in a multipart form."


@extend_schema_field(OpenApiTypes.BINARY)
class ImageUploadField(serializers.Field[Upload, Any, Any, Any]):
    """A file that the validators accept, with what they read from its head."""

    default_error_messages = {"invalid": NO_FILE}  # noqa: RUF012  # DRF's form

    def to_internal_value(self, data: Any) -> Upload:
        if not hasattr(data, "read"):
            self.fail("invalid")
        try:
            return Upload(data, read_image(data))
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages, error.code) from error


IMAGES_SCHEMA = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MOST_IMAGES}


@extend_schema_field(IMAGES_SCHEMA)
class ImageUploadsField(serializers.Field[list[Any], Any, Any, Any]):
    """Files as they came: what the validators refuse becomes a failed image of the batch."""

    default_error_messages = {  # noqa: RUF012  # DRF's form
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


@extend_schema_field(OpenApiTypes.BINARY)
class ArchiveField(serializers.Field[UploadedZip, Any, Any, Any]):
    default_error_messages = {"invalid": "Send the archive as a file in a multipart form."}  # noqa: RUF012  # as above

    def to_internal_value(self, data: Any) -> UploadedZip:
        if not hasattr(data, "read"):
            self.fail("invalid")
        try:
            return UploadedZip(data)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages, error.code) from error


class ParametersSerializer(serializers.Serializer[Any]):
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
    classes = TextField(
        max_length=CLASSES_LENGTH,
        required=False,
        allow_blank=True,
        help_text=f"Look for these alone: names or ids, separated by commas; `{ALL_CLASSES}`: for all.",
    )
    max_detections = IntegerField(min_value=1, max_value=3000, required=False, help_text="Of an image.")
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
        min_value=0, max_value=0.5, required=False, help_text="The share of a tile that the next one repeats."
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

    def chosen_detector(self) -> Detector | None:
        """The one that is named, else the default one; None if there is none. Raises ValidationError."""
        name = self.validated_data.get("detector")
        if not name:
            return Detector.objects.default()
        try:
            return detectors.named(name)
        except detectors.UnknownDetectorError as error:
            raise invalid("detector", str(error), "unknown_detector") from error

    def parameters(self, user: User, detector: Detector) -> dict[str, Any]:
        """All that a repetition of the detection needs beside its images: as sent, else as the user has set
        it, else as the environment says. Raises ValidationError."""
        named = {name: self.validated_data[name] for name in PLAIN if name in self.validated_data}
        options = Options(
            confidence=self.chosen_confidence(user),
            classes=self.chosen_classes(user, detector),
            image_size=self.chosen_image_size(detector),
            **named,
        )
        return asdict(options)

    def chosen_confidence(self, user: User) -> float:
        wanted = self.validated_data.get("confidence"), user.preferences.default_confidence
        return next((value for value in wanted if value is not None), settings.CONFIDENCE_THRESHOLD)

    def chosen_image_size(self, detector: Detector) -> int | None:
        wanted: int | None = self.validated_data.get("image_size")
        if wanted is None or detector.takes_any_size:
            return wanted
        if wanted != detector.image_size:
            text = f"{detector.name} takes images of {detector.image_size} pixels alone."
            raise invalid("image_size", text, "fixed_size")
        return None

    def chosen_classes(self, user: User, detector: Detector) -> tuple[int, ...] | None:
        """None: all of them."""
        sent = names_in(self.validated_data.get("classes", ""))
        if sent == [ALL_CLASSES]:
            return None
        # The defaults are for any detector: this one need not know all of them.
        defaults = user.preferences.default_classes
        wanted = sent or [name for name in defaults if name in detector.known_classes] or defaults
        if not wanted:
            return None
        try:
            return tuple(detector.class_ids(wanted))
        except UnknownClassesError as error:
            whose = "" if sent else "By the default_classes of your settings: "
            raise invalid("classes", f"{whose}{error}", "unknown_class") from error

    def too_many_tiles(self, upload: Upload) -> str:
        """Why this image cannot be looked at in tiles of the size that is asked for; empty if it can."""
        tile, overlap = self.validated_data.get("tile"), self.validated_data.get("overlap", DEFAULTS.overlap)
        size = upload.facts.width, upload.facts.height
        if not tile or (count := geometry.tile_count(size, tile, overlap)) <= MOST_TILES:
            return ""
        return f"{size[0]} x {size[1]} pixels make {count} tiles; at most {MOST_TILES} are allowed."


@extend_schema_serializer(examples=[sent(examples.UPLOAD, "multipart/form-data")])
class DetectImageSerializer(ParametersSerializer):
    image = ImageUploadField(help_text="JPEG, PNG, WebP, BMP, TIFF or GIF (its first frame).")

    def count(self) -> int:
        return 1

    def uploads(self) -> Iterator[Upload]:
        """Raises ValidationError."""
        upload = self.validated_data["image"]
        if reason := self.too_many_tiles(upload):
            raise invalid("tile", reason, "too_many_tiles")
        yield upload


@extend_schema_serializer(examples=[sent(examples.BATCH, "multipart/form-data")])
class DetectBatchSerializer(ParametersSerializer):
    images = ImageUploadsField(required=False, help_text=f"Up to {MOST_IMAGES} files under this name.")
    archive = ArchiveField(required=False, help_text="A ZIP with pictures, instead.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "images" not in attrs and "archive" not in attrs:
            raise invalid("images", "Send images, or an archive.", "required")
        if "images" in attrs and "archive" in attrs:
            raise invalid("archive", "Send images or an archive, not both.", "invalid")
        return attrs

    def count(self) -> int:
        archive: UploadedZip | None = self.validated_data.get("archive")
        return len(archive.entries if archive else self.validated_data["images"])

    def uploads(self) -> Iterator[Upload | RefusedUpload]:
        """One after the other: a file of an archive is there until the next one is asked for."""
        archive: UploadedZip | None = self.validated_data.get("archive")
        for file in archive.files() if archive else self.validated_data["images"]:
            if isinstance(file, str):
                yield RefusedUpload(file, "corrupt_image", "Its entry in the archive is damaged.")
            else:
                yield self.upload_of(file)

    def upload_of(self, file: Any) -> Upload | RefusedUpload:
        try:
            upload = Upload(file, read_image(file))
        except DjangoValidationError as error:
            return RefusedUpload(file.name or "", error.code or "invalid", error.messages[0])
        if reason := self.too_many_tiles(upload):
            return RefusedUpload(upload.name, "too_many_tiles", reason)
        return upload


def names_in(text: str) -> list[str]:
    """Of a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
