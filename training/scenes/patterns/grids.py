"""Patterns that are easily taken for a QR code or a marker."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import (
    Colour,
    Field,
    Picture,
    Random,
    between,
    blend,
    chance,
    clouds,
    colour,
    font,
    pick,
    plain,
    tinted,
    word,
    write_text,
)
from training.scenes.patterns.base import FONTS, Pattern, contrasting
from training.scenes.patterns.materials import cloth, gradient, wall, wood


def checkers(rng: Random, height: int, width: int) -> Picture:
    cell = rng.uniform(4, max(6, width / 4))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return tinted(((x // cell + y // cell) % 2).astype(np.float32), *contrasting(rng))


def tiles(rng: Random, height: int, width: int) -> Picture:
    """Bricks, tiles, window grids."""
    grout, base = contrasting(rng)
    if chance(rng, 0.4):
        grout, base = base, grout
    picture = plain(height, width, grout)
    w = rng.uniform(8, max(10, width / 3))
    h = w * pick(rng, (0.3, 0.4, 0.5, 1.0, 1.6))
    gap = max(1, int(w * rng.uniform(0.03, 0.25)))
    shift = pick(rng, (0, 0.5))
    for row in range(int(height / h) + 2):
        for column in range(-1, int(width / w) + 2):
            x, y = int((column + shift * (row % 2)) * w), int(row * h)
            shade = rng.uniform(0.75, 1.1)
            paint = tuple(min(255, int(part * shade)) for part in base)
            cv2.rectangle(picture, (x, y), (int(x + w - gap), int(y + h - gap)), paint, -1)
    return picture


def facade(rng: Random, height: int, width: int) -> Picture:
    """Windows of a house, some lit."""
    picture = wall(rng, height, width)
    w, h = rng.uniform(8, max(10, width / 5)), rng.uniform(8, max(10, height / 5))
    dark, light = contrasting(rng)
    frame = max(1, int(min(w, h) * rng.uniform(0, 0.12)))
    for row in range(int(height / h) + 1):
        for column in range(int(width / w) + 1):
            x, y = int((column + 0.2) * w), int((row + 0.2) * h)
            end = (int(x + w * 0.6), int(y + h * 0.65))
            cv2.rectangle(picture, (x, y), end, light if chance(rng, 0.2) else dark, -1)
            cv2.rectangle(picture, (x, y), end, colour(rng, 150, 255), frame)
    return picture


def balconies(rng: Random, height: int, width: int) -> Picture:
    """A house front: windows with shutters, and before most of them a railing of thin posts."""
    picture = pick(rng, (wall, gradient, tiles))(rng, height, width)
    across, down = between(rng, 1, 6), between(rng, 1, 5)
    w, h = width // (across + 1), height // (down + 1)
    glass, frame, iron = colour(rng, 0, 90), colour(rng), colour(rng, 0, 80, saturation=0.2)
    tall, wide = h * rng.uniform(0.5, 0.95), w * rng.uniform(0.3, 0.6)
    posts, reach = between(rng, 6, 28), rng.uniform(1.05, 1.6)
    light = (colour(rng, 150, 255), 1) if chance(rng, 0.2) else (iron, between(rng, 1, max(1, w / 60)))
    for row, column in np.ndindex(down, across):
        x, y = w * (column + 1) + rng.normal(0, 2), h * (row + 1) + rng.normal(0, 2)
        first, last = (int(x - wide / 2), int(y - tall / 2)), (int(x + wide / 2), int(y + tall / 2))
        cv2.rectangle(picture, first, last, glass, -1)
        cv2.rectangle(picture, first, last, frame, max(1, w // 40))
        cv2.line(picture, (int(x), first[1]), (int(x), last[1]), frame, max(1, w // 60))
        if chance(rng, 0.7):
            left, right = x - wide * reach / 2, x + wide * reach / 2
            top, bottom = y + tall * rng.uniform(0, 0.3), y + tall * 0.55
            fence(picture, (left, top, right, bottom), posts, *light)
    return picture


def fence(
    picture: Picture, box: tuple[float, float, float, float], posts: int, paint: Colour, thickness: int
) -> None:
    """Posts between two rails."""
    left, top, right, bottom = box
    for y in (top, bottom):
        cv2.line(picture, (int(left), int(y)), (int(right), int(y)), paint, thickness + 1, cv2.LINE_AA)
    for x in np.linspace(left, right, posts):
        cv2.line(picture, (int(x), int(top)), (int(x), int(bottom)), paint, thickness, cv2.LINE_AA)


def pixels(rng: Random, height: int, width: int) -> Picture:
    """Random cells, as a QR code has, without its marks."""
    cell = between(rng, 3, max(4, width / 20))
    rows, columns = height // cell + 1, width // cell + 1
    if chance(rng, 0.5):
        small = (rng.random((rows, columns)) < rng.uniform(0.2, 0.8)).astype(np.float32)
    else:
        small = rng.random((rows, columns), np.float32)
    large = cv2.resize(small, (columns * cell, rows * cell), interpolation=cv2.INTER_NEAREST)
    return tinted(large[:height, :width].astype(np.float32), *contrasting(rng))


def crossword(rng: Random, height: int, width: int) -> Picture:
    dark, light = contrasting(rng)
    picture = plain(height, width, light)
    cell = between(rng, 9, max(10, width / 12))
    face = font(rng, cell * 2 // 3, FONTS)
    text = []
    for y in range(0, height, cell):
        for x in range(0, width, cell):
            if chance(rng, 0.2):
                cv2.rectangle(picture, (x, y), (x + cell, y + cell), dark, -1)
            elif chance(rng, 0.25):
                text.append((x, y))
            cv2.rectangle(picture, (x, y), (x + cell, y + cell), dark, 1)
    for x, y in text[:60]:
        picture = write_text(picture, (x + 2, y), chr(between(rng, 65, 90)), face, dark)
    return picture


def halftone(rng: Random, height: int, width: int) -> Picture:
    dark, light = contrasting(rng)
    picture = plain(height, width, light)
    step = between(rng, 5, 20)
    sizes = clouds(rng, height, width, 3, 2) * step * rng.uniform(0.4, 0.9)
    for y in range(0, height, step):
        for x in range(0, width, step):
            cv2.circle(picture, (x + (y // step % 2) * step // 2, y), int(sizes[y, x]), dark, -1, cv2.LINE_AA)
    return picture


def nested_squares(rng: Random, height: int, width: int) -> Picture:
    """Frames, sockets, drawers, icons: the marks of a QR code without one."""
    picture = wall(rng, height, width)
    for _ in range(between(rng, 1, 12)):
        side = between(rng, 8, min(height, width) / 3)
        x, y = between(rng, 0, width), between(rng, 0, height)
        paints = contrasting(rng)
        for ring in range(between(rng, 1, 4)):
            inset = int(side * ring / 7)
            first, last = (x + inset, y + inset), (x + side - inset, y + side - inset)
            if chance(rng, 0.7):
                cv2.rectangle(picture, first, last, paints[ring % 2], -1)
            else:
                centre = (x + side // 2, y + side // 2)
                cv2.circle(picture, centre, max(1, side // 2 - inset), paints[ring % 2], -1, cv2.LINE_AA)
    return picture


def coins(rng: Random, height: int, width: int) -> Picture:
    """Coins, medals, buttons, caps: a rim, and a relief that the light shows from one side."""
    picture = pick(rng, (wall, wood, cloth, gradient))(rng, height, width)
    usual = min(height, width) * rng.uniform(0.05, 0.3)
    for _ in range(between(rng, 1, 25)):
        radius = max(6, int(usual * rng.uniform(0.7, 1.2)))
        y, x = between(rng, -radius, height - radius), between(rng, -radius, width - radius)
        coin, mask = minted(rng, radius)
        top, left = max(0, -y), max(0, -x)
        view = picture[max(0, y) : y + 2 * radius, max(0, x) : x + 2 * radius]
        part = np.s_[top : top + view.shape[0], left : left + view.shape[1]]
        view[:] = blend(view, coin[part], mask[part])
    return picture


def minted(rng: Random, radius: int) -> tuple[Picture, Field]:
    """A coin from above, and where it is: 1 on it, 0 beside it."""
    side = 2 * radius
    place = np.arange(side, dtype=np.float32) - radius + 0.5
    far = np.hypot(place[:, None], place) / radius
    relief = clouds(rng, side, side, rng.uniform(3, 12), 3) * rng.uniform(0.3, 2)
    written = plain(side, side, (0, 0, 0))
    number, face = str(between(rng, 1, 50)), font(rng, max(6, int(radius * 0.8)), FONTS)
    written = write_text(written, (radius * 0.5, radius * 0.4), number, face, (255, 255, 255))
    relief = relief + written[..., 0].astype(np.float32) / 255 + (np.abs(far - 0.9) < 0.06)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(relief.astype(np.float32), (0, 0), max(0.5, radius / 40)))
    way = rng.uniform(0, 2 * np.pi)
    light = 0.5 + (slope_x * np.cos(way) + slope_y * np.sin(way)) * rng.uniform(1, 4) * radius / 20
    dark, bright = colour(rng, 10, 90, saturation=0.4), colour(rng, 120, 255, saturation=0.4)
    coin = tinted(np.clip(light, 0, 1).astype(np.float32), dark, bright)
    return coin, np.clip((1 - far) * radius, 0, 1).astype(np.float32)


def keyboard(rng: Random, height: int, width: int) -> Picture:
    case, key = contrasting(rng)
    if chance(rng, 0.6):
        case, key = colour(rng, 60, 220, saturation=0.2), colour(rng, 0, 60, saturation=0.2)
    ink = (230, 230, 230) if sum(key) < 380 else (30, 30, 30)
    picture = plain(height, width, case)
    size = rng.uniform(14, max(16, width / 7))
    gap = max(1, int(size * rng.uniform(0.06, 0.2)))
    face = font(rng, int(size * rng.uniform(0.25, 0.5)), FONTS)
    legends = []
    for row in range(int(height / size) + 1):
        x = -rng.uniform(0, 1) * size
        while x < width:
            w = size * (1 if chance(rng, 0.85) else rng.uniform(1.3, 5))
            first, last = (int(x), int(row * size)), (int(x + w - gap), int((row + 1) * size - gap))
            cv2.rectangle(picture, first, last, key, -1)
            legends.append((x + size * 0.2, row * size + size * 0.1))
            x += w
    for x, y in legends[:90]:
        picture = write_text(picture, (x, y), chr(between(rng, 48, 90)), face, ink)
    return picture


def circuit(rng: Random, height: int, width: int) -> Picture:
    """Traces, pads and chips with pins."""
    picture = plain(height, width, (between(rng, 10, 90), between(rng, 50, 120), between(rng, 0, 60)))
    for _ in range(between(rng, 20, 90)):
        x, y = between(rng, 0, width), between(rng, 0, height)
        end = (x + between(rng, -60, 60), y) if chance(rng, 0.5) else (x, y + between(rng, -60, 60))
        cv2.line(picture, (x, y), end, (70, 150, 90), between(rng, 1, 3))
    for _ in range(between(rng, 2, 12)):
        x, y = between(rng, 0, width), between(rng, 0, height)
        w, h = between(rng, 15, 90), between(rng, 15, 90)
        for pin in range(x, x + w, 5):
            cv2.line(picture, (pin, y - 5), (pin, y + h + 5), (190, 190, 190), 2)
        cv2.rectangle(picture, (x, y), (x + w, y + h), (35, 35, 35), -1)
        cv2.putText(picture, word(rng), (x + 3, y + h // 2), cv2.FONT_HERSHEY_PLAIN, 0.7, (180, 180, 180), 1)
    return picture


GRIDS: tuple[Pattern, ...] = (
    checkers, tiles, facade, pixels, crossword, halftone, nested_squares, keyboard, circuit, coins,
)  # fmt: skip
