"""Pascal VOC: an XML for each image, with boxes in whole pixels."""

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from detections.exports.class_numbers import with_classes
from detections.exports.file_names import NamedImage
from detections.exports.texts import xml_text
from detections.exports.zip_writer import Archive
from detections.models import DetectionResult, Export
from detections.storage import temporary_file

PICTURES = "JPEGImages"


def pack_voc(archive: Archive, items: Iterable[NamedImage], export: Export) -> None:
    folder = PICTURES if export.images else "images"
    classes: dict[str, None] = {}
    with temporary_file() as stems:
        for item in with_classes(items, classes):
            archive.add(f"Annotations/{item.stem}.xml", voc_annotation(item, folder))
            stems.write(f"{item.stem}\n".encode())
        if export.images:
            archive.add_file("ImageSets/Main/default.txt", stems)
            archive.add("labelmap.txt", label_map(classes).encode())


def label_map(classes: Iterable[str]) -> str:
    """The classes for readers that know only VOC's own; no name in it can have a colon."""
    return "".join(f"{xml_text(name)}:::\n" for name in classes if ":" not in name)


def voc_annotation(item: NamedImage, folder: str) -> bytes:
    image, name = item
    root = ET.Element("annotation")
    fill(root, folder=folder, filename=name)
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
        ET.SubElement(element, name).text = xml_text(value)


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
