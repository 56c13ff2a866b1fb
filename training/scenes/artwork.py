"""What codes are printed on: labels, packages, pages, screens, stickers."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes.drawing import (
    Picture,
    Random,
    between,
    chance,
    clouds,
    colour,
    digits,
    font,
    plain,
    smooth,
    tinted,
    words,
    write_text,
)
from training.scenes.patterns import materials, writing
from training.scenes.patterns.base import FONTS
from training.scenes.patterns.materials import gradient
from training.scenes.patterns.writing import icon
from training.scenes.symbols import Code, Sheet

Artwork = Callable[[Random, int, int], Picture]


def label(rng: Random, height: int, width: int) -> Picture:
    """Paper with some lines of text, and a frame."""
    picture = plain(height, width, colour(rng, 200, 255, saturation=0.2))
    ink = colour(rng, 0, 90, saturation=0.4)
    for _ in range(between(rng, 1, 6)):
        picture = paragraph(rng, picture, ink)
    if chance(rng, 0.4):
        cv2.rectangle(picture, (4, 4), (width - 5, height - 5), ink, between(rng, 1, 4))
    return picture


def paragraph(rng: Random, picture: Picture, ink: tuple[int, int, int]) -> Picture:
    height, width = picture.shape[:2]
    size = between(rng, 6, max(8, min(height, width) / between(rng, 8, 30)))
    per_line, lines = between(rng, 1, 7), between(rng, 1, 9)
    text = "\n".join(words(rng, per_line) for _ in range(lines))
    if chance(rng, 0.3):
        text = text.upper()
    at = (between(rng, -width / 10, width * 0.7), between(rng, 0, height * 0.9))
    return write_text(picture, at, text, font(rng, size, FONTS), ink)


def package(rng: Random, height: int, width: int) -> Picture:
    """Colours, bands, a picture, large and small text, icons."""
    picture = gradient(rng, height, width) if chance(rng, 0.5) else plain(height, width, colour(rng))
    if chance(rng, 0.35):
        h, w = between(rng, height / 5, height), between(rng, width / 5, width)
        y, x = between(rng, 0, height - h), between(rng, 0, width - w)
        art = rng.choice([0, 1, 2])
        made = (materials.leaves, materials.shapes, materials.wall)[art](rng, h, w)
        picture[y : y + h, x : x + w] = made
    for _ in range(between(rng, 0, 3)):
        y = between(rng, 0, height)
        cv2.rectangle(picture, (0, y), (width, y + between(rng, 4, height / 4)), colour(rng), -1)
    for _ in range(between(rng, 0, 2)):
        size = between(rng, 12, max(14, height / 4))
        at = (between(rng, -20, width / 2), between(rng, 0, height))
        picture = write_text(picture, at, words(rng, between(rng, 1, 2)), font(rng, size, FONTS), colour(rng))
    for _ in range(between(rng, 1, 6)):
        picture = paragraph(
            rng, picture, colour(rng, 0, 90) if picture.mean() > 110 else colour(rng, 170, 255)
        )
    for _ in range(between(rng, 0, 5)):
        centre = (between(rng, 0, width), between(rng, 0, height))
        icon(rng, picture, centre, between(rng, 5, max(6, width / 16)), colour(rng))
    return picture


def facts(rng: Random, height: int, width: int) -> Picture:
    """Nutrition facts, specifications: a table beside text."""
    picture = package(rng, height, width)
    h, w = between(rng, height / 4, height * 0.8), between(rng, width / 5, width * 0.6)
    y, x = between(rng, 0, height - h), between(rng, 0, width - w)
    picture[y : y + h, x : x + w] = writing.table(rng, h, w)
    return picture


def screen(rng: Random, height: int, width: int) -> Picture:
    """A page on a display."""
    dark = chance(rng, 0.35)
    picture = plain(height, width, colour(rng, 0, 50) if dark else colour(rng, 225, 255, saturation=0.2))
    bar = between(rng, 6, height / 9)
    cv2.rectangle(picture, (0, 0), (width, bar), colour(rng), -1)
    for _ in range(between(rng, 1, 4)):
        picture = paragraph(rng, picture, colour(rng, 170, 255) if dark else colour(rng, 0, 90))
    return picture


def ticket(rng: Random, height: int, width: int) -> Picture:
    """Boarding passes, vouchers, parcel labels: fields with captions between lines."""
    picture = plain(height, width, colour(rng, 215, 255, saturation=0.15))
    ink = colour(rng, 0, 70, saturation=0.5)
    for _ in range(between(rng, 2, 7)):
        y = between(rng, 0, height)
        cv2.line(picture, (0, y), (width, y), ink, between(rng, 1, 4))
        small, large = (
            font(rng, max(6, height // 40), FONTS),
            font(rng, height // 14, FONTS),
        )
        x = between(rng, 2, width / 2)
        picture = write_text(picture, (x, y + 4), words(rng, 2), small, ink)
        picture = write_text(picture, (x, y + 8 + small.size), digits(rng, between(rng, 3, 9)), large, ink)
    return picture


def carton(rng: Random, height: int, width: int) -> Picture:
    """Brown corrugated board."""
    tone = (between(rng, 70, 140), between(rng, 110, 170), between(rng, 140, 210))
    light = (tone[0] + 25, tone[1] + 25, tone[2] + 25)
    picture = tinted(clouds(rng, height, width, 8, 2), tone, light)
    flutes = 1 + 0.05 * np.sin(np.arange(width) * rng.uniform(0.3, 1.2))
    return np.clip(picture * flutes[None, :, None], 0, 255).astype(np.uint8)


def bare(rng: Random, height: int, width: int) -> Picture:
    return tinted(smooth(rng, height, width, 2), colour(rng, 205, 240, saturation=0.2), (252, 252, 252))


KINDS: tuple[Artwork, ...] = (
    label, label, package, package, package, facts, screen, ticket, carton, bare, bare,
    writing.page, writing.receipt,
)  # fmt: skip


def with_codes(rng: Random, kind: Artwork, prints: list[Sheet], height: int, width: int) -> Sheet:
    """A sheet with these on it, where they fit; the first one is always there."""
    picture = kind(rng, height, width)
    taken = np.zeros((height, width), np.uint8)
    codes: list[Code] = []
    for number, code in enumerate(prints):
        h, w = code.picture.shape[:2]
        if h > height or w > width:
            continue
        for _ in range(8):
            y, x = between(rng, 0, height - h), between(rng, 0, width - w)
            if not taken[y : y + h, x : x + w].any():
                break
        else:
            if number:
                continue
        picture[y : y + h, x : x + w] = code.picture
        if chance(rng, 0.15):
            cv2.rectangle(picture, (x, y), (x + w, y + h), colour(rng, 0, 120), between(rng, 1, 3))
        taken[y : y + h, x : x + w] = 1
        codes += [one.at(one.outline + np.array((x, y))) for one in code.codes]
    if kind is screen:
        picture = with_pixels(rng, picture)
    return Sheet(picture, codes)


def with_pixels(rng: Random, picture: Picture) -> Picture:
    """The grid of a display; photographed, it gives moiré."""
    height, width = picture.shape[:2]
    pitch, depth = rng.uniform(2, 4), rng.uniform(0.05, 0.4)
    columns = 1 - depth * (np.sin(np.arange(width)[:, None] * 2 * np.pi / pitch + [0, 2, 4]) + 1) / 2
    rows = 1 - depth * (np.sin(np.arange(height) * 2 * np.pi / pitch) + 1) / 2
    return np.clip(picture * columns[None] * rows[:, None, None] * 1.15, 0, 255).astype(np.uint8)
