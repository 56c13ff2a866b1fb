"""Renders a set of scenes into a folder in YOLO's layout: images/ and labels/, unclear codes included."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from training import VERSION
from training.scenes.composition import Scene, crowd, scene
from training.scenes.heldout import held_out
from training.scenes.symbols import UNCLEAR

ABOUT = "about.json"
Render = Callable[[int, int], Scene]
"""Makes the scene of a seed and a size."""
MAKERS: dict[str, Render] = {make.__name__: make for make in (scene, crowd, held_out)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene (0)")
    parser.add_argument("--size", type=int, default=416, help="the longer side, about, in pixels (416)")
    parser.add_argument(
        "--made",
        choices=MAKERS,
        default="scene",
        help="scene (the default); crowd: four in a picture; held_out: of the world that is measured in",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="one for each core")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.count)
    render_set(arguments.folder, MAKERS[arguments.made], seeds, arguments.size, arguments.workers)


def render_set(folder: Path, make: Render, seeds: range, size: int, workers: int = 1) -> None:
    prepare(folder, make, seeds, size)
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, [1]) as pool:
        for _ in pool.imap_unordered(partial(render_one, folder, make, size), seeds, chunksize=16):
            pass


def render_one(folder: Path, make: Render, size: int, seed: int) -> None:
    save(folder, make(seed, size), seed)


def prepare(folder: Path, make: Render, seeds: range, size: int) -> None:
    """Make the folders of a set and note which scenes it will hold."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    about = {
        "made": make.__name__,
        "first": seeds.start,
        "count": len(seeds),
        "size": size,
        "version": VERSION,
    }
    (folder / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")


def save(folder: Path, made: Scene, seed: int) -> None:
    height, width = made.picture.shape[:2]
    (folder / f"images/{seed:08}.jpg").write_bytes(encoded(made))
    labels = [(box.class_id, box) for box in made.boxes] + [(UNCLEAR, box) for box in made.unclear]
    lines = [
        f"{class_id} {(box.x1 + box.x2) / 2 / width:.6f} {(box.y1 + box.y2) / 2 / height:.6f} "
        f"{(box.x2 - box.x1) / width:.6f} {(box.y2 - box.y1) / height:.6f}\n"
        for class_id, box in labels
    ]
    (folder / f"labels/{seed:08}.txt").write_text("".join(lines), encoding="ascii")


def encoded(made: Scene) -> bytes:
    """The scene as a JPEG, in its camera's quality."""
    _, data = cv2.imencode(".jpg", made.picture, [cv2.IMWRITE_JPEG_QUALITY, made.quality])
    return data.tobytes()


if __name__ == "__main__":
    main()
