"""Another world than the training's, and a harsher one, to measure in: other surfaces, fonts and lens."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes import camera
from training.scenes.composition import Scene, World, scene
from training.scenes.drawing import (
    Field,
    Picture,
    Points,
    Random,
    between,
    blend,
    chance,
    colour,
    digits,
    font,
    pick,
    plain,
    tinted,
    words,
    write_text,
)
from training.scenes.patterns.base import Pattern, contrasting, turned
from training.scenes.symbols import Code

FONTS = ("own", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf", "cmb10.ttf")
FIRST_SEED = 1_000_000_000
"""Far from those of training sets."""


def held_out(seed: int, size: int) -> Scene:
    return scene(FIRST_SEED + seed, size, UNSEEN)


# Surfaces


def spectrum(rng: Random, height: int, width: int) -> Field:
    """Noise between 0 and 1 whose strength falls with its frequency, as in photographs of nature."""
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    frequency = np.maximum(np.hypot(x * rng.uniform(0.3, 3), y), 1 / max(height, width))
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    noise = np.fft.irfft2(phases / frequency ** rng.uniform(1, 2.2), (height, width))
    low, high = np.percentile(noise, (1, 99))
    return np.clip((noise - low) / (high - low), 0, 1).astype(np.float32)


def stone(rng: Random, height: int, width: int) -> Picture:
    return tinted(spectrum(rng, height, width), colour(rng, 10, 150), colour(rng, 90, 255))


def cells(rng: Random, height: int, width: int, count: int) -> tuple[Field, Field]:
    """Of every pixel, the number of its nearest seed and the distance to it."""
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5)
    return labels.astype(np.float32), distance.astype(np.float32)


def cobbles(rng: Random, height: int, width: int) -> Picture:
    """Cobblestones, scales, cracked mud, giraffes."""
    labels, distance = cells(rng, height, width, between(rng, 20, 400))
    edges = cv2.Laplacian(labels, cv2.CV_32F) != 0
    stones = tinted(np.clip(distance / np.percentile(distance, 95), 0, 1), *contrasting(rng))
    return blend(stones, plain(height, width, colour(rng, 0, 120)), edges.astype(np.float32))


def panes(rng: Random, height: int, width: int) -> Picture:
    """Coloured glass, fields from the air, scarves."""
    labels, _ = cells(rng, height, width, between(rng, 5, 60))
    tones = rng.uniform(20, 255, (int(labels.max()) + 1, 3)).astype(np.uint8)
    return tones[labels.astype(int)]


# What may be taken for a code


def tartan(rng: Random, height: int, width: int) -> Picture:
    def threads(count: int) -> Field:
        edges = np.sort(rng.integers(0, count, between(rng, 4, 40)))
        return rng.random(len(edges) + 1, np.float32)[np.searchsorted(edges, np.arange(count))]

    crossed = ((threads(width)[None] + threads(height)[:, None]) / 2).astype(np.float32)
    return tinted(crossed, *contrasting(rng))


def maze(rng: Random, height: int, width: int) -> Picture:
    dark, light = contrasting(rng)
    picture = plain(height, width, light)
    step, thickness = between(rng, 6, 24), between(rng, 1, 4)
    for y in range(0, height, step):
        for x in range(0, width, step):
            end = (x + step, y) if chance(rng, 0.5) else (x, y + step)
            cv2.line(picture, (x, y), end, dark, thickness)
    return picture


def honeycomb(rng: Random, height: int, width: int) -> Picture:
    dark, light = contrasting(rng)
    picture = plain(height, width, dark)
    radius = rng.uniform(4, max(6, width / 12))
    corners = np.array([(np.cos(a), np.sin(a)) for a in np.radians(range(30, 390, 60))]) * radius * 0.88
    for row in range(int(height / radius / 1.5) + 2):
        for column in range(int(width / radius / 1.7) + 2):
            centre = (radius * 1.732 * (column + 0.5 * (row % 2)), radius * 1.5 * row)
            cv2.fillPoly(picture, [(corners + centre).astype(np.int32)], light, cv2.LINE_AA)
    return picture


def steps(rng: Random, height: int, width: int) -> Picture:
    """Stairs, escalators, slats: stripes that come closer together into the distance."""
    dark, light = contrasting(rng)
    y = np.linspace(rng.uniform(0.05, 0.5), 1, height)
    waves = np.sin(rng.uniform(10, 90) / y)
    return tinted(
        np.tile((waves > rng.uniform(-0.7, 0.7)).astype(np.float32)[:, None], (1, width)), dark, light
    )


def rings(rng: Random, height: int, width: int) -> Picture:
    x, y = np.meshgrid(np.linspace(-1, 1, width) - rng.normal(), np.linspace(-1, 1, height) - rng.normal())
    waves = np.sin(np.hypot(x, y * rng.uniform(0.5, 2)) * rng.uniform(10, 120))
    return tinted(np.clip(waves * rng.uniform(0.5, 5) + 0.5, 0, 1).astype(np.float32), *contrasting(rng))


def dominoes(rng: Random, height: int, width: int) -> Picture:
    """Dice, dominoes, buttons, switches: small round marks in squares."""
    dark, light = contrasting(rng)
    picture = plain(height, width, dark)
    side = between(rng, 18, max(20, width / 5))
    for y in range(0, height, side):
        for x in range(0, width, side):
            cv2.rectangle(picture, (x + 2, y + 2), (x + side - 3, y + side - 3), light, -1)
            for place in rng.permutation(9)[: between(rng, 0, 6)]:
                centre = (x + side * (1 + 2 * (place % 3)) // 6, y + side * (1 + 2 * (place // 3)) // 6)
                cv2.circle(picture, centre, max(1, side // 12), dark, -1, cv2.LINE_AA)
    return picture


def dot_matrix(rng: Random, height: int, width: int) -> Picture:
    """Writing of lamps, as on buses and boards."""
    small = plain(max(12, height // 5), max(12, width // 5), (0, 0, 0))
    lines = "\n".join(words(rng, 3) for _ in range(between(rng, 1, 6)))
    small = write_text(small, (1, 1), lines, font(rng, between(rng, 9, 16), FONTS), colour(rng, 120, 255))
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    large[::5] //= 4
    large[:, ::5] //= 4
    return large


def print_page(rng: Random, height: int, width: int) -> Picture:
    """Text, dense and in lines of one length, some of it in capitals, some of it figures."""
    picture = plain(height, width, colour(rng, 200, 255, saturation=0.1))
    ink = colour(rng, 0, 80, saturation=0.3)
    y = -between(rng, 0, 20)
    while y < height:
        size = between(rng, 7, 20)
        count = max(1, int(width / size / 3))
        style = between(rng, 0, 3)
        lines = [
            digits(rng, count * 5) if style == 0 else words(rng, count) for _ in range(between(rng, 1, 12))
        ]
        text = "\n".join(lines).upper() if style == 1 else "\n".join(lines)
        picture = write_text(picture, (between(rng, -10, 30), y), text, font(rng, size, FONTS), ink)
        y += int(len(lines) * size * 1.4) + between(rng, 2, 30)
    return picture


SURFACES: tuple[Pattern, ...] = (stone, stone, cobbles, panes)
DISTRACTORS: tuple[Pattern, ...] = (
    tartan, maze, honeycomb, steps, rings, dominoes, dot_matrix, print_page, print_page, print_page, cobbles,
)  # fmt: skip


def backdrop(rng: Random, height: int, width: int) -> Picture:
    kinds = SURFACES if chance(rng, 0.7) else DISTRACTORS
    return turned(rng, pick(rng, kinds), height, width)


def distractor(rng: Random, height: int, width: int) -> Picture:
    return turned(rng, pick(rng, DISTRACTORS), height, width)


# What codes are printed on


def poster(rng: Random, height: int, width: int) -> Picture:
    picture = tinted(spectrum(rng, height, width), colour(rng, 0, 160), colour(rng, 60, 255))
    for _ in range(between(rng, 1, 5)):
        at = (between(rng, -10, width / 2), between(rng, 0, height))
        face = font(rng, between(rng, 10, max(12, height / 4)), FONTS)
        picture = write_text(picture, at, words(rng, between(rng, 1, 4)), face, colour(rng))
    return picture


def leaflet(rng: Random, height: int, width: int) -> Picture:
    return print_page(rng, height, width)


def box(rng: Random, height: int, width: int) -> Picture:
    """One colour, a diagonal in another, a few large letters."""
    picture = plain(height, width, colour(rng, 30))
    corners = rng.uniform(-0.3, 1.3, (4, 2)) * (width, height)
    cv2.fillConvexPoly(picture, cv2.convexHull(corners.astype(np.int32)), colour(rng))
    face = font(rng, between(rng, 14, max(16, height / 3)), FONTS)
    return write_text(
        picture, (between(rng, 0, width / 2), between(rng, 0, height / 2)), words(rng, 2), face, colour(rng)
    )


# The camera


def barrel(rng: Random, picture: Picture, codes: list[Code]) -> tuple[Picture, list[Code]]:
    """A wide lens: what is far from the middle comes closer to it. A radius r is seen where r = s + k s³."""
    height, width = picture.shape[:2]
    middle, unit = np.array([width / 2, height / 2]), np.hypot(width, height) / 2
    strength = rng.uniform(-0.08, 0.25)
    x, y = np.meshgrid(np.arange(width) - middle[0], np.arange(height) - middle[1])
    growth = 1 + strength * (x**2 + y**2) / unit**2
    map_x, map_y = (x * growth + middle[0]).astype(np.float32), (y * growth + middle[1]).astype(np.float32)
    bent = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.uint8)

    def seen(points: Points) -> Points:
        far = (points - middle) / unit
        near = far
        for _ in range(20):
            near = far / (1 + strength * (near**2).sum(axis=1, keepdims=True))
        return near * unit + middle

    return bent, [code.at(seen(code.outline)) for code in codes]


def photograph(rng: Random, picture: Picture, finest: float) -> tuple[Picture, int]:
    """Fringes of colour, a sensor behind a Bayer filter, then as in training, but harsher."""
    picture = fringed(rng, picture)
    picture = mosaiced(rng, picture)
    return camera.photograph(rng, picture, finest, harshness=1.3)


def fringed(rng: Random, picture: Picture) -> Picture:
    """Red and blue a little larger or smaller than green."""
    if chance(rng, 0.5):
        return picture
    height, width = picture.shape[:2]
    parts = []
    for part, spread in zip(cv2.split(picture), (-1, 0, 1), strict=True):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1 + spread * rng.uniform(0, 0.006))
        parts.append(cv2.warpAffine(part, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return cv2.merge(parts).astype(np.uint8)


def mosaiced(rng: Random, picture: Picture) -> Picture:
    if chance(rng, 0.5):
        return picture
    raw = picture[..., 2].copy()  # red, and green and blue where the filter has them
    raw[::2, 1::2], raw[1::2, ::2] = picture[::2, 1::2, 1], picture[1::2, ::2, 1]
    raw[1::2, 1::2] = picture[1::2, 1::2, 0]
    noisy = np.clip(raw + rng.normal(0, rng.uniform(0, 12), raw.shape), 0, 255).astype(np.uint8)
    return cv2.cvtColor(noisy, cv2.COLOR_BayerBG2BGR).astype(np.uint8)


UNSEEN = World(
    backdrop=backdrop,
    distractor=distractor,
    artworks=(poster, leaflet, leaflet, box),
    fonts=FONTS[:4],
    lens=barrel,
    photograph=photograph,
    tilt=0.4,
)
