"""What an uploaded picture must be, read by the web process.

Only headers and the lengths of what follows them are read: no codec and no Pillow run here, so a hostile file
meets nothing but the bounds checks of this module, and the size that a picture claims costs no memory.
Decoding is the worker's.
"""

import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END
from typing import IO, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError

from detections import containers
from detections.containers import BrokenError, Source

MEGABYTE = 1 << 20
MOST_SCANS = 100  # encoders write about ten; every scan costs the decoder a pass over the whole picture
MOST_VALUES = 1 << 20  # strips or tiles: 50 megapixels in tiles of 16 x 16 and four planes have 780,000


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`format` is jpeg, png, webp, bmp, tiff or gif; `extension` has its dot; `width` and `height` are pixels
    of the upright picture (EXIF orientations 5 to 8 swap the header's)."""

    format: str
    extension: str
    width: int
    height: int


def read_image(file: IO[bytes]) -> ImageFacts:
    """Facts of one whole, acceptable picture; the file is rewound either way.

    Raises ValidationError with the code `empty`, `too_large`, `unsupported_format`, `too_many_pixels` or
    `corrupt_image`, the latter two for the first fault met in the file.
    """
    try:
        return _facts(Source(file, 0, _checked_length(file)))
    finally:
        file.seek(0)


def _checked_length(file: IO[bytes]) -> int:
    file.seek(0, SEEK_END)
    length = file.tell()
    if length == 0:
        raise ValidationError("The file is empty.", code="empty")
    if length > settings.MAX_UPLOAD_MB * MEGABYTE:
        megabytes = math.ceil(length * 10 / MEGABYTE) / 10  # up: "20.0 MB; at most 20 MB" explains nothing
        raise ValidationError(
            f"The file is {megabytes} MB; at most {settings.MAX_UPLOAD_MB} MB are allowed.", code="too_large"
        )
    return length


def _facts(source: Source) -> ImageFacts:
    start = source.at(0, min(18, source.length))
    known = next((known for known in _FORMATS if known.signature.match(start)), None)
    if known is None:
        raise ValidationError(
            "This is no picture that can be read: send JPEG, PNG, WebP, BMP, TIFF or GIF.",
            code="unsupported_format",
        )
    try:
        width, height, orientation = known.read(source)
    except BrokenError as error:
        raise ValidationError(f"The {known.name} file is damaged: {error}.", code="corrupt_image") from error
    if orientation in {5, 6, 7, 8}:  # lying on its side
        width, height = height, width
    return ImageFacts(known.name.lower(), known.extension, width, height)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BrokenError("it has no width or no height")
    if width * height > settings.MAX_IMAGE_PIXELS:
        raise ValidationError(
            f"The picture has {width} x {height} pixels, {width * height:,} together; "
            f"at most {settings.MAX_IMAGE_PIXELS:,} are allowed.",
            code="too_many_pixels",
        )


class _Header(NamedTuple):
    width: int
    height: int
    orientation: int = 1


# JPEG

_FRAME_LENGTH = 6  # precision, height, width, components
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(source: Source) -> _Header:
    header: _Header | None = None
    exif: Source | None = None
    scans = 0
    for segment in containers.jpeg_segments(source):
        if segment.marker in _FRAMES:
            if header is not None or segment.length < _FRAME_LENGTH:
                raise BrokenError("it describes its size more than once, or not at all")
            height, width = source.unpack(">HH", segment.offset + 1)
            _check_size(width, height)
            header = _Header(width, height)
        elif segment.marker == containers.START_OF_SCAN:
            scans += 1
            if header is None or scans > MOST_SCANS:
                raise BrokenError("it has a scan without a size, or too many scans")
        exif = exif or containers.jpeg_exif(source, segment)
    if header is None or scans == 0:
        raise BrokenError("it holds no picture")
    return header._replace(orientation=containers.orientation(exif))


# PNG


def _png(source: Source) -> _Header:
    header = _png_header(source)
    exif: Source | None = None
    has_pixels = False
    for kind, offset, length in containers.png_chunks(source):
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"eXIf" and exif is None:
            exif = source.part(offset, length)
    if not has_pixels:
        raise BrokenError("it holds no picture")
    return header._replace(orientation=containers.orientation(exif))


def _png_header(source: Source) -> _Header:
    length, kind, width, height = struct.unpack(">I4sII", source.at(8, 16))
    if (length, kind) != (13, b"IHDR") or source.unpack(">I", 29)[0] != zlib.crc32(source.at(12, 17)):
        raise BrokenError("it does not begin with its header")
    _check_size(width, height)
    return _Header(width, height)


# WebP

_WEBP_PICTURES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


def _webp(source: Source) -> _Header:
    riff = containers.webp(source)
    header = _webp_header(riff)
    exif: Source | None = None
    has_pixels = False
    for kind, offset, length in containers.webp_chunks(riff):
        has_pixels = has_pixels or kind in _WEBP_PICTURES
        if kind == b"EXIF" and exif is None and containers.webp_shows_exif(riff):
            exif = riff.part(offset, length)
    if not has_pixels:
        raise BrokenError("it holds no picture")
    return header._replace(orientation=containers.orientation(exif))


def _webp_header(riff: Source) -> _Header:
    """The size, which each of the three kinds of first chunk writes in its own way."""
    kind = riff.at(12, 4)
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = riff.unpack("<HBHB", 24)
        width, height = (high_width << 16) + low_width + 1, (high_height << 16) + low_height + 1
    elif kind == b"VP8L" and riff.at(20, 1) == b"\x2f":
        (bits,) = riff.unpack("<I", 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and riff.at(23, 3) == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in riff.unpack("<HH", 26))
    else:
        raise BrokenError("it does not begin with its header")
    _check_size(width, height)
    return _Header(width, height)


# BMP

_BMP_PLAIN = frozenset({0, 3, 6})  # uncompressed, without and with masks


def _bmp(source: Source) -> _Header:
    pixels, header_length = source.unpack("<II", 10)
    if header_length == 12:  # noqa: PLR2004 - the oldest header, that of OS/2 1
        width, height, _, bits = source.unpack("<HHHH", 18)
        compression, length = 0, 0
    else:
        width, height, _, bits, compression, length = source.unpack("<iiHHII", 18)
    height = abs(height)  # below zero: the rows run from the top
    _check_size(width, height)
    if compression in _BMP_PLAIN:
        length = (width * bits + 31) // 32 * 4 * height
    if pixels < 14 + header_length or length == 0:
        raise BrokenError("it holds no picture")
    source.check_inside(pixels, length)
    return _Header(width, height)


# GIF


def _gif(source: Source) -> _Header:
    width, height = source.unpack("<HH", 6)
    header: _Header | None = None
    for kind, offset, _ in containers.gif_blocks(source):
        if kind == b"," and header is None:
            # Pillow makes room for a first frame that is larger than the screen
            left, top, frame_width, frame_height = source.unpack("<HHHH", offset + 1)
            header = _Header(max(width, left + frame_width), max(height, top + frame_height))
            _check_size(header.width, header.height)
    if header is None:
        raise BrokenError("it holds no picture")
    return header


# TIFF


def _tiff(source: Source) -> _Header:
    tags = containers.directory(source)

    def number(tag: int, default: int = 0) -> int:
        return containers.number(source, tags, tag, default)

    width, height = number(containers.WIDTH), number(containers.HEIGHT)
    _check_size(width, height)
    tiled = containers.TILES[0] in tags
    if tiled:  # a decoder makes room for a whole tile, however small the picture
        _check_size(number(containers.TILE_WIDTH), number(containers.TILE_HEIGHT))
    pieces = containers.TILES if tiled else containers.STRIPS
    _check_pieces(source, *(tags.get(tag) for tag in pieces))
    return _Header(width, height, number(containers.ORIENTATION, default=1))


def _check_pieces(source: Source, offsets: containers.Tag | None, lengths: containers.Tag | None) -> None:
    if offsets is None or lengths is None or not 0 < offsets.values == lengths.values <= MOST_VALUES:
        raise BrokenError("it does not say where its pixels are")
    ends = containers.values(source, offsets), containers.values(source, lengths)
    for offset, length in zip(*ends, strict=True):
        source.check_inside(offset, length)


class _Format(NamedTuple):
    name: str
    extension: str
    signature: re.Pattern[bytes]
    read: Callable[[Source], _Header]


_FORMATS = (
    _Format("JPEG", ".jpg", re.compile(rb"\xff\xd8\xff"), _jpeg),  # and MPO, which only appends pictures
    _Format("PNG", ".png", re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    _Format("WebP", ".webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    # "BM" alone begins many a text: the length of the second header tells
    _Format("BMP", ".bmp", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), _bmp),
    _Format("TIFF", ".tiff", re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    _Format("GIF", ".gif", re.compile(rb"GIF8[79]a"), _gif),
)
CODES = ["empty", "too_large", "unsupported_format", "too_many_pixels", "corrupt_image"]
EXTENSIONS = tuple(known.extension for known in _FORMATS)
