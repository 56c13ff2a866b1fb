"""Patterns that are easily taken for a linear code."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import (
    Field,
    Picture,
    Random,
    between,
    blend,
    chance,
    colour,
    font,
    pick,
    plain,
    smooth,
    tinted,
    words,
    write_text,
)
from training.scenes.patterns.base import FONTS, contrasting
from training.scenes.patterns.materials import gradient, leaves, shapes, wall


def stripes_at(rng: Random, height: int, width: int, *, even: bool) -> Field:
    """0 and 1 in vertical stripes, of one width or of several."""
    period = rng.uniform(3, max(8, width / 6))
    count = int(width / period) + 2
    widths = np.full(count, period) if even else period * rng.uniform(0.4, 1.8, count)
    edges = np.cumsum(widths) - rng.uniform(0, period)
    share = rng.uniform(0.2, 0.8)
    place = np.arange(width)
    index = np.clip(np.searchsorted(edges, place), 0, count - 1)
    within = (edges[index] - place) / widths[index]
    return np.tile((within < share).astype(np.float32), (height, 1))


def even_stripes(rng: Random, height: int, width: int) -> Picture:
    """Blinds, fences, corduroy, radiators, grilles."""
    field = stripes_at(rng, height, width, even=True)
    if chance(rng, 0.5):  # round slats
        field = cv2.GaussianBlur(field, (0, 0), rng.uniform(1, 6))
    return tinted(field, *contrasting(rng))


def planks(rng: Random, height: int, width: int) -> Picture:
    """Uneven stripes of several colours: books on a shelf, planks, clothes on a rail."""
    picture = plain(height, width, colour(rng, 0, 90))
    tones = [colour(rng, saturation=rng.uniform(0.2, 1)) for _ in range(between(rng, 2, 12))]
    x = 0
    while x < width:
        w = between(rng, 3, max(5, width / between(rng, 5, 30)))
        top = between(rng, 0, height / 3) if chance(rng, 0.5) else 0
        cv2.rectangle(picture, (x, top), (x + w - between(rng, 0, 2), height), pick(rng, tones), -1)
        x += w
    return picture


def book_backs(rng: Random, height: int, width: int) -> Picture:
    """With titles along them."""
    picture = planks(rng, height, width)
    lines = "\n".join(words(rng, between(rng, 1, 4)) for _ in range(between(rng, 5, 20)))
    size = between(rng, 8, max(9, height / 14))
    back = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE).astype(np.uint8)
    back = write_text(back, (between(rng, 0, 60), 0), lines, font(rng, size, FONTS), colour(rng, 100, 255))
    return cv2.rotate(back, cv2.ROTATE_90_COUNTERCLOCKWISE).astype(np.uint8)


def piano(rng: Random, height: int, width: int) -> Picture:
    picture = plain(height, width, colour(rng, 200, 255, saturation=0.1))
    key = max(5, width / between(rng, 6, 30))
    top = between(rng, 0, height / 3)
    cv2.rectangle(picture, (0, 0), (width, top), colour(rng, 0, 80), -1)
    for number in range(int(width / key) + 1):
        x = int(number * key)
        cv2.line(picture, (x, top), (x, height), (60, 60, 60), 1)
        if number % 7 in {0, 1, 3, 4, 5}:
            end = int(top + (height - top) * 0.62)
            cv2.rectangle(picture, (int(x + key * 0.68), top), (int(x + key * 1.3), end), (20, 20, 20), -1)
    return picture


def zebra(rng: Random, height: int, width: int) -> Picture:
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    bend = smooth(rng, height, width, rng.uniform(2, 6)) * rng.uniform(0.2, 1.5)
    waves = np.sin((x + y * rng.uniform(-1, 1) + bend) * rng.uniform(15, 90))
    field = np.clip(waves * rng.uniform(1, 8) + 0.5, 0, 1)
    return tinted(field.astype(np.float32), *contrasting(rng))


def ripples(rng: Random, height: int, width: int) -> Picture:
    """Noise of about one wavelength, in all directions or mostly in one: coats of animals, fingerprints,
    sand, corduroy, knitting, bark, hedges."""
    wavelength = rng.uniform(5, max(8, min(height, width) / 8))
    along = pick(rng, (1, rng.uniform(1, 4), rng.uniform(3, 12)))
    rough = rng.standard_normal((height, width), np.float32)
    inner = cv2.GaussianBlur(rough, (0, 0), wavelength / 5, sigmaY=wavelength / 5 * along)
    outer = cv2.GaussianBlur(rough, (0, 0), wavelength / 2.5, sigmaY=wavelength / 2.5 * along)
    waves = inner - outer
    waves = warped(rng, waves / max(float(waves.std()), 1e-6))
    field = np.clip(waves * rng.uniform(0.3, 4) + rng.uniform(0.2, 0.8), 0, 1)
    return tinted(field.astype(np.float32), *contrasting(rng))


def warped(rng: Random, field: Field) -> Field:
    """Bent in large curves, or not."""
    height, width = field.shape
    reach = max(height, width) * pick(rng, (0, rng.uniform(0.05, 0.6)))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    cells = rng.uniform(1, 3)
    map_x = x + (smooth(rng, height, width, cells) - 0.5) * np.float32(reach)
    map_y = y + (smooth(rng, height, width, cells) - 0.5) * np.float32(reach)
    return cv2.remap(field, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)


def bent_stripes(rng: Random, height: int, width: int) -> Picture:
    """Stripes of one width over everything, most in curves: awnings, hoses, coils, tyres, flags."""
    field = warped(rng, stripes_at(rng, height, width, even=True))
    return tinted(cv2.GaussianBlur(field, (0, 0), rng.uniform(0.5, 2)).astype(np.float32), *contrasting(rng))


def ruler(rng: Random, height: int, width: int) -> Picture:
    """A scale with ticks and numbers."""
    dark, light = contrasting(rng)
    picture = plain(height, width, light)
    step = rng.uniform(3, 12)
    y = between(rng, 0, height / 2)
    for number in range(int(width / step)):
        length = height * (0.3 if number % 10 == 0 else 0.2 if number % 5 == 0 else 0.12)
        x = int(number * step)
        cv2.line(picture, (x, y), (x, int(y + length)), dark, 1 + (step > 7), cv2.LINE_AA)
        if number % 10 == 0:
            place = (x, int(y + height * 0.3 + 12))
            cv2.putText(
                picture, str(number // 10), place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, dark, 1, cv2.LINE_AA
            )
    return picture


def dial(rng: Random, height: int, width: int) -> Picture:
    dark, light = contrasting(rng)
    picture = plain(height, width, dark if chance(rng, 0.5) else light)
    paint = light if picture[0, 0, 0] == dark[0] else dark
    centre = np.array([width / 2 + rng.normal(0, width / 8), height / 2 + rng.normal(0, height / 8)])
    radius = min(height, width) * rng.uniform(0.25, 0.5)
    count = between(rng, 24, 120)
    for number in range(count):
        angle = number / count * rng.choice([np.pi * 2, np.pi * 1.5])
        way = np.array([np.cos(angle), np.sin(angle)])
        inner = radius * (0.82 if number % 5 == 0 else 0.9)
        start, end = (centre + way * inner).astype(int), (centre + way * radius).astype(int)
        cv2.line(picture, start.tolist(), end.tolist(), paint, between(rng, 1, 3), cv2.LINE_AA)
    return picture


def fading_lines(rng: Random, height: int, width: int) -> Picture:
    """Thin lines at uneven distances, from edge to edge: scratches, strings, reeds, stems."""
    picture = wall(rng, height, width)
    for _ in range(between(rng, 10, 80)):
        x = between(rng, 0, width)
        lean = rng.normal(0, width / 20)
        cv2.line(picture, (x, 0), (int(x + lean), height), colour(rng), between(rng, 1, 5), cv2.LINE_AA)
    return picture


def railings(rng: Random, height: int, width: int) -> Picture:
    """Posts between rails, in front of something: balconies, fences, gates, banisters, cots."""
    picture = pick(rng, (gradient, leaves, shapes, wall))(rng, height, width)
    paint = np.array(pick(rng, contrasting(rng)), np.float32)
    pitch = rng.uniform(6, max(12, width / 8))
    thickness = pitch * rng.uniform(0.1, 0.5)
    top, bottom = height * rng.uniform(-0.1, 0.45), height * rng.uniform(0.55, 1.1)
    x = (np.arange(width, dtype=np.float32) - rng.uniform(0, pitch)) % pitch / thickness
    posts = np.tile((x < 1).astype(np.float32), (height, 1))
    posts[: max(0, int(top))] = posts[int(bottom) :] = 0
    for place in (top, bottom):
        cv2.line(
            posts, (0, int(place)), (width, int(place)), 1.0, max(1, int(thickness * rng.uniform(0.7, 2)))
        )
    roundness = 1 - rng.uniform(0, 0.7) * np.abs(2 * np.clip(x, 0, 1) - 1)
    painted = paint * np.tile(roundness[None, :, None], (height, 1, 1))
    return blend(picture, np.clip(painted, 0, 255).astype(np.uint8), cv2.GaussianBlur(posts, (0, 0), 0.6))


def roof(rng: Random, height: int, width: int) -> Picture:
    """Rows of round tiles, shingles, corrugated iron, scales: light and dark in waves, row upon row."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    pitch = rng.uniform(5, max(8, width / 10))
    row = pitch * pick(rng, (rng.uniform(0.7, 3), rng.uniform(5, 40)))
    waves = np.cos(2 * np.pi * (x / pitch + (y // row % 2) * pick(rng, (0, 0.5))))
    down = (y + waves * pitch * rng.uniform(0, 0.4)) / row % 1
    field = 0.5 + 0.4 * np.clip(waves * rng.uniform(0.7, 4), -1, 1) - (down > 0.85) * rng.uniform(0, 0.5)
    return tinted(np.clip(field + rng.normal(0, 0.05), 0, 1).astype(np.float32), *contrasting(rng))
