"""Export formats: COCO, YOLO, Pascal VOC, CSV and JSON Lines.

Each writes the images that it is given, in their order, and keeps none of them: memory does not grow with
their number. The images come with their detectors and results.
"""

import csv
import io
import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any
from xml.etree import ElementTree as ET

from detections.exports.zip_writer import Archive
from detections.models import DetectionImage, DetectionResult, Detector, Export
from detections.storage import temporary_file

Images = Iterable[DetectionImage]

# First characters by which a spreadsheet takes a text for a formula.
FORMULAS = frozenset("=+-@\N{MINUS SIGN}")
ENDS_OF_CELLS = ("\t", "\r", "\n")
# Characters that begin a new cell if they are the list separator or if quotes are ignored.
SEPARATORS = re.compile("([;,|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])")
# Letters without ink, although Unicode counts them as no blanks: Hangul's fillers, Braille's empty pattern.
FILLERS = frozenset("\u115f\u1160\u2800")

encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Format:
    extension: str
    media_type: str
    write: Callable[[IO[bytes], Images], None]


class ClassNumbers:
    """Numbers for classes, from 0: the first detector's own ids, then new classes of later detectors.

    Detectors share a class if its name is the same, and its place among their classes of that name.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.by_name: dict[str, list[int]] = {}
        self.by_detector: dict[Any, list[int]] = {}

    def meet(self, detector: Detector) -> None:
        if detector.pk not in self.by_detector:
            places = Counter[str]()
            self.by_detector[detector.pk] = [self.number(name, places) for name in detector.classes]

    def number(self, name: str, places: Counter[str]) -> int:
        """The number of the next class of this name; `places` counts the earlier ones."""
        numbers = self.by_name.setdefault(name, [])
        if places[name] == len(numbers):
            numbers.append(len(self.names))
            self.names.append(name)
        places[name] += 1
        return numbers[places[name] - 1]

    def of(self, result: DetectionResult) -> int:
        numbers = self.by_detector[result.image.detector_id]
        if result.class_id < len(numbers):
            return numbers[result.class_id]
        return self.number(result.object_class, Counter())  # a class that the detector's names do not count


def with_numbered_classes(images: Images, numbers: ClassNumbers) -> Iterator[DetectionImage]:
    for image in images:
        numbers.meet(image.detector)
        yield image


def compact(value: Any) -> bytes:
    return encoder.encode(value).encode()


# COCO


def write_coco(file: IO[bytes], images: Images) -> None:
    numbers = ClassNumbers()
    count = 0
    with temporary_file() as annotations:
        file.write(b'{"info":{"description":"ObjectVision"},"images":[')
        for number, image in enumerate(with_numbered_classes(images, numbers), 1):
            file.write(b",\n" if number > 1 else b"\n")
            file.write(compact(coco_image(image, number)))
            for result in image.results.all():
                count += 1
                annotations.write(b",\n" if count > 1 else b"\n")
                annotations.write(compact(coco_annotation(result, count, number, numbers)))
        file.write(b'],\n"annotations":[')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(numbers.names)]
    file.write(b'],\n"categories":' + compact(categories) + b"}\n")


def coco_image(image: DetectionImage, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": image.unique_name,
        "width": image.width,
        "height": image.height,
        "image_id": str(image.pk),
        "detection_id": str(image.detection_id),
        "original_name": image.original_name,
    }


def coco_annotation(
    result: DetectionResult, number: int, image: int, numbers: ClassNumbers
) -> dict[str, Any]:
    box = result.pixels
    return {
        "id": number,
        "image_id": image,
        "category_id": numbers.of(result) + 1,
        "bbox": [box["x1"], box["y1"], box["width"], box["height"]],
        "area": round(box["width"] * box["height"], 2),
        "iscrowd": 0,
        "segmentation": [],
        "score": result.confidence,
    }


# YOLO


def write_yolo(file: IO[bytes], images: Images) -> None:
    numbers = ClassNumbers()
    with Archive(file) as archive:
        for image in with_numbered_classes(images, numbers):
            lines = [yolo_line(result, numbers) for result in image.results.all()]
            archive.add(f"labels/{image.unique_stem}.txt", "".join(lines).encode())
        archive.add("data.yaml", yolo_data(numbers).encode())


def yolo_line(result: DetectionResult, numbers: ClassNumbers) -> str:
    x, y = result.bbox_x + result.bbox_width / 2, result.bbox_y + result.bbox_height / 2
    box = f"{x:.6f} {y:.6f} {result.bbox_width:.6f} {result.bbox_height:.6f}"
    return f"{numbers.of(result)} {box}\n"


def yolo_data(numbers: ClassNumbers) -> str:
    # A JSON string is a YAML string as well.
    names = [f"  {number}: {compact(name).decode()}\n" for number, name in enumerate(numbers.names)]
    return "path: .\ntrain: images\nval: images\nnames:" + ("\n" + "".join(names) if names else " {}\n")


# Pascal VOC


def write_voc(file: IO[bytes], images: Images) -> None:
    with Archive(file) as archive:
        for image in images:
            archive.add(f"Annotations/{image.unique_stem}.xml", voc_annotation(image))


def voc_annotation(image: DetectionImage) -> bytes:
    root = ET.Element("annotation")
    fill(root, folder="images", filename=image.unique_name)
    fill(ET.SubElement(root, "source"), database="ObjectVision", image=image.pk)
    fill(ET.SubElement(root, "size"), width=image.width, height=image.height, depth=3)
    fill(root, segmented=0)
    for result in image.results.all():
        found = ET.SubElement(root, "object")
        fill(found, name=result.object_class, pose="Unspecified", truncated=0, difficult=0)
        fill(found, confidence=result.confidence)
        fill(ET.SubElement(found, "bndbox"), **voc_box(result))
    annotation: bytes = ET.tostring(root, encoding="utf-8")
    return annotation


def fill(element: ET.Element, **values: object) -> None:
    for name, value in values.items():
        ET.SubElement(element, name).text = str(value)


def voc_box(result: DetectionResult) -> dict[str, int]:
    """Whole pixels, counted from 1 as in VOC; the last row and column belong to the box."""
    box, image = result.pixels, result.image
    left = min(round(box["x1"]) + 1, image.width or 1)
    top = min(round(box["y1"]) + 1, image.height or 1)
    return {
        "xmin": left,
        "ymin": top,
        "xmax": max(round(box["x2"]), left),
        "ymax": max(round(box["y2"]), top),
    }


# CSV and JSON Lines: a line for each result


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
        "bbox": result.pixels,
        "bbox_normalized": result.shares,
    }


COLUMNS = (
    "id", "detection_id", "image_id", "original_name", "width", "height", "detector", "created_at",
    "object_class", "class_id", "confidence", "x1", "y1", "x2", "y2", "bbox_width", "bbox_height",
    "normalized_x", "normalized_y", "normalized_width", "normalized_height",
)  # fmt: skip  # a list to read at a glance


def write_csv(file: IO[bytes], images: Images) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for image in images:
            writer.writerows(map(csv_row, image.results.all()))
    finally:
        text.detach()  # else closing it closes the file


def csv_row(result: DetectionResult) -> list[Any]:
    row = about(result)
    values = [*row.values()][:-2]
    values += [*row["bbox"].values(), *row["bbox_normalized"].values()]
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


def write_json_lines(file: IO[bytes], images: Images) -> None:
    for image in images:
        for result in image.results.all():
            file.write(compact(about(result)) + b"\n")


FORMATS: dict[str, Format] = {
    Export.Format.COCO: Format(".json", "application/json", write_coco),
    Export.Format.YOLO: Format(".zip", "application/zip", write_yolo),
    Export.Format.VOC: Format(".zip", "application/zip", write_voc),
    Export.Format.CSV: Format(".csv", "text/csv; charset=utf-8", write_csv),
    Export.Format.JSONL: Format(".jsonl", "application/jsonl", write_json_lines),
}
