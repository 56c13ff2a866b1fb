"""Pixels by Pillow: one upright RGB picture, boxes drawn on it, a clean JPEG of it.

A picture takes four bytes a pixel, and twice that for a moment where it is turned or loses its transparency:
callers bound how many are in hand at once. Sizes are checked before (validators); behind that, Pillow's own
limit stays as it is and refuses pictures above 179 megapixels.
"""

import colorsys
import math
import re
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, NamedTuple, cast

from PIL import ExifTags, Image, ImageDraw, ImageFont, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow's JPEG opens MPO too, a phone's several
JPEG_LONGEST_SIDE = 65_500  # libjpeg's own limit
LONGEST_NAME = 24
BLACK = (0, 0, 0)
WHITE = (255, 255, 255)

# What Pillow lets through from hostile files: its parsers index, divide, assert and inflate unchecked.
PILLOW_FAILURES = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # as the module warnings keeps its filters

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Colour = tuple[int, int, int]


class UnreadableImage(ValueError):  # noqa: N818 - the contract's name
    """Why a picture cannot be decoded, as a sentence for its owner."""


def upright(data: bytes | IO[bytes]) -> Image.Image:
    """The first frame: 8-bit RGB, EXIF's orientation applied, on white where it is transparent, without any
    metadata. Reads a file from its beginning. Raises UnreadableImage."""
    with _reading():
        return _rgb(_turned(_loaded(BytesIO(data) if isinstance(data, bytes) else data)))


def rewritten(file: IO[bytes]) -> bytes:
    """A BMP or a TIFF as Pillow writes it: the first page's pixels and colour profile, nothing else.

    Raises UnreadableImage.
    """
    with _reading():
        opened = _loaded(file)
        options = {}
        if opened.format == "TIFF":
            options = {"compression": "tiff_adobe_deflate", "icc_profile": opened.info.get("icc_profile")}
        image = opened.copy()  # a plain one: what was opened would hand on its tags
        image.info = {}
        out = BytesIO()
        image.save(out, opened.format, **options)
        return out.getvalue()


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever Pillow raises becomes an UnreadableImage."""
    _quieten_pillow()
    try:
        yield
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:  # its own text shows an object's address
        raise UnreadableImage(
            "The picture cannot be decoded: its header is not one of a known picture."
        ) from error
    except PILLOW_FAILURES as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise UnreadableImage(f"The picture cannot be decoded: {reason}.") from error


def _quieten_pillow() -> None:
    """Odd EXIF and the like are nobody's news. For the process and for good: catch_warnings() takes away in
    one thread what another still relies on."""
    if QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)


def _loaded(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    image = Image.open(file, formats=FORMATS)
    image.info.pop("xmp", None)  # a TIFF would be turned by it while loading; every other reader goes by EXIF
    image.load()
    return image


def _turned(image: Image.Image) -> Image.Image:
    """A TIFF was turned by Pillow while it was loaded; its info holds no EXIF."""
    turn = TURNS.get(_orientation(image.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def _orientation(raw: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(raw)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except PILLOW_FAILURES:  # nobody refuses a picture for its EXIF
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    image.info = {}
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(image, mask=image)
    return canvas


def _eight_bit(image: Image.Image) -> Image.Image:
    """16 bits keep their scale, however dark the picture; wider numbers have none of their own: 0..1, 0..255
    and 0..65535 are taken as such, anything else is stretched from its lowest to its highest."""
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
        image = image.convert("I")  # only the machine's own byte order can be scaled
    else:
        low, high = _range(image)
    scale = 255 / (high - low) if high > low else 0.0
    offset = 0.5 - low * scale  # rounds: the conversion cuts off
    return image.point(lambda value: value * scale + offset).convert("L")


def _range(image: Image.Image) -> tuple[float, float]:
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]  # one band: two numbers
    if not math.isfinite(low) or not math.isfinite(high):
        raise UnreadableImage("The picture cannot be decoded: some of its pixels are not numbers.")
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    return next(((0.0, top) for top in usual if low >= 0 and high <= top), (low, high))


def jpeg(image: Image.Image) -> bytes:
    """Quality 90, without metadata; an RGB picture too long for the format is made smaller."""
    if max(image.size) > JPEG_LONGEST_SIDE:
        image = image.copy()
        image.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))
    out = BytesIO()
    image.save(out, "JPEG", quality=90, comment=b"")  # Pillow would copy a comment from where it was opened
    return out.getvalue()


def colour(class_id: int) -> Colour:
    """The same for a class everywhere; neighbouring ids lie the golden angle apart on the colour wheel."""
    hue = (0.58 + class_id * 0.618034) % 1
    value = (0.95, 0.8, 1.0)[class_id // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.88, value)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True, slots=True)
class Label:
    """A box, its top-left corner and size in 0..1 of the upright picture."""

    object_class: str
    class_id: int
    confidence: float
    x: float
    y: float
    width: float
    height: float


def annotate(image: Image.Image, labels: Iterable[Label]) -> Image.Image:
    """Draws the labels onto the RGB picture itself, the most confident on top, and returns it."""
    ordered = sorted(labels, key=lambda label: label.confidence)
    pen = _Pen(image)
    for label in ordered:
        pen.outline(label)
    plates: list[_Plate] = []
    for label in reversed(ordered):  # the most confident chooses its place first, and is drawn last
        if text := pen.text(label):
            plates.append(_Plate(text, colour(label.class_id), pen.place(label, text, plates)))
    for plate in reversed(plates):
        pen.plate(plate)
    return image


class _Box(NamedTuple):
    """Pixels; the right and the bottom ones belong to it, as ImageDraw has it."""

    left: int
    top: int
    right: int
    bottom: int

    def grown(self, by: int) -> "_Box":
        """At least one pixel remains, however much it shrinks."""
        left, top = self.left - by, self.top - by
        return _Box(left, top, max(left, self.right + by), max(top, self.bottom + by))


class _Plate(NamedTuple):
    text: str
    colour: Colour
    box: _Box


class _Pen:
    """Draws in strokes and letters that suit the picture's size."""

    def __init__(self, image: Image.Image) -> None:
        self.draw = ImageDraw.Draw(image)
        self.width, self.height = image.size
        scale = math.sqrt(self.width * self.height)
        self.line = max(1, round(scale / 350))
        self.hair = max(1, round(scale / 1400))  # the dark and the light contour
        self.pad = max(2, round(scale / 200))
        # One for each picture: Pillow's fonts are not to be shared between threads. Its own needs no file.
        self.font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(max(10, round(scale / 48))))
        _, top, _, bottom = self.font.getbbox("Ag", anchor="ls")
        self.baseline = self.pad - round(top)
        self.plate_height = self.baseline + round(bottom) + self.pad

    def outline(self, label: Label) -> None:
        """In the class's colour between a dark and a light contour: one of them shows on any background."""
        box = self.box(label)
        self.draw.rectangle(box.grown(self.hair), outline=BLACK, width=self.hair)
        self.draw.rectangle(box.grown(-self.line), outline=WHITE, width=self.hair)
        self.draw.rectangle(box, outline=colour(label.class_id), width=self.line)

    def box(self, label: Label) -> _Box:
        left, right = (_pixel(side, self.width) for side in (label.x, label.x + label.width))
        top, bottom = (_pixel(side, self.height) for side in (label.y, label.y + label.height))
        return _Box(left, top, max(left, right - 1), max(top, bottom - 1))

    def text(self, label: Label) -> str:
        """The class and the confidence, or as much of that as the picture has room for; perhaps nothing."""
        name, confidence = _printable(label), f"{label.confidence:.2f}"
        shorter = (f"{name[:end].rstrip()}… {confidence}" for end in range(len(name) - 1, 0, -1))
        room = self.width - 2 * self.pad if self.height >= self.plate_height else 0
        texts = (f"{name} {confidence}", *shorter, confidence)
        return next((text for text in texts if self.font.getlength(text) <= room), "")

    def place(self, label: Label, text: str, others: list[_Plate]) -> _Box:
        """Above the box, or else where it covers least of the other plates; always inside the picture."""
        box = self.box(label).grown(self.hair)
        width = math.ceil(self.font.getlength(text)) + 2 * self.pad
        lefts = [min(max(left, 0), self.width - width) for left in (box.left, box.right - width + 1)]
        tops = [box.top - self.plate_height, box.top, box.bottom + 1, box.bottom - self.plate_height + 1]
        lowest = self.height - self.plate_height
        tops = [top for top in tops if 0 <= top <= lowest] or [min(max(box.top, 0), lowest)]
        places = [
            _Box(left, top, left + width - 1, top + self.plate_height - 1) for top in tops for left in lefts
        ]
        return min(places, key=lambda place: _covered(place, others))

    def plate(self, plate: _Plate) -> None:
        start = plate.box.left + self.pad, plate.box.top + self.baseline
        self.draw.rectangle(plate.box, fill=plate.colour, outline=BLACK, width=self.hair)
        self.draw.text(start, plate.text, _ink(plate.colour), self.font, anchor="ls")


def _pixel(share: float, side: int) -> int:
    return round(min(max(share, 0), 1) * side)


def _printable(label: Label) -> str:
    """In the letters that Pillow's font has, which are ASCII's; a name in others becomes its number."""
    plain = unicodedata.normalize("NFKD", label.object_class).encode("ascii", "ignore").decode()
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())
    if not name:
        return f"#{label.class_id}"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def _covered(place: _Box, others: Iterable[_Plate]) -> int:
    """How many pixels of the plates that are there already."""
    left, top, right, bottom = place
    return sum(
        (min(right, box.right) - max(left, box.left) + 1) * (min(bottom, box.bottom) - max(top, box.top) + 1)
        for _, _, box in others
        if box.left <= right and left <= box.right and box.top <= bottom and top <= box.bottom
    )


def _ink(plate: Colour) -> Colour:
    """Black or white, whichever has the higher contrast to the plate by WCAG 2's relative luminance."""
    red, green, blue = (_linear(channel / 255) for channel in plate)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else WHITE


def _linear(channel: float) -> float:
    """sRGB's transfer function."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004  # the formula's
