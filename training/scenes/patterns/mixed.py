"""Several patterns in one picture, and how often each is chosen."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import Picture, Random, between, blend, chance, pick
from training.scenes.patterns.base import Pattern, turned
from training.scenes.patterns.grids import GRIDS, balconies, coins, facade
from training.scenes.patterns.materials import SURFACES, clutter, specks
from training.scenes.patterns.stripes import (
    bent_stripes,
    book_backs,
    dial,
    even_stripes,
    fading_lines,
    piano,
    planks,
    railings,
    ripples,
    roof,
    ruler,
    zebra,
)
from training.scenes.patterns.writing import WRITTEN

STRIPED: tuple[Pattern, ...] = (
    even_stripes, bent_stripes, bent_stripes, planks, book_backs, piano, zebra, ripples, ripples, ruler, dial,
    fading_lines, railings, roof, balconies,
)  # fmt: skip
MISLEADING: tuple[Pattern, ...] = (balconies, balconies, railings, roof, coins)
"""What the detector has taken for codes in photographs."""
EVERYTHING = SURFACES + STRIPED + GRIDS + WRITTEN


def photo(rng: Random, height: int, width: int) -> Picture:
    """Parts of several of these beside and in front of each other: a room, a street, a desk."""
    picture = pick(rng, SURFACES)(rng, height, width)
    for _ in range(between(rng, 1, 4)):
        h, w = between(rng, height / 8, height / 1.3), between(rng, width / 8, width / 1.3)
        y, x = between(rng, 0, height - h), between(rng, 0, width - w)
        patch = pick(rng, EVERYTHING)(rng, h, w)
        mask = np.zeros((h, w), np.float32)
        if chance(rng, 0.3):
            cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1.0, -1)
        else:
            corners = np.array([(0, 0), (w, 0), (w, h), (0, h)]) + rng.normal(0, min(h, w) / 12, (4, 2))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
        view = picture[y : y + h, x : x + w]
        view[:] = blend(view, patch, mask)
    return picture


def details(rng: Random, height: int, width: int) -> Picture:
    """Small things as large as codes are: railings, vents, coins, signs, stickers, windows far away."""
    picture = pick(rng, (*SURFACES, facade))(rng, height, width)
    for _ in range(between(rng, 4, 30)):
        w = between(rng, 8, max(10, min(height, width) / 4))
        h = between(rng, max(8, w / 3), max(10, min(w * 1.5, height - 1)))
        if h >= height or w >= width:
            continue
        y, x = between(rng, 0, height - h), between(rng, 0, width - w)
        patch = turned(rng, pick(rng, (railings, *STRIPED, *GRIDS, *WRITTEN, specks, clutter)), h, w)
        mask = np.full((h, w), rng.uniform(0.4, 1), np.float32)
        if chance(rng, 0.4):
            inside = np.zeros((h, w), np.float32)
            cv2.ellipse(inside, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1.0, -1)
            mask *= inside
        view = picture[y : y + h, x : x + w]
        view[:] = blend(view, patch, mask)
    return picture


def backdrop(rng: Random, height: int, width: int) -> Picture:
    """What codes lie on: mostly plain, sometimes hard."""
    if chance(rng, 0.55):
        return pick(rng, SURFACES)(rng, height, width)
    return turned(rng, pick(rng, (photo, details, pick(rng, EVERYTHING))), height, width)


def distractor(rng: Random, height: int, width: int) -> Picture:
    """A picture without a code that may well be taken for one."""
    kind = pick(rng, (STRIPED, GRIDS, WRITTEN, WRITTEN, (photo, clutter), (details,), SURFACES, MISLEADING))
    return turned(rng, pick(rng, kind), height, width)
