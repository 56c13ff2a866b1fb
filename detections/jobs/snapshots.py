"""A finished detection of one image as a text: a waiting request answers with it instead of reading rows."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model

from detections.models import Detection, DetectionImage, DetectionResult

MOST_RESULTS = 100  # a wake-up reaches every process

Row = TypeVar("Row", bound=Model)


def taken(detection: Detection, image: DetectionImage | None, results: Sequence[DetectionResult]) -> str:
    """Empty unless the detection has ended, and the image is its only one."""
    if image is None or detection.total != 1 or not detection.is_finished or len(results) > MOST_RESULTS:
        return ""
    rows = columns(detection), columns(image), [columns(result) for result in results]
    return json.dumps(rows, default=str)


def restored(text: str) -> tuple[Detection, DetectionImage, list[DetectionResult]]:
    detection, image, results = json.loads(text)
    return (
        row_of(Detection, detection),
        row_of(DetectionImage, image),
        [row_of(DetectionResult, values) for values in results],
    )


def columns(row: Model) -> list[Any]:
    return [getattr(row, field.attname) for field in row._meta.concrete_fields]  # noqa: SLF001  # documented


def row_of(model: type[Row], values: list[Any]) -> Row:
    fields = model._meta.concrete_fields  # noqa: SLF001  # documented
    read = [field.to_python(value) for field, value in zip(fields, values, strict=True)]
    return model.from_db(None, [field.attname for field in fields], read)
