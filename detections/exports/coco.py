"""COCO: one JSON, with boxes in pixels."""

import shutil
from collections.abc import Iterable
from typing import IO, Any

from detections.exports.class_numbers import ClassNumbers, with_numbered_classes
from detections.exports.file_names import NamedImage
from detections.exports.texts import compact
from detections.exports.zip_writer import Archive
from detections.models import DetectionResult, Export
from detections.storage import temporary_file


def pack_coco(archive: Archive, items: Iterable[NamedImage], export: Export) -> None:
    with temporary_file() as file:
        write_coco(file, items, export)
        archive.add_file("annotations/instances_default.json", file)


def write_coco(file: IO[bytes], items: Iterable[NamedImage], _export: Export) -> None:
    numbers = ClassNumbers()
    count = 0
    with temporary_file() as annotations:
        file.write(b'{"info":{"description":"ObjectVision"},"images":[')
        for number, item in enumerate(with_numbered_classes(items, numbers), 1):
            file.write(b",\n" if number > 1 else b"\n")
            file.write(compact(coco_image(item, number)))
            for result in item.image.results.all():
                count += 1
                annotations.write(b",\n" if count > 1 else b"\n")
                annotations.write(compact(coco_annotation(result, count, number, numbers)))
        file.write(b'],\n"annotations":[')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(numbers.names)]
    file.write(b'],\n"categories":' + compact(categories) + b"}\n")


def coco_image(item: NamedImage, number: int) -> dict[str, Any]:
    image, name = item
    return {
        "id": number,
        "file_name": name,
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
