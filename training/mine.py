"""Renders scenes without codes and keeps those in which a detector finds one: what it has yet to learn."""

from __future__ import annotations

import argparse
from pathlib import Path

from detections.inference import LoadedDetector, Options, load
from training.render import encoded, prepare, save
from training.scenes import Scene, scene

CONFIDENCE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", type=Path, required=True, help="folder of an OpenVINO export")
    parser.add_argument("--count", type=int, default=2000, help="of the scenes that are tried (2000)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene (0)")
    parser.add_argument("--size", type=int, default=640, help="the longer side, about, in pixels (640)")
    arguments = parser.parse_args()
    detector = load(arguments.detector, "openvino")
    seeds = range(arguments.first, arguments.first + arguments.count)
    prepare(arguments.folder, barren, seeds, arguments.size)
    for seed in seeds:
        made = barren(seed, arguments.size)
        if misleads(detector, made):
            save(arguments.folder, made, seed)


def barren(seed: int, size: int) -> Scene:
    return scene(seed, size, empty=1)


def misleads(detector: LoadedDetector, made: Scene) -> bool:
    return bool(detector.predict(encoded(made), Options(confidence=CONFIDENCE)).boxes)


if __name__ == "__main__":
    main()
