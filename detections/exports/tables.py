"""CSV and JSON Lines: a line for each result."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from typing import IO, Any

from detections.exports.file_names import NamedImage
from detections.exports.texts import compact
from detections.models import DetectionResult, Export

# First characters by which a spreadsheet takes a text for a formula.
FORMULAS = frozenset("=+-@\N{MINUS SIGN}")
ENDS_OF_CELLS = ("\t", "\r", "\n")
# Characters that begin a new cell if they are the list separator or if quotes are ignored.
SEPARATORS = re.compile("([;,|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])")
# Letters without ink, although Unicode counts them as no blanks: Hangul's fillers, Braille's empty pattern.
FILLERS = frozenset("\u115f\u1160\u2800")

BYTE_ORDER_MARK = "\ufeff"


def about(result: DetectionResult) -> dict[str, Any]:
    """A result as the search returns it, with the size of its image."""
    image = result.image
    return {
        "id": str(result.pk),
        "detection_id": str(image.detection_id),
        "image_id": str(image.pk),
        "original_name": image.original_name,
        "width": image.width,
        "height": image.height,
        "detector": image.detector.name,
        "created_at": result.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "object_class": result.object_class,
        "class_id": result.class_id,
        "confidence": result.confidence,
        "source": result.source,
        "review": result.review,
        "reviewed_class": result.reviewed_class,
        "bbox": result.pixels,
        "bbox_normalized": result.shares,
    }


COLUMNS = (
    "id", "detection_id", "image_id", "original_name", "width", "height", "detector", "created_at",
    "object_class", "class_id", "confidence", "source", "review", "reviewed_class", "x1", "y1", "x2", "y2",
    "bbox_width", "bbox_height", "normalized_x", "normalized_y", "normalized_width", "normalized_height",
)  # fmt: skip  # a list to read at a glance


def write_csv(file: IO[bytes], items: Iterable[NamedImage], export: Export) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        if export.dialect == Export.Dialect.EXCEL:
            text.write(BYTE_ORDER_MARK)  # without it, Excel takes the text for one of its old encodings
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for item in items:
            writer.writerows(map(csv_row, item.image.results.all()))
    finally:
        text.detach()  # else closing it closes the file


def csv_row(result: DetectionResult) -> list[Any]:
    values: list[Any] = []
    for value in about(result).values():
        values += value.values() if isinstance(value, dict) else [value]
    return [defused(value) if isinstance(value, str) else value for value in values]


def defused(text: str) -> str:
    """The text with an apostrophe before each part that a spreadsheet would evaluate."""
    parts = SEPARATORS.split(text)
    safe = "".join(f"'{part}" if is_formula(part) else part for part in parts)
    return f"'{safe}" if text.startswith(ENDS_OF_CELLS) else safe


def is_formula(text: str) -> bool:
    letters = (letter for character in text for letter in unicodedata.normalize("NFKC", character))
    return next((letter for letter in letters if not is_blank(letter)), "") in FORMULAS


def is_blank(letter: str) -> bool:
    """Whether a formula may follow it: quotes, spaces, controls, lone marks, unassigned characters."""
    return letter == '"' or letter in FILLERS or unicodedata.category(letter)[0] in "ZCM"


def write_json_lines(file: IO[bytes], items: Iterable[NamedImage], _export: Export) -> None:
    for item in items:
        for result in item.image.results.all():
            file.write(compact(about(result)) + b"\n")
