"""Renders scenes and keeps those in which a detector errs, to train on them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from detections.inference import load_detector
from training.evaluate import Outcome, outcome
from training.render import ABOUT, prepare, save
from training.scenes.composition import Scene, scene

FALSE_ALARM = 0.2
"""The confidence from which a finding where no code is counts as an error."""
SURE = 0.4
"""The confidence below which a code counts as not found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", type=Path, required=True, help="folder of an OpenVINO export")
    parser.add_argument("--count", type=int, default=2000, help="of the scenes that are tried (2000)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene (0)")
    parser.add_argument("--size", type=int, default=640, help="the longer side, about, in pixels (640)")
    parser.add_argument("--codes", action="store_true", help="scenes of all kinds, not only empty ones")
    arguments = parser.parse_args()
    detector = load_detector(arguments.detector, "openvino")
    seeds = range(arguments.first, arguments.first + arguments.count)
    make = scene if arguments.codes else barren
    prepare(arguments.folder, make, seeds, arguments.size)
    kept = 0
    for seed in seeds:
        made = make(seed, arguments.size)
        if errs(outcome(detector, made)):
            save(arguments.folder, made, seed)
            kept += 1
    note(arguments.folder / ABOUT, kept)


def barren(seed: int, size: int) -> Scene:
    return scene(seed, size, empty=1)


def errs(of: Outcome) -> bool:
    """Whether there is a false alarm or a missed code."""
    false_alarms = (of.matches < 0) & (of.confidences >= FALSE_ALARM)
    found = of.matches[(of.matches >= 0) & (of.confidences >= SURE)]
    return bool(false_alarms.any()) or len(np.unique(found)) < len(of.classes)


def note(file: Path, kept: int) -> None:
    about = json.loads(file.read_text("utf-8")) | {"kept": kept}
    file.write_text(json.dumps(about) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
