"""A finished detection of one image as a text: a waiting request answers with it instead of reading rows."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model

from detections.models import Detection, DetectionImage, DetectionResult
from objectvision.lib.rows import fields_of

MOST_RESULTS = 100  # a wake-up reaches every process

Row = TypeVar("Row", bound=Model)


def taken(detection: Detection, image: DetectionImage | None, results: Sequence[DetectionResult]) -> str:
    """Empty unless the detection has ended, and the image is its only one."""
    if image is None or detection.total != 1 or not detection.is_finished or len(results) > MOST_RESULTS:
        return ""
    rows = columns(detection), columns(image), [columns(result) for result in results]
    return json.dumps(rows, default=str)


def restored(text: str) -> tuple[Detection, DetectionImage, list[DetectionResult]]:
    """Raises ValueError for the text of a worker of another version, whose rows have other columns."""
    try:
        detection, image, results = json.loads(text)
        return (
            row_of(Detection, detection),
            row_of(DetectionImage, image),
            [row_of(DetectionResult, values) for values in results],
        )
    except (TypeError, AttributeError, ValidationError) as error:
        raise ValueError("not a snapshot") from error


def columns(row: Model) -> dict[str, Any]:
    return {name: getattr(row, name) for name in fields_of(type(row))}


def row_of(model: type[Row], values: dict[str, Any]) -> Row:
    fields = fields_of(model)
    if fields.keys() != values.keys():
        raise ValueError(f"{model.__name__} has other columns")
    return model.from_db(
        None, list(fields), [field.to_python(values[name]) for name, field in fields.items()]
    )
