"""Label Studio: a task for each image, with boxes in percent of the picture.

What models found are a task's predictions; what its owner has accepted or added is its annotation.
"""

from collections.abc import Iterable, Sequence
from typing import IO, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from detections.exports.class_numbers import with_classes
from detections.exports.file_names import NamedImage
from detections.exports.texts import compact, xml_text
from detections.exports.zip_writer import Archive
from detections.models import DetectionImage, DetectionResult, Export
from detections.storage import temporary_file
from objectvision.lib.links import public

Review, Source = DetectionResult.Review, DetectionResult.Source

PICTURES = "images"


def pack_tasks(archive: Archive, items: Iterable[NamedImage], export: Export) -> None:
    """The tasks, and the labels that a project needs for them."""
    classes: dict[str, None] = {}
    with temporary_file() as file:
        write_tasks(file, with_classes(items, classes), export)
        archive.add_file("tasks.json", file)
    archive.add("label_config.xml", label_config(classes))


def label_config(classes: Iterable[str]) -> bytes:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image")
    labels = ET.SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in classes:
        ET.SubElement(labels, "Label", value=xml_text(name))
    config: bytes = ET.tostring(view, encoding="utf-8")
    return config


def write_tasks(file: IO[bytes], items: Iterable[NamedImage], export: Export) -> None:
    file.write(b"[")
    for number, item in enumerate(items):
        file.write((b",\n" if number else b"\n") + compact(task_of(item, export)))
    file.write(b"]\n")


def task_of(item: NamedImage, export: Export) -> dict[str, Any]:
    image, name = item
    results = image.results.all()
    reviews = {result.review for result in results} - {Review.NONE}
    confirmed = [region(each, each.final_class) for each in results if each.review == Review.ACCEPTED]
    return {
        "data": {
            "image": local_file(name) if export.images else link_to(image),
            "image_id": str(image.pk),
            "detection_id": str(image.detection_id),
            "original_name": image.original_name,
        },
        "annotations": [{"result": confirmed}] if reviews or export.reviewed else [],
        "predictions": [] if export.reviewed else [prediction(image, results)],
    }


def local_file(name: str) -> str:
    """As Label Studio serves it, if the archive lies unpacked in its folder of local files."""
    return f"/data/local-files/?d={quote(f'{PICTURES}/{name}')}"


def link_to(image: DetectionImage) -> str:
    return public(f"/api/v1/detect/{image.detection_id}/images/{image.pk}")


def prediction(image: DetectionImage, results: Iterable[DetectionResult]) -> dict[str, Any]:
    found = [result for result in results if result.source == Source.MODEL]
    return {
        "model_version": image.detector.full_name,
        "score": mean([result.confidence for result in found]),
        "result": [{**region(result, result.object_class), "score": result.confidence} for result in found],
    }


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def region(result: DetectionResult, object_class: str) -> dict[str, Any]:
    percents = {name: 100 * share for name, share in result.shares.items()}
    return {
        "id": str(result.pk),
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": result.image.width,
        "original_height": result.image.height,
        "image_rotation": 0,
        "value": {**percents, "rotation": 0, "rectanglelabels": [object_class]},
    }
