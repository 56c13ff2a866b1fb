"""Printed pages, tables, receipts, notes, headlines and icons."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import (
    Colour,
    Picture,
    Random,
    between,
    chance,
    colour,
    digits,
    font,
    pick,
    plain,
    word,
    words,
    write_text,
)
from training.scenes.patterns.base import FONTS, Pattern, contrasting
from training.scenes.patterns.materials import gradient


def paper(rng: Random, height: int, width: int) -> tuple[Picture, Colour]:
    """A sheet and the ink that goes on it."""
    tone = colour(rng, 190, 255, saturation=0.15)
    if chance(rng, 0.15):
        return plain(height, width, colour(rng, 0, 80)), colour(rng, 180, 255)
    return plain(height, width, tone), colour(rng, 0, 90, saturation=pick(rng, (0.1, 1)))


def page(rng: Random, height: int, width: int) -> Picture:
    """One or more columns of running text with headings."""
    picture, ink = paper(rng, height, width)
    size = between(rng, 5, max(7, width / between(rng, 14, 50)))
    face, heading = font(rng, size, FONTS), font(rng, int(size * rng.uniform(1.2, 3)), FONTS)
    columns = between(rng, 1, 3) if size < width / 30 else 1
    margin = rng.uniform(0, 0.08) * width
    for column in range(columns):
        x = margin + column * (width - margin) / columns
        per_line = max(1, int((width / columns - margin) / (size * 0.58) / 6))
        y = margin - rng.uniform(0, size * 2)
        while y < height:
            if chance(rng, 0.15):
                picture = write_text(picture, (x, y), words(rng, max(1, per_line // 3)), heading, ink)
                y += heading.size * 1.5
            count = between(rng, 3, 16)
            lines = "\n".join(words(rng, max(1, per_line - (line == count - 1))) for line in range(count))
            picture = write_text(picture, (x, y), lines, face, ink)
            y += count * size * 1.33 + rng.uniform(0, size * 2)
    return picture


def table(rng: Random, height: int, width: int) -> Picture:
    """Spreadsheets, timetables, calendars, forms."""
    picture, ink = paper(rng, height, width)
    rows, columns = between(rng, 4, 30), between(rng, 2, 14)
    h, w = height / rows, width / columns
    face = font(rng, int(h * rng.uniform(0.4, 0.8)), FONTS)
    for column in range(columns):
        lines = "\n".join(word(rng) if column == 0 else digits(rng, between(rng, 0, 5)) for _ in range(rows))
        picture = write_text(picture, (column * w + 3, 2), lines, face, ink)
        if chance(rng, 0.8):
            cv2.line(picture, (int(column * w), 0), (int(column * w), height), ink, 1)
    if chance(rng, 0.8):
        for row in range(rows):
            cv2.line(picture, (0, int(row * h)), (width, int(row * h)), ink, 1)
    return picture


def receipt(rng: Random, height: int, width: int) -> Picture:
    picture = plain(height, width, colour(rng, 200, 250, saturation=0.1))
    ink = colour(rng, 20, 140, saturation=0.2)
    size = between(rng, 7, max(8, width / 18))
    face = font(rng, size, ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"))
    count = int(height / size / 1.2) + 1
    lines = "\n".join(f"{word(rng)[:9]:<10}{between(rng, 1, 9)} x {digits(rng, 3)}" for _ in range(count))
    return write_text(picture, (between(rng, 0, 15), 0), lines, face, ink)


def music(rng: Random, height: int, width: int) -> Picture:
    picture, ink = paper(rng, height, width)
    gap = between(rng, 4, 10)
    for top in range(between(rng, 0, 30), height, gap * 9):
        for line in range(5):
            cv2.line(picture, (0, top + line * gap), (width, top + line * gap), ink, 1)
        for x in range(between(rng, 5, 25), width, between(rng, 10, 30)):
            y = top + between(rng, 0, gap * 4)
            cv2.ellipse(picture, (x, y), (gap * 2 // 3, gap // 2), -20, 0, 360, ink, -1, cv2.LINE_AA)
            cv2.line(picture, (x + gap // 2, y), (x + gap // 2, y - gap * 3), ink, 1)
    return picture


def headline(rng: Random, height: int, width: int) -> Picture:
    """Large letters: posters, signs, plates, packages."""
    picture = gradient(rng, height, width) if chance(rng, 0.5) else plain(height, width, colour(rng))
    for _ in range(between(rng, 1, 5)):
        size = between(rng, 12, max(14, height / 2))
        text = words(rng, between(rng, 1, 3))
        text = text.upper() if chance(rng, 0.5) else text
        at = (between(rng, -size, width / 2), between(rng, -size / 2, height - size / 2))
        picture = write_text(picture, at, text, font(rng, size, FONTS), colour(rng))
    return picture


def logos(rng: Random, height: int, width: int) -> Picture:
    """Icons in rows: washing symbols, app screens, road signs."""
    dark, light = contrasting(rng)
    picture = plain(height, width, light)
    cell = between(rng, 24, max(26, width / 3))
    for y in range(cell // 2, height, cell):
        for x in range(cell // 2, width, cell):
            icon(
                rng,
                picture,
                (x, y),
                int(cell * rng.uniform(0.2, 0.4)),
                dark if chance(rng, 0.6) else colour(rng),
            )
    return picture


def icon(rng: Random, picture: Picture, centre: tuple[int, int], radius: int, paint: Colour) -> None:
    x, y = centre
    filled = -1 if chance(rng, 0.5) else max(1, radius // 8)
    match between(rng, 0, 4):
        case 0:
            cv2.circle(picture, centre, radius, paint, filled, cv2.LINE_AA)
        case 1:
            cv2.rectangle(picture, (x - radius, y - radius), (x + radius, y + radius), paint, filled)
        case 2:
            corners = [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
            cv2.polylines(
                picture, [np.array(corners)], isClosed=True, color=paint, thickness=max(1, radius // 6)
            )
        case 3:
            for angle in range(0, 360, between(rng, 30, 90)):
                cv2.ellipse(
                    picture, centre, (radius, radius), angle, 0, 25, paint, max(1, radius // 4), cv2.LINE_AA
                )
        case _:
            cv2.line(picture, (x - radius, y), (x + radius, y), paint, max(1, radius // 4), cv2.LINE_AA)
            cv2.line(picture, (x, y - radius), (x, y + radius), paint, max(1, radius // 4), cv2.LINE_AA)


WRITTEN: tuple[Pattern, ...] = (page, page, page, table, receipt, music, headline, logos)
