"""Draws boxes with their classes and confidences onto a picture."""

import math
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple, cast

from PIL import Image, ImageDraw, ImageFont

from detections.images.boxes import Box
from detections.images.palette import BLACK, WHITE, Colour, colour, ink

LONGEST_NAME = 24


def annotate(image: Image.Image, boxes: Iterable[Box]) -> Image.Image:
    """Draw the boxes onto the RGB image itself, the most confident on top, and return it."""
    ordered = sorted(boxes, key=lambda box: box.confidence)
    pen = _Pen(image)
    for box in ordered:
        pen.outline(box)
    plates: list[_Plate] = []
    for box in reversed(ordered):  # the most confident chooses its place first and is drawn last
        if text := pen.text(box):
            plates.append(_Plate(text, colour(box.class_id), pen.place(box, text, plates)))
    for plate in reversed(plates):
        pen.plate(plate)
    return image


class _Rectangle(NamedTuple):
    """In pixels; right and bottom are included, as in ImageDraw."""

    left: int
    top: int
    right: int
    bottom: int

    def grown(self, by: int) -> "_Rectangle":
        """Larger by so many pixels on each side; at least one pixel remains of a shrunken one."""
        left, top = self.left - by, self.top - by
        return _Rectangle(left, top, max(left, self.right + by), max(top, self.bottom + by))


class _Plate(NamedTuple):
    """The filled rectangle with a box's class and confidence."""

    text: str
    colour: Colour
    rectangle: _Rectangle


class _Pen:
    """Draws with lines and letters whose size fits the picture's."""

    def __init__(self, image: Image.Image) -> None:
        self.draw = ImageDraw.Draw(image)
        self.width, self.height = image.size
        scale = math.sqrt(self.width * self.height)
        self.line = max(1, round(scale / 350))
        self.hair = max(1, round(scale / 1400))  # the dark and the light contour
        self.pad = max(2, round(scale / 200))
        # Loaded for each picture, since Pillow's fonts must not be shared between threads.
        self.font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(max(10, round(scale / 48))))
        _, top, _, bottom = self.font.getbbox("Ag", anchor="ls")
        self.baseline = self.pad - round(top)
        self.plate_height = self.baseline + round(bottom) + self.pad

    def outline(self, box: Box) -> None:
        """In the class's colour, between a dark and a light contour that show on any background."""
        rectangle = self.rectangle(box)
        self.draw.rectangle(rectangle.grown(self.hair), outline=BLACK, width=self.hair)
        self.draw.rectangle(rectangle.grown(-self.line), outline=WHITE, width=self.hair)
        self.draw.rectangle(rectangle, outline=colour(box.class_id), width=self.line)

    def rectangle(self, box: Box) -> _Rectangle:
        left, right = (_pixel(side, self.width) for side in (box.x, box.x + box.width))
        top, bottom = (_pixel(side, self.height) for side in (box.y, box.y + box.height))
        return _Rectangle(left, top, max(left, right - 1), max(top, bottom - 1))

    def text(self, box: Box) -> str:
        """The class and the confidence, shortened until they fit into the picture; perhaps empty."""
        name, confidence = _printable_name(box), f"{box.confidence:.2f}"
        shorter = (f"{name[:end].rstrip()}… {confidence}" for end in range(len(name) - 1, 0, -1))
        space = self.width - 2 * self.pad if self.height >= self.plate_height else 0
        texts = (f"{name} {confidence}", *shorter, confidence)
        return next((text for text in texts if self.font.getlength(text) <= space), "")

    def place(self, box: Box, text: str, others: list[_Plate]) -> _Rectangle:
        """Where the plate goes: inside the picture, if possible above the box and over no other plate."""
        around = self.rectangle(box).grown(self.hair)
        width = math.ceil(self.font.getlength(text)) + 2 * self.pad
        lefts = [min(max(left, 0), self.width - width) for left in (around.left, around.right - width + 1)]
        height = self.plate_height
        tops = [around.top - height, around.top, around.bottom + 1, around.bottom - height + 1]
        lowest = self.height - height
        tops = [top for top in tops if 0 <= top <= lowest] or [min(max(around.top, 0), lowest)]
        places = [_Rectangle(left, top, left + width - 1, top + height - 1) for top in tops for left in lefts]
        return min(places, key=lambda place: _covered_pixels(place, others))

    def plate(self, plate: _Plate) -> None:
        start = plate.rectangle.left + self.pad, plate.rectangle.top + self.baseline
        self.draw.rectangle(plate.rectangle, fill=plate.colour, outline=BLACK, width=self.hair)
        self.draw.text(start, plate.text, ink(plate.colour), self.font, anchor="ls")


def _pixel(share: float, side: int) -> int:
    return round(min(max(share, 0), 1) * side)


def _printable_name(box: Box) -> str:
    """The class's name in ASCII, since Pillow's font has no other letters; else the class's number."""
    plain = unicodedata.normalize("NFKD", box.object_class).encode("ascii", "ignore").decode()
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())
    if not name:
        return f"#{box.class_id}"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def _covered_pixels(place: _Rectangle, others: Iterable[_Plate]) -> int:
    """How many pixels of the other plates lie in this place."""
    left, top, right, bottom = place
    return sum(
        (min(right, other.right) - max(left, other.left) + 1)
        * (min(bottom, other.bottom) - max(top, other.top) + 1)
        for _, _, other in others
        if other.left <= right and left <= other.right and other.top <= bottom and top <= other.bottom
    )
