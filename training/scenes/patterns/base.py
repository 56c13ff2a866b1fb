"""What patterns share: two colours with a contrast, fonts, and the angle they are seen from."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.drawing import Colour, Picture, Random, between, chance, colour, pick

Pattern = Callable[[Random, int, int], Picture]

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
)


def contrasting(rng: Random) -> tuple[Colour, Colour]:
    """Dark and light."""
    tone = pick(rng, (0.1, 0.2, 0.7))
    return colour(rng, 0, 110, saturation=tone), colour(rng, 130, 255, saturation=tone)


def turned(rng: Random, make: Pattern, height: int, width: int) -> Picture:
    """A pattern turned by any angle, some of them seen at a slant, still filling the picture."""
    side = int(np.hypot(height, width)) + 2
    large = make(rng, side, side)
    angle = pick(rng, (0, 90, rng.normal(0, 6), rng.uniform(0, 360)))
    middle = ((side - 1) / 2, (side - 1) / 2)
    matrix = np.vstack([cv2.getRotationMatrix2D(middle, float(angle), 1), (0, 0, 1)])
    matrix[:2, 2] -= (np.array([side, side]) - (width, height)) / 2
    if chance(rng, 0.3):
        matrix = slant(rng, height, width) @ matrix
    return cv2.warpPerspective(
        large, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    ).astype(np.uint8)


def slant(rng: Random, height: int, width: int) -> NDArray[np.float64]:
    """One side of the picture goes away from the camera: floors, roofs, house fronts, shelves."""
    far = rng.uniform(0.3, 0.9)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = np.roll(corners, between(rng, 0, 3), axis=0)
    ends = moved[:2].mean(axis=0) + (moved[:2] - moved[:2].mean(axis=0)) * far
    return cv2.getPerspectiveTransform(moved, np.vstack([ends, moved[2:]]).astype(np.float32))
