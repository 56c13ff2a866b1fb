"""What all renders are drawn with: smooth noise, colours, fonts, words."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""BGR, 8 bit, (height, width, 3)."""
Field = NDArray[np.float32]
"""(height, width)."""
Points = NDArray[np.float64]
"""(n, 2): x and y in pixels."""
Colour = tuple[int, int, int]
Random = np.random.Generator

TEXT = (
    "the of and to in is for that with as are on by be this from at or an was it not which have one all "
    "new sugar salt water milk wheat flour oil vitamin energy protein fat contains store cool dry place "
    "best before see side net weight ingredients made product company limited street invoice total amount "
    "price quantity number date order customer delivery return policy warranty model serial voltage power "
    "input output caution warning keep away children read instructions chapter section volume press "
    "university library history science nature market report daily evening edition people world city "
    "north south station ticket platform"
)
WORDS = TEXT.split()
CONSONANTS, VOWELS = "bcdfghklmnprstvwz", "aeiou"


def smooth(rng: Random, height: int, width: int, cells: float) -> Field:
    """Noise between 0 and 1 that varies over about 1/cells of the longer side."""
    step = max(height, width) / max(cells, 0.5)
    rows, columns = max(2, round(height / step) + 1), max(2, round(width / step) + 1)
    coarse = rng.random((rows, columns), np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine, 0, 1).astype(np.float32)


def clouds(rng: Random, height: int, width: int, cells: float = 3, octaves: int = 4) -> Field:
    """Noise between about 0 and 1 with detail on several scales."""
    layers = [smooth(rng, height, width, cells * 2**octave) / 2**octave for octave in range(octaves)]
    return (np.sum(layers, axis=0) / (2 - 2 ** (1 - octaves))).astype(np.float32)


def chance(rng: Random, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: Random, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def between(rng: Random, low: float, high: float) -> int:
    """A whole number, both ends included."""
    return int(rng.integers(round(low), max(round(low), round(high)) + 1))


def colour(rng: Random, low: int = 0, high: int = 255, *, saturation: float | None = None) -> Colour:
    """Most things are rather grey; some are not."""
    if saturation is None:
        saturation = rng.beta(1, 1.6)
    grey = rng.uniform(low, high)
    blue, green, red = (int(grey + (rng.uniform(low, high) - grey) * saturation) for _ in range(3))
    return blue, green, red


def plain(height: int, width: int, paint: Colour) -> Picture:
    return np.full((height, width, 3), paint, np.uint8)


def like(field: Field, paint: Colour) -> Picture:
    """Of the same size, in one colour."""
    return plain(field.shape[0], field.shape[1], paint)


def blend(first: Picture, second: Picture, share: Field) -> Picture:
    """`share` 1 is all of the second."""
    weight = np.clip(share, 0, 1)[..., None]
    return (first * (1 - weight) + second * weight).astype(np.uint8)


def tinted(field: Field, dark: Colour, light: Colour) -> Picture:
    """0 becomes dark, 1 light."""
    return blend(like(field, dark), like(field, light), field)


def font_folder() -> Path:
    """Of the fonts that come with matplotlib, which ultralytics needs."""
    package = find_spec("matplotlib")
    if package is None or package.origin is None:
        raise FileNotFoundError("matplotlib, whose fonts are used, is not installed.")
    return Path(package.origin).parent / "mpl-data" / "fonts" / "ttf"


@cache
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Of a file in `font_folder`, or Pillow's own."""
    return ImageFont.load_default(size) if name == "own" else ImageFont.truetype(font_folder() / name, size)


def font(rng: Random, size: int, names: tuple[str, ...]) -> Any:
    return load_font(pick(rng, names), max(4, size))


def word(rng: Random) -> str:
    if chance(rng, 0.6):
        made: str = pick(rng, WORDS)
    elif chance(rng, 0.5):
        made = "".join(pick(rng, CONSONANTS) + pick(rng, VOWELS) for _ in range(between(rng, 1, 4)))
    else:
        made = str(between(rng, 0, 10 ** between(rng, 1, 6)))
    return made.capitalize() if chance(rng, 0.2) else made


def words(rng: Random, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


def digits(rng: Random, count: int) -> str:
    return "".join(map(str, rng.integers(0, 10, count)))


def write_text(picture: Picture, at: tuple[float, float], text: str, face: Any, paint: Colour) -> Picture:
    """The picture with the text on it; lines are parted by line feeds."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).multiline_text(
        at, text, fill=paint, font=face, spacing=max(1, int(face.size * 0.25))
    )
    return np.array(image)
