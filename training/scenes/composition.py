"""Scenes as a phone would photograph them, each from its seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from training.scenes import artwork, camera, symbols
from training.scenes.drawing import Field, Picture, Points, Random, between, chance, pick
from training.scenes.patterns import mixed
from training.scenes.patterns.base import Pattern
from training.scenes.surfaces import Pose, bent, carried, lay
from training.scenes.symbols import Code, Sheet

VISIBLE = 1 / 3
"""The share of a code that must lie in the picture for it to count."""
LEGIBLE = 0.5
"""The share of the variance in a place that the code must explain to count as visible there; the rest is
noise, glare and blur."""
FAINTEST = 1.5
"""Steps of grey: the standard deviation that must be left of a code in a place for it to be seen there."""
DETAIL, PLACE = 60, 10
"""Fractions of a code's length: the size of coarse detail, and the size of a place."""
FINEST = 0.5
"""Pixels of a code's smallest module below which it does not count: two modules share a pixel, and the
drawing itself is a grey patch."""
SMALLEST = 4
"""Pixels of a box's shorter side below which a code does not count."""
EMPTY = 0.4
LARGE = 0.05
LARGEST_MARKER = 0.65
SHAPES = ((4, 3), (4, 3), (3, 4), (3, 4), (1, 1), (16, 9), (9, 16), (3, 2))


Lens = Callable[[Random, Picture, list[Code]], tuple[Picture, list[Code]]]
"""Bends the picture, and the codes' outlines with it."""
Camera = Callable[[Random, Picture, float], tuple[Picture, int]]
"""Of a scene and the length of its smallest code, the photograph and the quality of its JPEG."""


@dataclass(frozen=True, slots=True)
class Box:
    """Corners in pixels."""

    class_id: int
    x1: float
    y1: float
    x2: float
    y2: float

    def moved(self, x: float, y: float) -> Box:
        return Box(self.class_id, self.x1 + x, self.y1 + y, self.x2 + x, self.y2 + y)


@dataclass(frozen=True, slots=True)
class Scene:
    picture: Picture
    boxes: list[Box]
    """The codes that a detector should find."""
    unclear: list[Box]
    """The codes that it may find or not, since too little of them is visible."""
    quality: int
    """The quality of the camera's JPEG."""


@dataclass(frozen=True, slots=True)
class World:
    """Patterns, artwork, fonts, lens and camera of a kind of scenes."""

    backdrop: Pattern
    distractor: Pattern
    artworks: tuple[Pattern, ...]
    fonts: tuple[str, ...]
    """Of the digits beneath linear codes."""
    lens: Lens
    photograph: Camera
    tilt: float
    """Standard deviation, in radians, of how far a sheet is turned out of the picture's plane."""
    slanted: float = 0.0
    """The share of sheets that are additionally turned by any angle."""


EVERYDAY = World(
    backdrop=mixed.backdrop,
    distractor=mixed.distractor,
    artworks=artwork.KINDS,
    fonts=symbols.DIGIT_FONTS,
    lens=lambda _, picture, codes: (picture, codes),
    photograph=camera.anyone,
    tilt=0.36,
    slanted=0.25,
)


def scene(
    seed: int, size: int, world: World = EVERYDAY, empty: float = EMPTY, shape: tuple[int, int] | None = None
) -> Scene:
    """The scene of a seed, its longer side about `size` pixels, or of this height and width; `empty` of all
    scenes have no code."""
    rng = np.random.default_rng(seed)
    height, width = shape or frame(rng, size)
    codes: list[Code] = []
    if chance(rng, empty):
        picture = without_codes(rng, world, height, width)
    else:
        picture, codes = with_codes(rng, world, height, width)
    if chance(rng, 0.12):
        picture = held(rng, picture, codes)
    picture, codes = world.lens(rng, picture, codes)
    finest = min((extent(one.outline) for one in codes), default=rng.uniform(40, max(height, width)))
    photo, quality = world.photograph(rng, picture, finest)
    clear = boxes([one for one in codes if legible(one, picture, photo)], photo)
    unclear = [box for box in boxes(codes, photo, visible=0) if box not in clear]
    return Scene(photo, clear, unclear, quality)


def crowd(seed: int, size: int) -> Scene:
    """Four scenes in a square: more codes, and smaller ones, in no more pixels to learn from."""
    rng = np.random.default_rng(seed)
    x, y = between(rng, size * 0.35, size * 0.65), between(rng, size * 0.35, size * 0.65)
    picture = np.zeros((size, size, 3), np.uint8)
    clear: list[Box] = []
    unclear: list[Box] = []
    quality = 95
    for number, (left, top) in enumerate(((0, 0), (x, 0), (0, y), (x, y))):
        height, width = y if top == 0 else size - y, x if left == 0 else size - x
        part = scene(4 * seed + number, size, shape=(height, width))
        picture[top : top + height, left : left + width] = part.picture
        clear += [box.moved(left, top) for box in part.boxes]
        unclear += [box.moved(left, top) for box in part.unclear]
        quality = min(quality, part.quality)
    return Scene(picture, clear, unclear, quality)


def extent(outline: Points) -> float:
    """The longer side of the upright box around it."""
    return float(np.ptp(outline, axis=0).max())


def frame(rng: Random, size: int) -> tuple[int, int]:
    across, down = pick(rng, SHAPES)
    longer = size * pick(rng, (1.0, 1.0, 1.0, rng.uniform(0.6, 1), rng.uniform(1, 1.5)))
    if chance(rng, LARGE):  # scaled down later, as a phone's pictures are
        longer = size * rng.uniform(1.7, 2.5)
    return round(longer * down / max(across, down)), round(longer * across / max(across, down))


def without_codes(rng: Random, world: World, height: int, width: int) -> Picture:
    picture = (world.distractor if chance(rng, 0.75) else world.backdrop)(rng, height, width)
    for _ in range(pick(rng, (0, 0, 0, 1, 1, 3))):
        h, w = between(rng, height / 4, height * 1.2), between(rng, width / 4, width * 1.2)
        sheet = bent(rng, Sheet(pick(rng, world.artworks)(rng, h, w)))
        pose = posed(
            rng, world, (w / 2, h / 2), anywhere(rng, picture), rng.uniform(0.5, 1), max(height, width)
        )
        picture = lay(picture, sheet, pose.matrix(), rng.uniform(0, 0.6))
    return picture


def with_codes(rng: Random, world: World, height: int, width: int) -> tuple[Picture, list[Code]]:
    picture = world.backdrop(rng, height, width)
    longer = max(height, width)
    codes: list[Code] = []
    distance = rng.random()
    if distance < 0.5:  # close up: one code is what the photo is of
        extents, place = [longer * rng.uniform(0.35, 1.25)], central(rng, picture)
    elif distance < 0.8:
        extents, place = [longer * rng.uniform(0.12, 0.5) for _ in range(between(rng, 1, 2))], None
    else:
        extents, place = [rng.uniform(26, longer * 0.2) for _ in range(between(rng, 1, 6))], None
    for length in extents:
        sheet = bent(rng, printed(rng, world, length, longer))
        first = sheet.codes[0].outline
        scale = length / max(extent(first), 1)
        middle = (first.min(axis=0) + first.max(axis=0)) / 2
        pose = posed(rng, world, (middle[0], middle[1]), place or anywhere(rng, picture), scale, longer)
        matrix = pose.matrix()
        if hides(sheet, matrix, codes):
            continue
        picture = lay(picture, sheet, matrix, pick(rng, (0, rng.uniform(0, 0.7))))
        codes += [carried(one, matrix) for one in sheet.codes]
    return picture, codes


def printed(rng: Random, world: World, length: float, longer: int) -> Sheet:
    """A sheet with a code on it that will be `length` pixels long, drawn somewhat larger."""
    side = max(24, round(length * (1.6 if length < longer / 3 else 1.15)))
    share = length / longer
    first = code(rng, world, side, share)
    prints = [first]
    while chance(rng, 0.2):
        prints.append(code(rng, world, max(24, round(side * rng.uniform(0.3, 1))), share))
    if chance(rng, 0.2):
        return first  # a sticker, cut at its margin
    h, w = first.picture.shape[:2]
    most = 1.6 * max(longer, h, w)
    height = between(rng, h * 1.02, min(most, h * rng.uniform(1.1, 7)))
    width = between(rng, w * 1.02, min(most, w * rng.uniform(1.1, 4)))
    return artwork.with_codes(rng, pick(rng, world.artworks), prints, height, width)


def code(rng: Random, world: World, side: int, share: float) -> Sheet:
    """`share` of the picture's longer side is what it will take: of a marker that fills it all, too little
    is left to tell it from any dark thing."""
    kind = rng.uniform(0, 1 if share < LARGEST_MARKER else 0.8)
    if kind < 0.5:
        return symbols.barcode(rng, max(side, 36), world.fonts)
    if kind < 0.8:
        return symbols.qr_code(rng, side)
    return symbols.board(rng, side) if chance(rng, 0.15) and side < 200 else symbols.marker(rng, side)


def posed(
    rng: Random,
    world: World,
    middle: tuple[float, float],
    place: tuple[float, float],
    scale: float,
    longer: int,
) -> Pose:
    base = pick(rng, (0, 0, pick(rng, (90, 180, 270)), rng.uniform(0, 360)))
    if world.slanted and chance(rng, world.slanted):
        base = rng.uniform(0, 360)
    turn = np.radians(base + rng.normal(0, 8))
    tilt = np.clip(rng.normal(0, world.tilt, 2), -1, 1)
    return Pose(middle, place, scale, turn, (tilt[0], tilt[1]), longer * rng.uniform(1, 3))


def central(rng: Random, picture: Picture) -> tuple[float, float]:
    height, width = picture.shape[:2]
    return width * rng.normal(0.5, 0.1), height * rng.normal(0.5, 0.1)


def anywhere(rng: Random, picture: Picture) -> tuple[float, float]:
    height, width = picture.shape[:2]
    return width * rng.uniform(0.02, 0.98), height * rng.uniform(0.02, 0.98)


def hides(sheet: Sheet, matrix: np.ndarray, codes: list[Code]) -> bool:
    """Whether the sheet would cover a code that lies there, or stand on its head behind the camera."""
    height, width = sheet.picture.shape[:2]
    edges = symbols.outline(0, 0, width, height, 1)
    if ((edges @ matrix[2, :2] + matrix[2, 2]) < 0.15).any():
        return True
    area = cv2.perspectiveTransform(edges[None], matrix)[0]
    return any(overlap(area, code.outline) > 0.1 for code in codes)


def held(rng: Random, picture: Picture, codes: list[Code]) -> Picture:
    """With a finger or two, which may touch a code but not hide it."""
    height, width = picture.shape[:2]
    tone = rng.uniform(0.35, 1)
    skin = np.array([150, 180, 225]) * tone + rng.normal(0, 8, 3)
    for _ in range(between(rng, 1, 2)):
        thickness = between(rng, max(height, width) / 16, max(height, width) / 6)
        left, right = (-10, rng.uniform(0, height)), (width + 10, rng.uniform(0, height))
        start = np.array(pick(rng, (left, right, (rng.uniform(0, width), height + 10))))
        end = start + (np.array([width / 2, height / 2]) - start) * rng.uniform(0.1, 0.6)
        mask = np.zeros((height, width), np.uint8)
        cv2.line(mask, start.astype(int).tolist(), end.astype(int).tolist(), 255, thickness, cv2.LINE_AA)
        if any(covered(mask, one) > 0.15 for one in codes):
            continue
        round_light = cv2.GaussianBlur(mask, (0, 0), thickness / 4).astype(np.float32) / 255
        finger = np.clip(skin * (0.35 + 0.65 * round_light[..., None]), 0, 255)
        share = cv2.GaussianBlur(mask, (0, 0), 1).astype(np.float32)[..., None] / 255
        picture = (picture * (1 - share) + finger * share).astype(np.uint8)
    return picture


# Boxes


def boxes(codes: list[Code], picture: Picture, visible: float = VISIBLE) -> list[Box]:
    """Of the codes of which that share and more lies in the picture, around the part that does."""
    height, width = picture.shape[:2]
    whole = symbols.outline(0, 0, width, height, 1)
    found = []
    for one in codes:
        hull = cv2.convexHull(one.outline.astype(np.float32))
        area, part = cv2.intersectConvexConvex(hull, whole.astype(np.float32))
        if area < visible * cv2.contourArea(hull) or part is None:
            continue
        x1, y1 = part.reshape(-1, 2).min(axis=0).tolist()
        x2, y2 = part.reshape(-1, 2).max(axis=0).tolist()
        if min(x2 - x1, y2 - y1) >= SMALLEST:
            found.append(Box(one.class_id, x1, y1, x2, y2))
    return found


def legible(code: Code, drawn: Picture, photo: Picture) -> bool:
    """Whether the photograph shows enough of what was drawn there, and that is more than a grey patch.

    Place by place it takes the coefficient of determination between the two and what is left of the contrast,
    both in the detail that tells a code from a grey patch: that of its modules, or a coarser one, which
    survives a blur.
    """
    if code.module < FINEST:
        return False
    height, width = drawn.shape[:2]
    outline = code.outline.clip(0, (width - 1, height - 1))
    x, y = np.floor(outline.min(axis=0)).astype(int)
    part = np.s_[y : int(outline[:, 1].max()) + 2, x : int(outline[:, 0].max()) + 2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(code.outline).astype(np.int32)], 1)
    within = inside[part] > 0
    length = extent(outline)

    def around(field: Field) -> Field:
        return cv2.GaussianBlur(field, (0, 0), max(2, length / PLACE)).astype(np.float32)

    def shown(finest: float) -> bool:
        meant, seen = (detail(picture[part], finest) for picture in (drawn, photo))
        common = around(meant * seen) - around(meant) * around(seen)
        spread = np.maximum(around(meant**2) - around(meant) ** 2, 1e-6)
        other = around(seen**2) - around(seen) ** 2
        places = (common >= FAINTEST * np.sqrt(spread)) & (common**2 >= LEGIBLE * spread * other)
        return bool(places[within].mean() >= VISIBLE)

    return bool(within.any()) and any(shown(max(0.7, finest)) for finest in (length / DETAIL, code.module))


def detail(picture: Picture, finest: float) -> Field:
    """What varies over one to four times `finest` pixels, in grey."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), finest * times) for times in (1, 4))
    return (fine - coarse).astype(np.float32)


def overlap(area: Points, outline: Points) -> float:
    """The share of the outline's area that the other covers."""
    hull = cv2.convexHull(outline.astype(np.float32))
    common, _ = cv2.intersectConvexConvex(cv2.convexHull(area.astype(np.float32)), hull)
    return common / max(cv2.contourArea(hull), 1)


def covered(mask: np.ndarray, code: Code) -> float:
    inside = np.zeros_like(mask)
    cv2.fillConvexPoly(inside, cv2.convexHull(code.outline.astype(np.int32)), 255)
    return float((mask & inside).sum() / max(inside.sum(), 1))
