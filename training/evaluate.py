"""Measures a detector on the held-out scenes, through the project's own inference."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detections.detectors.preparation import MANIFEST
from detections.inference import LoadedDetector, Options, load_detector
from training.render import encoded
from training.scenes.composition import Box, Scene
from training.scenes.heldout import held_out
from training.scenes.symbols import CLASSES

IOU = 0.5
LEAST_MAP50, LEAST_PRECISION, AT_RECALL = 0.95, 0.95, 0.90
SIZES = ((0, 32), (32, 64), (64, 128), (128, 256), (256, 10_000))
"""Ranges of a code's longer side, in pixels of the 640-pixel picture."""

SPEED_PASSES = 5

Boxes = NDArray[np.float64]
"""Rows of corners x1 y1 x2 y2, in pixels."""
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The codes of one scene and the findings in it. `matches[i]` is the box that finding i meets, or -1.

    Findings that meet an unclear code are left out, like PASCAL VOC's difficult objects.
    """

    classes: Numbers
    extents: Floats
    found_classes: Numbers
    confidences: Floats
    matches: Numbers


@dataclass(frozen=True, slots=True)
class Measures:
    """Values from 0 to 1, except `false_alarms`: findings per scene without codes, by confidence."""

    ap50: dict[str, float]
    precision: float
    """Precision at a recall of 0.90, all classes together."""
    threshold: float
    """The confidence at that recall."""
    recall: dict[str, float]
    """Recall at a confidence of 0.25, by class and by the size of the code in pixels."""
    precision_at: dict[str, float]
    false_alarms: dict[str, float]
    scenes: int
    codes: int

    @property
    def map50(self) -> float:
        return float(np.mean(list(self.ap50.values())))


def outcomes(detector: LoadedDetector, scenes: Iterator[Scene]) -> list[Outcome]:
    return [outcome(detector, scene) for scene in scenes]


def outcome(detector: LoadedDetector, scene: Scene) -> Outcome:
    found = detector.predict(encoded(scene), Options(confidence=0.005))
    corners = np.array([(box.x, box.y, box.x + box.width, box.y + box.height) for box in found.boxes])
    corners = corners.reshape(-1, 4) * (found.width, found.height, found.width, found.height)
    found_classes = np.array([box.class_id for box in found.boxes], int)
    true, classes = arrays(scene.boxes)
    unclear, unclear_classes = arrays(scene.unclear)
    matches = match(true, classes, corners, found_classes)
    spared = (overlaps(corners, found_classes, unclear, unclear_classes) >= IOU).any(axis=1)
    counts = (matches >= 0) | ~spared
    return Outcome(
        classes=classes,
        extents=(true[:, 2:] - true[:, :2]).max(axis=1, initial=0),
        found_classes=found_classes[counts],
        confidences=np.array([box.confidence for box in found.boxes], float)[counts],
        matches=matches[counts],
    )


def arrays(boxes: list[Box]) -> tuple[Boxes, Numbers]:
    """The corners and the classes of boxes."""
    corners = np.array([(box.x1, box.y1, box.x2, box.y2) for box in boxes], float)
    return corners.reshape(-1, 4), np.array([box.class_id for box in boxes], int)


def match(true: Boxes, classes: Numbers, found: Boxes, found_classes: Numbers) -> Numbers:
    """For each finding, best first, the free box of its class with the highest IoU from 0.5 up, or -1."""
    free = overlaps(found, found_classes, true, classes)
    matches = np.full(len(found), -1)
    for number, row in enumerate(free):
        if row.size and row.max() >= IOU:
            matches[number] = row.argmax()
            free[:, row.argmax()] = 0
    return matches


def overlaps(found: Boxes, found_classes: Numbers, there: Boxes, classes: Numbers) -> Floats:
    """The IoU of each pair; 0 for different classes."""
    return ious(found, there) * (found_classes[:, None] == classes[None])


def ious(first: Boxes, second: Boxes) -> Floats:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1][None] - common + 1e-9)


def measure(scenes: list[Outcome]) -> Measures:
    confidences = np.concatenate([scene.confidences for scene in scenes])
    found_classes = np.concatenate([scene.found_classes for scene in scenes])
    right = np.concatenate([scene.matches >= 0 for scene in scenes])
    classes = np.concatenate([scene.classes for scene in scenes])
    ap50 = {}
    for number, name in enumerate(CLASSES):
        of_class = found_classes == number
        count = int((classes == number).sum())
        ap50[name] = average_precision(confidences[of_class], right[of_class], count)
    precision, threshold = precision_at_recall(confidences, right, len(classes))
    return Measures(
        ap50=ap50,
        precision=precision,
        threshold=threshold,
        recall=recalls(scenes, 0.25),
        precision_at={str(limit): float(right[confidences >= limit].mean()) for limit in (0.25, 0.5)},
        false_alarms={str(limit): false_alarms(scenes, limit) for limit in (0.25, 0.5)},
        scenes=len(scenes),
        codes=len(classes),
    )


def curve(confidences: Floats, right: NDArray[np.bool_], count: int) -> tuple[Floats, Floats, Floats]:
    """Recall, precision and confidence, from the most confident finding to the least."""
    order = np.argsort(-confidences, kind="stable")
    hits = np.cumsum(right[order])
    return hits / max(count, 1), hits / np.arange(1, len(order) + 1), confidences[order]


def average_precision(confidences: Floats, right: NDArray[np.bool_], count: int) -> float:
    """The area under the curve over 101 points of recall, as COCO and ultralytics compute it."""
    recall, precision, _ = curve(confidences, right, count)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.mean([best[place] if place < len(best) else 0 for place in places]))


def precision_at_recall(confidences: Floats, right: NDArray[np.bool_], count: int) -> tuple[float, float]:
    recall, precision, sorted_confidences = curve(confidences, right, count)
    reached = np.flatnonzero(recall >= AT_RECALL)
    if not len(reached):
        return 0.0, 0.0
    place = reached[0] + int(np.argmax(precision[reached]))
    return float(precision[place]), float(sorted_confidences[place])


def recalls(scenes: list[Outcome], limit: float) -> dict[str, float]:
    classes = np.concatenate([scene.classes for scene in scenes])
    extents = np.concatenate([scene.extents for scene in scenes])
    found = np.concatenate([
        np.isin(np.arange(len(scene.classes)), scene.matches[scene.confidences >= limit]) for scene in scenes
    ])  # fmt: skip
    by_class = {name: mean_of(found[classes == number]) for number, name in enumerate(CLASSES)}
    by_size = {f"{low} to {high}": mean_of(found[(extents >= low) & (extents < high)]) for low, high in SIZES}
    return by_class | by_size


def mean_of(chosen: NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if len(chosen) else 1.0


def false_alarms(scenes: list[Outcome], limit: float) -> float:
    empty = [scene for scene in scenes if not len(scene.classes)]
    return sum(int((scene.confidences >= limit).sum()) for scene in empty) / max(len(empty), 1)


# The command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the detector's: an OpenVINO export")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument(
        "--size", type=int, default=640, help="the longer side of the scenes, about, in pixels (640)"
    )
    parser.add_argument("--record", action="store_true", help="write the measures into the folder's manifest")
    arguments = parser.parse_args()
    detector = load_detector(arguments.folder, "openvino")
    measures = measure(
        outcomes(detector, (held_out(seed, arguments.size) for seed in range(arguments.scenes)))
    )
    report(measures)
    if arguments.record:
        record_measures(measures, arguments.folder / MANIFEST)
    compare_speed(detector)
    if measures.map50 < LEAST_MAP50 or measures.precision < LEAST_PRECISION:
        sys.exit(
            f"Below the requirements: mAP50 {LEAST_MAP50}, precision {LEAST_PRECISION} at recall {AT_RECALL}."
        )


def record_measures(measures: Measures, file: Path) -> None:
    manifest = json.loads(file.read_text("utf-8"))
    manifest["measured"] = rounded({"map50": measures.map50, **asdict(measures)})
    file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return round(value, 4)


def report(measures: Measures) -> None:
    classes = ", ".join(f"{name} {value:.3f}" for name, value in measures.ap50.items())
    say(f"{measures.scenes} held-out scenes with {measures.codes} codes")
    say(f"mAP50 {measures.map50:.3f}: {classes}")
    say(f"at recall {AT_RECALL}: precision {measures.precision:.3f}, confidence {measures.threshold:.2f}")
    for limit, precision in measures.precision_at.items():
        alarms = measures.false_alarms[limit]
        say(f"at confidence {limit}: precision {precision:.3f}, {alarms:.3f} false alarms an empty scene")
    say("found at confidence 0.25:")
    for name, value in measures.recall.items():
        say(f"  {name:<14} {value:.3f}")


def compare_speed(detector: LoadedDetector) -> None:
    """Compare with the detectors of COCO_DETECTORS, alternating on each image for equal load."""
    folders = [Path(folder) for folder in os.environ.get("COCO_DETECTORS", "").split(":") if folder]
    others = {folder.name: load_detector(folder, "openvino") for folder in folders}
    detectors = {"this one": detector} | others
    times: dict[str, list[float]] = {name: [] for name in detectors}
    pictures = [encoded(held_out(seed, 640)) for seed in range(20)]
    for picture in pictures * SPEED_PASSES:
        for name, one in detectors.items():
            times[name].append(one.predict(picture, Options(), alone=True).milliseconds)
    medians = {name: float(np.median(taken)) for name, taken in times.items()}
    for name, median in medians.items():
        say(f"{name}: {median:.1f} ms an image, to which this one is {medians['this one'] / median:.2f}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
