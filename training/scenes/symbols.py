"""Codes as they are printed: modules from the encoders, ink and paper, what is written beneath."""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes import linear
from training.scenes.drawing import (
    Colour,
    Picture,
    Points,
    Random,
    between,
    blend,
    chance,
    clouds,
    colour,
    digits,
    font,
    like,
    pick,
    plain,
    write_text,
)

CLASSES = ("qr_code", "barcode", "marker")
QR_CODE, BARCODE, MARKER = range(3)
UNCLEAR = len(CLASSES)
"""In sets for training, of codes that a detector may find or not, whatever they are."""

DIGIT_FONTS = ("DejaVuSansMono.ttf", "DejaVuSans.ttf", "STIXGeneral.ttf")
DICTIONARIES = sorted({
    getattr(cv2.aruco, name)
    for name in dir(cv2.aruco)
    if name.startswith(("DICT_4X4_50", "DICT_5X5_100", "DICT_6X6_250", "DICT_7X7_250", "DICT_A"))
})  # fmt: skip
QR_CHARACTERS = string.ascii_letters + string.digits + "-._~:/?="


@dataclass(frozen=True, slots=True)
class Code:
    class_id: int
    outline: Points
    """Points around it, from its upper left on, as many a side, close enough to follow a bent surface."""
    modules: tuple[int, int]
    """Along its upper side and down its right one. A linear code has one down."""

    def at(self, outline: Points) -> Code:
        return replace(self, outline=outline)

    @property
    def module(self) -> float:
        """The length of its smallest module: of the mean one along the side where they are smallest."""
        corners = len(self.outline) // 4 * np.array((0, 1, 2))
        steps = np.hypot(*np.diff(self.outline, axis=0).T)
        sides = [steps[start:end].sum() for start, end in pairwise(corners)]
        return min(side / count for side, count in zip(sides, self.modules, strict=True))


@dataclass(frozen=True, slots=True)
class Sheet:
    """Something flat with codes on it, or none."""

    picture: Picture
    codes: list[Code] = field(default_factory=list)


def outline(x: float, y: float, width: float, height: float, steps: int = 6) -> Points:
    """Of a rectangle, with `steps` points a side."""
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)
    shares = np.arange(steps)[:, None] / steps
    sides = [corners[n] * (1 - shares) + corners[(n + 1) % 4] * shares for n in range(4)]
    return np.concatenate(sides)


@dataclass(frozen=True, slots=True)
class Print:
    """The colours that a code is printed in, and its margin in modules."""

    ink: Colour
    paper: Colour
    margin: float

    @classmethod
    def choose(cls, rng: Random, inverted: float = 0.03) -> Print:
        ink, paper = colour(rng, 0, 50, saturation=0.2), colour(rng, 215, 255, saturation=0.15)
        if chance(rng, 0.2):
            ink = colour(rng, 0, 120)
        if chance(rng, 0.2):
            paper = colour(rng, 130, 255)
        if sum(paper) - sum(ink) < 200:
            ink, paper = (20, 20, 20), (235, 235, 235)
        if chance(rng, inverted):
            ink, paper = paper, ink
        return cls(ink, paper, pick(rng, (0, 1, 2, 4, 6, 10)))


# Matrix codes


def qr_modules(rng: Random) -> NDArray[np.bool_]:
    """True is dark; without the quiet zone."""
    parameters = cv2.QRCodeEncoder.Params()
    parameters.version = min(20, 1 + int(rng.exponential(3.5)))
    parameters.correction_level = between(rng, 0, 2) if parameters.version > 2 else 0
    room = 4 + parameters.version * between(rng, 4, 7)
    text = "".join(rng.choice(list(QR_CHARACTERS), room))
    encoded = cv2.QRCodeEncoder.create(parameters).encode(text)
    dark: NDArray[np.bool_] = encoded[2:-2, 2:-2] == 0  # OpenCV adds two modules of margin
    return dark


def marker_modules(rng: Random) -> NDArray[np.bool_]:
    dictionary = cv2.aruco.getPredefinedDictionary(pick(rng, DICTIONARIES))
    number = between(rng, 0, len(dictionary.bytesList) - 1)
    dark: NDArray[np.bool_] = dictionary.generateImageMarker(number, dictionary.markerSize + 2) == 0
    return dark


def matrix_field(modules: NDArray[np.bool_], side: int, shape: str) -> NDArray[np.float32]:
    """1 where there is ink, `side` pixels wide."""
    cell = max(2, -(-side // len(modules)))
    large = np.kron(modules, np.ones((cell, cell))).astype(np.float32)
    if shape == "dots" and cell > 3:
        x = np.abs(np.arange(cell) - (cell - 1) / 2)
        dot = (np.hypot(x[:, None], x) < cell * 0.47).astype(np.float32)
        dots = large * np.tile(dot, modules.shape)
        for rows, columns in ((0, 0), (0, -7), (-7, 0)):  # the finder patterns stay whole
            part = np.s_[
                rows * cell : (rows + 7) * cell or None, columns * cell : (columns + 7) * cell or None
            ]
            dots[part] = large[part]
        large = dots
    if shape == "rounded" and cell > 3:
        soft = cv2.GaussianBlur(large, (0, 0), cell * 0.22)
        large = np.clip((soft - 0.5) * cell + 0.5, 0, 1).astype(np.float32)
    return cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def matrix(
    rng: Random, modules: NDArray[np.bool_], class_id: int, side: int, shape: str, look: Print
) -> Sheet:
    ink = matrix_field(modules, side, shape)
    margin = round(look.margin * side / len(modules))
    ink = worn(rng, np.pad(ink, margin))
    picture = blend(like(ink, look.paper), like(ink, look.ink), ink)
    return Sheet(picture, [Code(class_id, outline(margin, margin, side, side), (len(modules), len(modules)))])


def qr_code(rng: Random, side: int) -> Sheet:
    look = Print.choose(rng, inverted=0.12)
    shape = pick(rng, ("squares",) * 6 + ("dots", "rounded"))
    sheet = matrix(rng, qr_modules(rng), QR_CODE, side, shape, look)
    if chance(rng, 0.12):
        middle = sheet.picture.shape[0] // 2
        half = int(side * rng.uniform(0.07, 0.13))
        first, last = (middle - half, middle - half), (middle + half, middle + half)
        cv2.rectangle(sheet.picture, first, last, look.paper, -1)
        cv2.circle(sheet.picture, (middle, middle), int(half * 0.8), colour(rng), -1, cv2.LINE_AA)
    return sheet


def marker(rng: Random, side: int) -> Sheet:
    look = Print.choose(rng, inverted=0)
    look = Print(look.ink, look.paper, rng.choice([0.5, 1, 1, 2, 3]))
    return matrix(rng, marker_modules(rng), MARKER, side, "squares", look)


def board(rng: Random, side: int) -> Sheet:
    """Several markers on a grid, or in the white squares of a chessboard; each `side` wide."""
    look = Print((20, 20, 20), (240, 240, 240), 0)
    rows, columns = between(rng, 2, 4), between(rng, 2, 4)
    chess = chance(rng, 0.4)
    pitch = round(side * (1 / 0.7 if chess else rng.uniform(1.15, 1.6)))
    gap = (pitch - side) // 2
    picture = plain(rows * pitch, columns * pitch, look.paper)
    codes = []
    for row, column in np.ndindex(rows, columns):
        x, y = column * pitch, row * pitch
        if chess and (row + column) % 2:
            cv2.rectangle(picture, (x, y), (x + pitch, y + pitch), look.ink, -1)
            continue
        one = matrix(rng, marker_modules(rng), MARKER, side, "squares", look)
        picture[y + gap : y + gap + side, x + gap : x + gap + side] = one.picture
        codes.append(one.codes[0].at(outline(x + gap, y + gap, side, side)))
    return Sheet(picture, codes)


def worn(rng: Random, ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ink that is missing in places: faded, scratched, printed by a worn head."""
    height, width = ink.shape
    if chance(rng, 0.2):
        ink = ink * np.clip(clouds(rng, height, width, 2, 3) * 2 + rng.uniform(-0.2, 0.6), 0.2, 1)
    if chance(rng, 0.12):
        ink = ink * (rng.random((height, width), np.float32) > rng.uniform(0.02, 0.3))
    if chance(rng, 0.1):
        ink = ink.copy()
        for _ in range(between(rng, 1, 6)):
            thickness = between(rng, 1, max(1, height // 60))
            if chance(rng, 0.5):
                y = between(rng, 0, height - 1)
                ink[y : y + thickness] *= 0.15
            else:
                x = between(rng, 0, width - 1)
                ink[:, x : x + thickness] *= 0.15
    return ink.astype(np.float32)


# Linear codes


def linear_code(rng: Random) -> tuple[str, str, str]:
    """The symbology, its modules, and what is written beneath."""
    kinds = (
        ("ean13",) * 6
        + ("upca",) * 3
        + ("code128",) * 3
        + ("code39",) * 2
        + ("itf", "ean8", "upce", "codabar")
    )
    kind = pick(rng, kinds)
    wide = between(rng, 2, 3)
    match kind:
        case "ean13" | "upca" | "ean8":
            text = digits(rng, {"ean13": 12, "upca": 11, "ean8": 7}[kind])
            text += linear.check_digit(text)
            return kind, getattr(linear, kind)(text), text
        case "upce":
            text = digits(rng, 6)
            return kind, linear.upce(text), text
        case "code128":
            text = digits(rng, 2 * between(rng, 3, 12)) if chance(rng, 0.5) else characters(rng, 4, 18)
            return kind, linear.code128(text), text
        case "code39":
            text = characters(rng, 3, 12)
            return kind, linear.code39(text, wide=wide), f"*{text}*" if chance(rng, 0.5) else text
        case "codabar":
            text = f"A{digits(rng, between(rng, 5, 14))}B"
            return kind, linear.codabar(text, wide=wide), text
        case _:
            text = digits(rng, 2 * between(rng, 3, 8))
            return kind, linear.itf(text, wide=wide), text


def characters(rng: Random, least: int, most: int) -> str:
    return "".join(rng.choice(list(string.ascii_uppercase + string.digits + "-"), between(rng, least, most)))


def bars(rng: Random, modules: str, width: int) -> NDArray[np.float32]:
    """One row of a print `width` pixels wide, 1 where there is ink; bars a little too wide or too narrow."""
    fine = np.repeat(np.array(list(modules), np.float32), 8)[None]
    soft = cv2.GaussianBlur(fine, (17, 1), 2.5)
    spread = (soft > rng.uniform(0.25, 0.7)).astype(np.float32)
    return cv2.resize(spread, (width, 1), interpolation=cv2.INTER_AREA)[0].astype(np.float32)


def barcode(rng: Random, width: int, fonts: tuple[str, ...] = DIGIT_FONTS) -> Sheet:
    """A linear code with bars `width` pixels wide over all."""
    kind, modules, text = linear_code(rng)
    look = Print.choose(rng)
    height = max(
        4, int(width * rng.choice([rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.8), rng.uniform(0.6, 1.1)]))
    )
    size = int(width * rng.uniform(0.07, 0.11)) if kind in GROUPS else int(width * rng.uniform(0.04, 0.09))
    written = chance(rng, 0.85) and size >= 4
    side = round(look.margin * width / 95) + (size if written else 0)
    beneath = round(size * rng.uniform(1.05, 1.5)) if written else 0
    top = round(rng.choice([0, 0.02, 0.1]) * width)
    ink = np.zeros((top + height + beneath + between(rng, 0, 4), width + 2 * side), np.float32)
    ink[top : top + height, side : side + width] = bars(rng, modules, width)
    if written and kind in GUARDED and chance(rng, 0.8):
        guards(ink, modules, side, top + height, size // 2)
    ink = worn(rng, ink)
    picture = blend(like(ink, look.paper), like(ink, look.ink), ink)
    if written:
        face = font(rng, size, fonts)
        picture = caption(picture, kind, text, (side, top + height), width, face, look.ink)
    if kind in {"ean13", "upca"} and chance(rng, 0.1):
        picture = supplemented(rng, picture, look, (top, height), width * 47 // 95)
    return Sheet(picture, [Code(BARCODE, outline(side, top, width, height), (len(modules), 1))])


def supplemented(rng: Random, picture: Picture, look: Print, span: tuple[int, int], width: int) -> Picture:
    """With a small code of five digits to the right, as on books. It is part of no box."""
    top, height = span
    ink = np.zeros((picture.shape[0], width + max(2, width // 12)), np.float32)
    ink[top + height // 6 : top + height, :width] = bars(rng, linear.ean5(digits(rng, 5)), width)
    beside = blend(like(ink, look.paper), like(ink, look.ink), ink)
    return np.hstack([picture, beside]).astype(np.uint8)


# The first and last character of each group of digits, and the middle of the group in modules
GROUPS: dict[str, tuple[tuple[int, int, float], ...]] = {
    "ean13": ((0, 1, -6), (1, 7, 24), (7, 13, 71)),
    "upca": ((0, 1, -6), (1, 6, 27), (6, 11, 68), (11, 12, 101)),
    "ean8": ((0, 4, 17), (4, 8, 50)),
    "upce": ((0, 6, 24),),
}
GUARDED = frozenset(GROUPS)


def guards(ink: NDArray[np.float32], modules: str, x: int, y: int, length: int) -> None:
    """Lengthens the bars at both ends and in the middle."""
    module = (ink.shape[1] - 2 * x) / len(modules)
    middle = len(modules) / 2
    for start, end in ((0, 3), (middle - 2.5, middle + 2.5), (len(modules) - 3, len(modules))):
        part = slice(round(x + start * module), round(x + end * module))
        ink[y : y + length, part] = ink[y - 1, part]


def caption(
    picture: Picture, kind: str, text: str, at: tuple[int, int], width: int, face: Any, paint: Colour
) -> Picture:
    """The digits in the groups of their symbology, else in the middle."""
    x, y = at
    if kind not in GROUPS:
        return write_text(picture, (x + (width - face.getlength(text)) / 2, y), text, face, paint)
    count = 51 if kind == "upce" else 67 if kind == "ean8" else 95
    for first, last, middle in GROUPS[kind]:
        part = text[first:last]
        picture = write_text(
            picture, (x + middle * width / count - face.getlength(part) / 2, y), part, face, paint
        )
    return picture
