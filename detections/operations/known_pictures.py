"""Sample pictures with the objects that are on them: does a loaded detector find these?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detections import inference
from detections.images.boxes import Box, iou
from detections.operations import demo

SAME_OBJECT_IOU = 0.5
# On ultralytics' street scene, in pixels. YOLO26n and YOLOv8n are sure of them (0.87 and more).
STREET = [
    {"object_class": "bus", "corners": [13, 231, 806, 767]},
    {"object_class": "person", "corners": [48, 396, 240, 904]},
    {"object_class": "person", "corners": [224, 405, 344, 860]},
    {"object_class": "person", "corners": [669, 384, 809, 881]},
]


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the known objects were found; `known` is 0 for a detector of other classes."""

    found: int
    known: int


def score(detector: inference.LoadedDetector) -> Score:
    names = set(detector.classes.values())
    found = known = 0
    for picture, objects in known_pictures():
        wanted = [each for each in objects if each["object_class"] in names]
        if wanted:
            seen = detector.predict(picture.read_bytes(), inference.Options(), alone=True)
            known += len(wanted)
            found += sum(is_seen(each, seen) for each in wanted)
    return Score(found, known)


def known_pictures() -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Each with its objects: `object_class`, and `corners` in pixels."""
    scenes = demo.sample_scenes()
    codes = json.loads(scenes[0].with_name("codes.json").read_text())
    yield from ((scene, codes[scene.name]) for scene in scenes)
    if photo := demo.sample_photo_if_installed():
        yield photo, STREET


def is_seen(wanted: dict[str, Any], seen: inference.Found) -> bool:
    left, top, right, bottom = wanted["corners"]
    name, width, height = wanted["object_class"], seen.width, seen.height
    sides = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    place = Box(0, name, 1.0, *sides)
    return any(box.object_class == name and iou(box, place) >= SAME_OBJECT_IOU for box in seen.boxes)
