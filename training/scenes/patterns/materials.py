"""Surfaces of one material: walls, wood, cloth, leaves, things out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import Picture, Random, between, chance, clouds, colour, pick, smooth, tinted
from training.scenes.patterns.base import Pattern, contrasting


def wall(rng: Random, height: int, width: int) -> Picture:
    dark = colour(rng, 30, 220, saturation=0.3)
    light = tuple(min(255, part + between(rng, 8, 60)) for part in dark)
    return tinted(clouds(rng, height, width, rng.uniform(1, 6)), dark, (light[0], light[1], light[2]))


def gradient(rng: Random, height: int, width: int) -> Picture:
    return tinted(smooth(rng, height, width, 1), colour(rng, 40), colour(rng, 40))


def wood(rng: Random, height: int, width: int) -> Picture:
    grain = cv2.resize(clouds(rng, max(8, height), max(8, width // 12), 24, 3), (width, height))
    rings = (np.sin(grain * rng.uniform(10, 50)) + 1) / 2
    light = (between(rng, 60, 150), between(rng, 110, 190), between(rng, 150, 230))
    dark = tuple(int(part * rng.uniform(0.35, 0.8)) for part in light)
    return tinted(rings.astype(np.float32), (dark[0], dark[1], dark[2]), light)


def cloth(rng: Random, height: int, width: int) -> Picture:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    bend = smooth(rng, height, width, 3) * rng.uniform(0, 20)
    period = rng.uniform(2.5, 9)
    weave = np.sin((x + bend) * (2 * np.pi / period)) * rng.uniform(0.2, 1)
    weave = weave + np.sin((y + bend) * (2 * np.pi / period)) * rng.uniform(0, 1)
    folds = clouds(rng, height, width, 2, 2)
    base = colour(rng, 20, 200, saturation=0.6)
    light = tuple(min(255, part + between(rng, 20, 80)) for part in base)
    return tinted((weave / 6 + folds).astype(np.float32), base, (light[0], light[1], light[2]))


def specks(rng: Random, height: int, width: int) -> Picture:
    """Gravel, carpet, terrazzo."""
    grain = rng.random(
        (max(2, height // between(rng, 1, 6)), max(2, width // between(rng, 1, 6))), np.float32
    )
    return tinted(cv2.resize(grain, (width, height)), *contrasting(rng))


def leaves(rng: Random, height: int, width: int) -> Picture:
    picture = wall(rng, height, width)
    tone = colour(rng, 20, 200)
    for _ in range(between(rng, 40, 250)):
        shade = rng.uniform(0.4, 1.4)
        paint = tuple(min(255, int(part * shade)) for part in tone)
        centre = (between(rng, 0, width), between(rng, 0, height))
        axes = (between(rng, 3, width / 10), between(rng, 2, width / 25))
        cv2.ellipse(picture, centre, axes, rng.uniform(0, 360), 0, 360, paint, -1, cv2.LINE_AA)
    return picture


def shapes(rng: Random, height: int, width: int) -> Picture:
    """Things of one colour in front of each other: a table top, a room out of focus."""
    picture = gradient(rng, height, width)
    for _ in range(between(rng, 3, 25)):
        paint = colour(rng)
        x, y = between(rng, -width / 4, width), between(rng, -height / 4, height)
        w, h = between(rng, 5, width / 1.5), between(rng, 5, height / 1.5)
        if chance(rng, 0.5):
            turned_box = cv2.boxPoints(((x, y), (w, h), float(rng.uniform(0, 180)))).astype(np.int32)
            cv2.fillPoly(picture, [turned_box], paint, cv2.LINE_AA)
        else:
            cv2.ellipse(
                picture, (x, y), (w // 2, h // 2), rng.uniform(0, 180), 0, 360, paint, -1, cv2.LINE_AA
            )
    if chance(rng, 0.6):
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 8)).astype(np.uint8)
    return picture


def clutter(rng: Random, height: int, width: int) -> Picture:
    """Round and angular things of all sizes in front of each other, few large and many small, each shaded:
    as strong on every scale as photographs are."""
    picture = gradient(rng, height, width)
    tones = [colour(rng, 10, 245) for _ in range(between(rng, 3, 9))]
    for size in np.sort(rng.pareto(1.3, between(rng, 60, 300)) + 1)[::-1] * rng.uniform(2, 5):
        reach = int(min(size, min(height, width) / 2))
        x, y = between(rng, 0, width - 1), between(rng, 0, height - 1)
        view = picture[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        mask = np.zeros(view.shape[:2], np.uint8)
        centre = (min(x, reach), min(y, reach))
        if chance(rng, 0.5):
            axes = (reach, max(1, int(reach * rng.uniform(0.2, 1))))
            cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        else:
            corners = centre + rng.normal(0, reach / 2, (between(rng, 3, 7), 2))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        paint = np.array(pick(rng, tones)) * rng.uniform(0.5, 1.3)
        slope = np.linspace(rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2), view.shape[1])[None, :, None]
        share = mask[..., None].astype(np.float32) / 255
        view[:] = np.clip(view * (1 - share) + paint * slope * share, 0, 255)
    if chance(rng, 0.4):
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 5)).astype(np.uint8)
    return picture


SURFACES: tuple[Pattern, ...] = (wall, gradient, wood, cloth, specks, leaves, shapes, clutter, clutter)
