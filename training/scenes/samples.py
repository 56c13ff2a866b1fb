"""Renders the scenes that the demo and the console show, and notes which codes are in the demo's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.scenes import artwork, camera, composition, surfaces, symbols
from training.scenes.composition import Scene
from training.scenes.drawing import Random
from training.scenes.patterns import materials
from training.scenes.patterns.base import Pattern
from training.scenes.surfaces import Pose
from training.scenes.symbols import CLASSES, Code, Sheet

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "detections" / "bundled" / "samples"
TRUTH = "codes.json"
HEIGHT, WIDTH = 750, 1000
CONSOLE_FOLDER = ROOT / "console" / "static" / "console" / "samples"
CONSOLE_SIZE, CONSOLE_QUALITY = (720, 540), 72  # under 80 kB

Maker = Callable[[Random, int], Sheet]


@dataclass(frozen=True, slots=True)
class Thing:
    """A sheet with codes: their size on it, its own size and where its middle lies, all in pixels."""

    artwork: Pattern
    codes: tuple[tuple[Maker, int], ...]
    size: tuple[int, int]
    place: tuple[int, int]
    turn: float
    """In degrees."""


@dataclass(frozen=True, slots=True)
class Sample:
    seed: int
    backdrop: Pattern
    things: tuple[Thing, ...]


SAMPLES = {
    "parcel": Sample(
        1,
        materials.wood,
        (
            Thing(
                artwork.ticket, ((symbols.barcode, 260), (symbols.qr_code, 130)), (520, 340), (330, 300), -8
            ),
            Thing(artwork.package, ((symbols.barcode, 170),), (260, 300), (780, 480), 12),
        ),
    ),
    "table": Sample(
        9,
        materials.cloth,
        (
            Thing(artwork.bare, ((symbols.marker, 120),), (190, 190), (220, 230), 20),
            Thing(artwork.bare, ((symbols.marker, 90),), (150, 150), (760, 200), -35),
            Thing(artwork.label, ((symbols.qr_code, 150),), (330, 260), (560, 520), 5),
        ),
    ),
}
DESK = Sample(
    8,
    materials.wall,
    (
        Thing(artwork.screen, ((symbols.qr_code, 170),), (320, 480), (240, 380), -6),
        Thing(artwork.carton, ((symbols.barcode, 220),), (380, 280), (690, 240), 9),
        Thing(artwork.bare, ((symbols.marker, 110),), (180, 180), (790, 570), 24),
    ),
)


def main() -> None:
    render_demo()
    render_console()


def render_demo() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    truth = {}
    for name, sample in SAMPLES.items():
        made = render_sample(sample)
        file = FOLDER / f"{name}.jpg"
        cv2.imwrite(str(file), made.picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        truth[file.name] = [
            {
                "object_class": CLASSES[box.class_id],
                "corners": [round(side) for side in (box.x1, box.y1, box.x2, box.y2)],
            }
            for box in made.boxes
        ]
    (FOLDER / TRUTH).write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


def render_console() -> None:
    CONSOLE_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, sample in {**SAMPLES, "desk": DESK}.items():
        small = cv2.resize(render_sample(sample).picture, CONSOLE_SIZE, interpolation=cv2.INTER_AREA)
        options = [cv2.IMWRITE_JPEG_QUALITY, CONSOLE_QUALITY]
        cv2.imwrite(str(CONSOLE_FOLDER / f"{name}.jpg"), small, options)


def render_sample(sample: Sample) -> Scene:
    rng = np.random.default_rng(sample.seed)
    picture = sample.backdrop(rng, HEIGHT, WIDTH)
    codes: list[Code] = []
    for thing in sample.things:
        width, height = thing.size
        prints = [make(rng, side) for make, side in thing.codes]
        sheet = artwork.with_codes(rng, thing.artwork, prints, height, width)
        tilt = rng.normal(0, 0.15, 2)
        pose = Pose((width / 2, height / 2), thing.place, 1, np.radians(thing.turn), (tilt[0], tilt[1]), 2000)
        picture = surfaces.lay(picture, sheet, pose.matrix(), 0.5)
        codes += [surfaces.carried(one, pose.matrix()) for one in sheet.codes]
    picture, quality = camera.photograph(rng, picture, finest=60)
    return Scene(picture, composition.boxes(codes, picture), [], quality)


if __name__ == "__main__":
    main()
