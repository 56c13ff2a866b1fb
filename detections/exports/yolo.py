"""YOLO: a text for each image, with boxes in shares of the picture."""

from collections.abc import Iterable

from detections.exports.class_numbers import ClassNumbers, with_numbered_classes
from detections.exports.file_names import NamedImage
from detections.exports.texts import yaml_text
from detections.exports.zip_writer import Archive
from detections.models import DetectionResult, Export


def pack_yolo(archive: Archive, items: Iterable[NamedImage], _export: Export) -> None:
    numbers = ClassNumbers()
    for item in with_numbered_classes(items, numbers):
        lines = [yolo_line(result, numbers) for result in item.image.results.all()]
        archive.add(f"labels/{item.stem}.txt", "".join(lines).encode())
    archive.add("data.yaml", yolo_data(numbers).encode())


def yolo_line(result: DetectionResult, numbers: ClassNumbers) -> str:
    x, y = result.bbox_x + result.bbox_width / 2, result.bbox_y + result.bbox_height / 2
    box = f"{x:.6f} {y:.6f} {result.bbox_width:.6f} {result.bbox_height:.6f}"
    return f"{numbers.of(result)} {box}\n"


def yolo_data(numbers: ClassNumbers) -> str:
    """Without `path`, so that pictures are looked for beside this file, from any folder."""
    names = [f"  {number}: {yaml_text(name)}\n" for number, name in enumerate(numbers.names)]
    return "train: images\nval: images\nnames:" + ("\n" + "".join(names) if names else " {}\n")
