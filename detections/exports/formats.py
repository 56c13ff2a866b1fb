"""The forms in which results leave: COCO, YOLO, Pascal VOC, CSV, JSON Lines.

Each writes the images that it is given, in their order, and keeps none of them: memory does not grow with
their number. The images come with their detectors and results.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any
from xml.etree import ElementTree as ET

from detections.archives import Archive, temporary_file
from detections.models import DetectionImage, DetectionResult, Detector, Export

Images = Iterable[DetectionImage]

# Characters by which a spreadsheet takes a text for a formula, or that hide one of these.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")

encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Format:
    extension: str
    media_type: str
    write: Callable[[IO[bytes], Images], None]


class Numbers:
    """Numbers for classes, from 0: a detector's own, as long as it is the only one.

    What several detectors call alike has one number, that of the first of them to come by; what the first
    does not know follows.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.met: set[Any] = set()

    def meet(self, detector: Detector) -> None:
        if detector.pk not in self.met:
            self.met.add(detector.pk)
            for name in detector.classes:
                self.of(name)

    def of(self, name: str) -> int:
        return self.by_name.setdefault(name, len(self.by_name))


def counted(images: Images, numbers: Numbers) -> Iterator[DetectionImage]:
    for image in images:
        numbers.meet(image.detector)
        yield image


def compact(value: Any) -> bytes:
    return encoder.encode(value).encode()


# COCO


def write_coco(file: IO[bytes], images: Images) -> None:
    numbers = Numbers()
    count = 0
    with temporary_file() as annotations:
        file.write(b'{"info":{"description":"ObjectVision"},"images":[')
        for number, image in enumerate(counted(images, numbers), 1):
            file.write(b",\n" if number > 1 else b"\n")
            file.write(compact(coco_image(image, number)))
            for result in image.results.all():
                count += 1
                annotations.write(b",\n" if count > 1 else b"\n")
                annotations.write(compact(coco_annotation(result, count, number, numbers)))
        file.write(b'],\n"annotations":[')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
    categories = [{"id": number + 1, "name": name} for name, number in numbers.by_name.items()]
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


def coco_annotation(result: DetectionResult, number: int, image: int, numbers: Numbers) -> dict[str, Any]:
    box = result.pixels
    return {
        "id": number,
        "image_id": image,
        "category_id": numbers.of(result.object_class) + 1,
        "bbox": [box["x1"], box["y1"], box["width"], box["height"]],
        "area": round(box["width"] * box["height"], 2),
        "iscrowd": 0,
        "segmentation": [],
        "score": result.confidence,
    }


# YOLO


def write_yolo(file: IO[bytes], images: Images) -> None:
    numbers = Numbers()
    with Archive(file) as archive:
        for image in counted(images, numbers):
            lines = [yolo_line(result, numbers) for result in image.results.all()]
            archive.add(f"labels/{image.unique_stem}.txt", "".join(lines).encode())
        archive.add("data.yaml", yolo_data(numbers).encode())


def yolo_line(result: DetectionResult, numbers: Numbers) -> str:
    x, y = result.bbox_x + result.bbox_width / 2, result.bbox_y + result.bbox_height / 2
    box = f"{x:.6f} {y:.6f} {result.bbox_width:.6f} {result.bbox_height:.6f}"
    return f"{numbers.of(result.object_class)} {box}\n"


def yolo_data(numbers: Numbers) -> str:
    # A name as JSON has it is one for YAML as well.
    names = [f"  {number}: {compact(name).decode()}\n" for name, number in numbers.by_name.items()]
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
    """Whole pixels of the image, counted from 1; the last row and column belong to the box."""
    box, image = result.pixels, result.image
    left = min(round(box["x1"]) + 1, image.width or 1)
    top = min(round(box["y1"]) + 1, image.height or 1)
    return {
        "xmin": left,
        "ymin": top,
        "xmax": max(round(box["x2"]), left),
        "ymax": max(round(box["y2"]), top),
    }


# CSV and JSON Lines: a line a result


def about(result: DetectionResult) -> dict[str, Any]:
    """As the search shows it, with the size of its image."""
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
        text.detach()  # else the file is closed with it


def csv_row(result: DetectionResult) -> list[Any]:
    row = about(result)
    values = [*row.values()][:-2]
    values += [*row["bbox"].values(), *row["bbox_normalized"].values()]
    return [defused(value) if isinstance(value, str) else value for value in values]


def defused(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(FORMULAS) else text


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
