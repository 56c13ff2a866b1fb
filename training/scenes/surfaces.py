"""Sheets in space: bent, wrinkled, turned, and laid into a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.drawing import Field, Picture, Points, Random, chance, clouds, smooth
from training.scenes.symbols import Code, Sheet

Matrix = NDArray[np.float64]


def bent(rng: Random, sheet: Sheet) -> Sheet:
    """As on a bottle or a bag; or flat, as most are."""
    if chance(rng, 0.25):
        return on_cylinder(rng, sheet)
    if chance(rng, 0.25):
        return wrinkled(rng, sheet)
    return sheet


def on_cylinder(rng: Random, sheet: Sheet) -> Sheet:
    """The middle faces the camera, both sides turn away and into the dark."""
    along = int(rng.integers(2))  # 0 bends along x, 1 along y
    length = sheet.picture.shape[1 - along]
    reach = rng.uniform(0.4, 1.25)  # radians from the middle to the edge
    radius = length / 2 / reach
    width = 2 * radius * np.sin(reach)  # as seen
    seen = np.arange(int(width)) - width / 2
    angles = np.arcsin(np.clip(seen / radius, -1, 1))
    flat = (angles * radius + length / 2).astype(np.float32)
    light = (0.35 + 0.65 * np.cos(angles + rng.uniform(-0.5, 0.5))).astype(np.float32)
    height = sheet.picture.shape[along]
    # Seen from a little above, a ring becomes an arc.
    sag = (1 - np.cos(angles)).astype(np.float32) * np.float32(rng.uniform(-0.25, 0.25) * radius)
    across = np.arange(height, dtype=np.float32)
    if along == 0:
        map_x, map_y = np.tile(flat, (height, 1)), across[:, None] + sag[None]
        shade = np.tile(light, (height, 1))
    else:
        map_x, map_y = across[None] + sag[:, None], np.tile(flat[:, None], (1, height))
        shade = np.tile(light[:, None], (1, height))

    def place(points: Points) -> Points:
        turned = (points[:, along] - length / 2) / radius
        moved = points.copy()
        moved[:, along] = radius * np.sin(turned) + width / 2
        moved[:, 1 - along] -= np.interp(turned, angles, sag)
        return moved

    picture = cv2.remap(sheet.picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Sheet(shaded(picture.astype(np.uint8), shade), [moved(code, place) for code in sheet.codes])


def wrinkled(rng: Random, sheet: Sheet) -> Sheet:
    """Crumpled paper, a bag: places shift with a relief, and its slopes catch the light."""
    height, width = sheet.picture.shape[:2]
    size = max(height, width)
    slope_y, slope_x = np.gradient(clouds(rng, height, width, rng.uniform(1.5, 6), 3))
    slope_x, slope_y = slope_x / slope_x.std(), slope_y / slope_y.std()
    drift, pull = size * rng.uniform(0.02, 0.1), size * rng.uniform(0, 0.004)
    shift_x = (smooth(rng, height, width, 2) - 0.5) * drift + slope_x * pull
    shift_y = (smooth(rng, height, width, 2) - 0.5) * drift + slope_y * pull
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    way = rng.uniform(0, 2 * np.pi)
    slope = (slope_x * np.cos(way) + slope_y * np.sin(way)) * rng.uniform(0.02, 0.16)
    shade = np.clip(0.95 + slope, 0.4, 1.4).astype(np.float32)

    def place(points: Points) -> Points:
        columns = points[:, 0].astype(int).clip(0, width - 1)
        rows = points[:, 1].astype(int).clip(0, height - 1)
        return points - np.column_stack([shift_x[rows, columns], shift_y[rows, columns]])

    map_x, map_y = (x + shift_x).astype(np.float32), (y + shift_y).astype(np.float32)
    picture = cv2.remap(sheet.picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Sheet(shaded(picture.astype(np.uint8), shade), [moved(code, place) for code in sheet.codes])


def moved(code: Code, place: Callable[[Points], Points]) -> Code:
    return code.at(place(code.outline))


def shaded(picture: Picture, light: Field) -> Picture:
    return np.clip(picture * light[..., None], 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a sheet lies: `middle` of the sheet comes to `place` in the picture, `scale` times as large."""

    middle: tuple[float, float]
    place: tuple[float, float]
    scale: float
    turn: float
    """Radians in the plane."""
    tilt: tuple[float, float]
    """Radians about both axes."""
    distance: float
    """Of the camera, in pixels of the picture."""

    def matrix(self) -> Matrix:
        scaled = np.diag([self.scale, self.scale, 1.0])
        scaled[:2, 2] = -self.scale * self.middle[0], -self.scale * self.middle[1]
        turned, _ = cv2.Rodrigues(np.array([0, 0, self.turn]))
        tilted, _ = cv2.Rodrigues(np.array([*self.tilt, 0.0]))
        projected = np.eye(3)
        projected[:2, :2] = tilted[:2, :2]
        projected[2, :2] = tilted[2, :2] / self.distance
        placed = np.eye(3)
        placed[:2, 2] = self.place
        return placed @ projected @ turned @ scaled


def lay(picture: Picture, sheet: Sheet, matrix: Matrix, shadow: float) -> Picture:
    """The picture with the sheet on it, and the sheet's shadow beneath: 0 is none, 1 black."""
    height, width = picture.shape[:2]
    mask = np.full(sheet.picture.shape[:2], 255, np.uint8)
    alpha = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
    share = alpha.astype(np.float32)[..., None] / 255
    warped = cv2.warpPerspective(sheet.picture, matrix, (width, height), flags=cv2.INTER_LINEAR)
    below = picture.astype(np.float32)
    if shadow:
        reach = max(height, width) * 0.03
        offset = np.float32([[1, 0, reach * 0.5], [0, 1, reach * 0.7]])  # type: ignore[arg-type]
        dark = cv2.GaussianBlur(cv2.warpAffine(alpha, offset, (width, height)), (0, 0), reach * 0.5)
        below = below * (1 - dark.astype(np.float32)[..., None] / 255 * shadow)
    return (below * (1 - share) + warped * share).astype(np.uint8)


def carried(code: Code, matrix: Matrix) -> Code:
    points = cv2.perspectiveTransform(code.outline[None], matrix)[0]
    return code.at(points.astype(np.float64))
