"""Measures a detector on the held-out scenes, through the project's own inference, as it ships."""

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

from detections.inference import LoadedDetector, Options, load
from detections.preparing import MANIFEST
from training.heldout import held_out
from training.render import encoded
from training.scenes import Box, Scene
from training.symbols import CLASSES

IOU = 0.5
LEAST_MAP50, LEAST_PRECISION, AT_RECALL = 0.95, 0.95, 0.90
SIZES = ((0, 32), (32, 64), (64, 128), (128, 256), (256, 10_000))
"""Of a code's longer side in pixels of the 640-pixel picture."""

SPEED_PASSES = 5

Boxes = NDArray[np.float64]
"""Rows of corners x1 y1 x2 y2, in pixels."""
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scene holds and what was found in it. `matches[i]` is the box that finding i meets, or -1.
    Findings that meet an unclear code are left out, as are those of PASCAL VOC's difficult objects."""

    classes: Numbers
    extents: Floats
    found_classes: Numbers
    confidences: Floats
    matches: Numbers


@dataclass(frozen=True, slots=True)
class Measures:
    """All between 0 and 1, but for `false_alarms`: findings per scene without codes, by confidence."""

    ap50: dict[str, float]
    precision: float
    """At a recall of 0.90, all classes together."""
    threshold: float
    """The confidence there."""
    recall: dict[str, float]
    """At a confidence of 0.25, by class and by the size of the code in pixels."""
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
    """Their corners and their classes."""
    corners = np.array([(box.x1, box.y1, box.x2, box.y2) for box in boxes], float)
    return corners.reshape(-1, 4), np.array([box.class_id for box in boxes], int)


def match(true: Boxes, classes: Numbers, found: Boxes, found_classes: Numbers) -> Numbers:
    """Best finding first, each takes the box of its class that it overlaps most, if by half and still
    free."""
    free = overlaps(found, found_classes, true, classes)
    matches = np.full(len(found), -1)
    for number, row in enumerate(free):
        if row.size and row.max() >= IOU:
            matches[number] = row.argmax()
            free[:, row.argmax()] = 0
    return matches


def overlaps(found: Boxes, found_classes: Numbers, there: Boxes, classes: Numbers) -> Floats:
    """The IoU of each two, 0 if they are of different classes."""
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
    """Recall, precision and confidence, from the surest finding to the last."""
    order = np.argsort(-confidences, kind="stable")
    hits = np.cumsum(right[order])
    return hits / max(count, 1), hits / np.arange(1, len(order) + 1), confidences[order]


def average_precision(confidences: Floats, right: NDArray[np.bool_], count: int) -> float:
    """The area under the curve, over 101 points of recall, as COCO and ultralytics have it."""
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
    by_class = {name: share(found[classes == number]) for number, name in enumerate(CLASSES)}
    by_size = {f"{low} to {high}": share(found[(extents >= low) & (extents < high)]) for low, high in SIZES}
    return by_class | by_size


def share(chosen: NDArray[np.bool_]) -> float:
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
    detector = load(arguments.folder, "openvino")
    measures = measure(
        outcomes(detector, (held_out(seed, arguments.size) for seed in range(arguments.scenes)))
    )
    report(measures)
    if arguments.record:
        record(measures, arguments.folder / MANIFEST)
    compare_speed(detector)
    if measures.map50 < LEAST_MAP50 or measures.precision < LEAST_PRECISION:
        sys.exit(
            f"Below what is asked: mAP50 {LEAST_MAP50}, precision {LEAST_PRECISION} at recall {AT_RECALL}."
        )


def record(measures: Measures, file: Path) -> None:
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
    """Against the detectors that COCO_DETECTORS names, each image in turn, so that all meet the same load."""
    folders = [Path(folder) for folder in os.environ.get("COCO_DETECTORS", "").split(":") if folder]
    detectors = {"this one": detector} | {folder.name: load(folder, "openvino") for folder in folders}
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
