"""Renders a set of scenes into a folder in YOLO's layout: images/, labels/ and data.yaml."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import yaml

from training import VERSION
from training.heldout import held_out
from training.scenes import Scene, scene
from training.symbols import CLASSES

ABOUT = "about.json"
Render = Callable[[int, int], Scene]
"""Of a seed and a size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene (0)")
    parser.add_argument("--size", type=int, default=416, help="the longer side, about, in pixels (416)")
    parser.add_argument(
        "--held-out", action="store_true", help="of the world that is measured in, not trained on"
    )
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.count)
    made = held_out if arguments.held_out else scene
    render(arguments.folder, made, seeds, arguments.size, arguments.workers)


def render(folder: Path, make: Render, seeds: range, size: int, workers: int = 1) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made_of = {"world": make.__name__, "first": seeds.start, "count": len(seeds), "size": size}
    (folder / ABOUT).write_text(json.dumps({**made_of, "version": VERSION}) + "\n", encoding="utf-8")
    about = {
        "path": str(folder.resolve()),
        "train": "images",
        "val": "images",
        "names": dict(enumerate(CLASSES)),
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, [1]) as pool:
        for _ in pool.imap_unordered(partial(save, folder, make, size), seeds, chunksize=16):
            pass


def save(folder: Path, make: Render, size: int, seed: int) -> None:
    made = make(seed, size)
    height, width = made.picture.shape[:2]
    cv2.imwrite(str(folder / f"images/{seed:08}.jpg"), made.picture, [cv2.IMWRITE_JPEG_QUALITY, made.quality])
    lines = [
        f"{box.class_id} {(box.x1 + box.x2) / 2 / width:.6f} {(box.y1 + box.y2) / 2 / height:.6f} "
        f"{(box.x2 - box.x1) / width:.6f} {(box.y2 - box.y1) / height:.6f}\n"
        for box in made.boxes
    ]
    (folder / f"labels/{seed:08}.txt").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
