"""Pictures without a code: surfaces to put things on, and what is most easily taken for a code."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.drawing import (
    Colour,
    Field,
    Picture,
    Random,
    between,
    blend,
    chance,
    clouds,
    colour,
    digits,
    font,
    pick,
    plain,
    smooth,
    tinted,
    word,
    words,
    write,
)

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


# Surfaces


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


# What is taken for a linear code


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
    back = write(back, (between(rng, 0, 60), 0), lines, font(rng, size, FONTS), colour(rng, 100, 255))
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


# What is taken for a matrix code


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
        picture = write(picture, (x + 2, y), chr(between(rng, 65, 90)), face, dark)
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
    written = write(written, (radius * 0.5, radius * 0.4), number, face, (255, 255, 255))
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
        picture = write(picture, (x, y), chr(between(rng, 48, 90)), face, ink)
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


# What is written


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
                picture = write(picture, (x, y), words(rng, max(1, per_line // 3)), heading, ink)
                y += heading.size * 1.5
            count = between(rng, 3, 16)
            lines = "\n".join(words(rng, max(1, per_line - (line == count - 1))) for line in range(count))
            picture = write(picture, (x, y), lines, face, ink)
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
        picture = write(picture, (column * w + 3, 2), lines, face, ink)
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
    return write(picture, (between(rng, 0, 15), 0), lines, face, ink)


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
        picture = write(picture, at, text, font(rng, size, FONTS), colour(rng))
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


SURFACES: tuple[Pattern, ...] = (wall, gradient, wood, cloth, specks, leaves, shapes, clutter, clutter)
STRIPED: tuple[Pattern, ...] = (
    even_stripes, bent_stripes, bent_stripes, planks, book_backs, piano, zebra, ripples, ripples, ruler, dial,
    fading_lines, railings, roof, balconies,
)  # fmt: skip
GRIDS: tuple[Pattern, ...] = (
    checkers, tiles, facade, pixels, crossword, halftone, nested_squares, keyboard, circuit, coins,
)  # fmt: skip
WRITTEN: tuple[Pattern, ...] = (page, page, page, table, receipt, music, headline, logos)
MISLEADING: tuple[Pattern, ...] = (balconies, balconies, railings, roof, coins)
"""What the detector has taken for codes in photographs."""
EVERYTHING = SURFACES + STRIPED + GRIDS + WRITTEN


def backdrop(rng: Random, height: int, width: int) -> Picture:
    """What codes lie on: mostly plain, sometimes hard."""
    if chance(rng, 0.55):
        return pick(rng, SURFACES)(rng, height, width)
    return turned(rng, pick(rng, (photo, details, pick(rng, EVERYTHING))), height, width)


def distractor(rng: Random, height: int, width: int) -> Picture:
    """A picture without a code that may well be taken for one."""
    kind = pick(rng, (STRIPED, GRIDS, WRITTEN, WRITTEN, (photo, clutter), (details,), SURFACES, MISLEADING))
    return turned(rng, pick(rng, kind), height, width)
