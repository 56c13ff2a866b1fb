"""Export formats: COCO, YOLO, Pascal VOC, Label Studio, CSV and JSON Lines.

Each writes the images that it is given, in their order, and keeps none of them: memory does not grow with
their number. The images come with their detectors and results.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO

from detections.exports import coco, label_studio, pictures, tables, voc, yolo
from detections.exports.file_names import NamedImage, name_images
from detections.exports.zip_writer import Archive
from detections.models import DetectionImage, Export

Formats = Export.Format


@dataclass(frozen=True, slots=True)
class Format:
    """`write` writes a file of this type, `pack` an archive; in it, pictures have a folder."""

    extension: str
    media_type: str
    write: Callable[[IO[bytes], Iterable[NamedImage], Export], None] | None = None
    pack: Callable[[Archive, Iterable[NamedImage], Export], None] | None = None
    pictures: str = "images"


ZIP = (".zip", "application/zip")
FORMATS: dict[str, Format] = {
    Formats.COCO: Format(".json", "application/json", coco.write_coco, coco.pack_coco),
    Formats.YOLO: Format(*ZIP, pack=yolo.pack_yolo),
    Formats.VOC: Format(*ZIP, pack=voc.pack_voc, pictures=voc.PICTURES),
    Formats.LABELSTUDIO: Format(
        ".json",
        "application/json",
        label_studio.write_tasks,
        label_studio.pack_tasks,
        label_studio.PICTURES,
    ),
    Formats.CSV: Format(".csv", "text/csv; charset=utf-8", tables.write_csv),
    Formats.JSONL: Format(".jsonl", "application/jsonl", tables.write_json_lines),
}
WITH_PICTURES = [str(name) for name, made in FORMATS.items() if made.pack]


def type_of(export: Export) -> tuple[str, str]:
    """The extension and the media type of its file."""
    made = FORMATS[export.format]
    return ZIP if export.images else (made.extension, made.media_type)


def write_export(
    file: IO[bytes],
    images: Iterable[DetectionImage],
    export: Export,
    check_space: Callable[[int], None] = pictures.take_any_space,
) -> None:
    """Write what the export's format and options ask for.

    `check_space` is called with the bytes of each picture before it is written.
    """
    made = FORMATS[export.format]
    items: Iterable[NamedImage] = name_images(images, export)
    if made.write and not export.images:
        made.write(file, items, export)
    elif made.pack:
        with Archive(file) as archive:
            if export.images:
                items = pictures.add_pictures(archive, items, made.pictures, check_space)
            made.pack(archive, items, export)
