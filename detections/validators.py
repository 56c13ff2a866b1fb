"""What an uploaded picture must be, read by the web process.

Only headers and the lengths of what follows them are read: no codec and no Pillow run here, so a hostile file
meets nothing but the bounds checks of this module, and the size that a picture claims costs no memory.
Decoding is the worker's.
"""

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import SEEK_END
from typing import IO, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError

MEGABYTE = 1 << 20
BLOCK = 1 << 16
MOST_SCANS = 100  # encoders write about ten; every scan costs the decoder a pass over the whole picture
MOST_VALUES = 1 << 20  # strips or tiles: 50 megapixels in tiles of 16 x 16 and four planes have 780,000
MOST_DIRECTORY_ENTRIES = 1 << 16
_EXIF = b"Exif\0\0"


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
        return _facts(_Source(file, 0, _checked_length(file)))
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


def _facts(source: "_Source") -> ImageFacts:
    start = source.at(0, min(18, source.length))
    known = next((known for known in _FORMATS if known.signature.match(start)), None)
    if known is None:
        raise ValidationError(
            "This is no picture that can be read: send JPEG, PNG, WebP, BMP, TIFF or GIF.",
            code="unsupported_format",
        )
    try:
        width, height, orientation = known.read(source)
    except _BrokenError as error:
        raise ValidationError(f"The {known.name} file is damaged: {error}.", code="corrupt_image") from error
    if orientation in {5, 6, 7, 8}:  # lying on its side
        width, height = height, width
    return ImageFacts(known.name.lower(), known.extension, width, height)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise _BrokenError("it has no width or no height")
    if width * height > settings.MAX_IMAGE_PIXELS:
        raise ValidationError(
            f"The picture has {width} x {height} pixels, {width * height:,} together; "
            f"at most {settings.MAX_IMAGE_PIXELS:,} are allowed.",
            code="too_many_pixels",
        )


class _BrokenError(Exception):
    """Why the bytes are not a whole picture, as the end of a sentence for their owner."""


class _Header(NamedTuple):
    width: int
    height: int
    orientation: int = 1


class _Source:
    """Part of a file, read by offset, from one block kept in memory. The number of reads is bounded by the
    length, so that a file made of a million empty pieces cannot keep a process busy."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self.file = file
        self.start = start
        self.length = length
        self.reads_left = 10_000 + length // 32
        self.block = b""
        self.block_offset = 0

    def at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes."""
        self.check_inside(offset, count)
        self.reads_left -= 1
        if self.reads_left < 0:
            raise _BrokenError("it is made of too many pieces")
        first = offset - self.block_offset
        if first < 0 or first + count > len(self.block):
            self.file.seek(self.start + offset)
            self.block = self.file.read(max(count, BLOCK))
            self.block_offset, first = offset, 0
            if len(self.block) < count:
                raise _BrokenError("it ends too early")
        return self.block[first : first + count]

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def check_inside(self, offset: int, count: int) -> None:
        if offset + count > self.length:
            raise _BrokenError("it ends too early")

    def part(self, offset: int, count: int) -> "_Source":
        self.check_inside(offset, count)
        return _Source(self.file, self.start + offset, count)


# JPEG

_END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_FRAME_LENGTH = 6  # precision, height, width, components
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_NOT_MARKERS = frozenset({0x00, 0xD8})  # a stuffed byte, and a second picture inside this one
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither stuffed, nor a restart, nor filling


def _jpeg(source: _Source) -> _Header:
    header: _Header | None = None
    exif: _Source | None = None
    scans = 0
    for marker, offset, length in _jpeg_segments(source):
        if marker in _FRAMES:
            if header is not None or length < _FRAME_LENGTH:
                raise _BrokenError("it describes its size more than once, or not at all")
            height, width = source.unpack(">HH", offset + 1)
            _check_size(width, height)
            header = _Header(width, height)
        elif marker == _START_OF_SCAN:
            scans += 1
            if header is None or scans > MOST_SCANS:
                raise _BrokenError("it has a scan without a size, or too many scans")
        elif marker == _APP1 and exif is None and source.at(offset, len(_EXIF)) == _EXIF:
            exif = source.part(offset, length)
    if header is None or scans == 0:
        raise _BrokenError("it holds no picture")
    return header._replace(orientation=_orientation(exif))


def _jpeg_segments(source: _Source) -> Iterator[tuple[int, int, int]]:
    """Marker, offset and length of every segment's content, up to the end marker of the main picture."""
    offset = 2
    while True:
        marker, offset = _jpeg_marker(source, offset)
        if marker == _END_OF_IMAGE:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = source.unpack(">H", offset)
        source.check_inside(offset, length)
        if length < 2:  # noqa: PLR2004 - the length counts its own two bytes
            raise _BrokenError("one of its segments has no length")
        yield marker, offset + 2, length - 2
        offset += length
        if marker == _START_OF_SCAN:
            offset = _after_scan(source, offset)


def _jpeg_marker(source: _Source, offset: int) -> tuple[int, int]:
    """The marker there, and the offset behind it; any number of FF bytes may fill up before it."""
    if source.at(offset, 1) != b"\xff":
        raise _BrokenError("one of its segments does not end where it says")
    while (marker := source.at(offset, 1)[0]) == 0xFF:  # noqa: PLR2004 - the byte that begins every marker
        offset += 1
    if marker in _NOT_MARKERS:
        raise _BrokenError("one of its segments does not end where it says")
    return marker, offset + 1


def _after_scan(source: _Source, offset: int) -> int:
    """Where the next marker stands behind the compressed data that begin at `offset`."""
    while offset < source.length:
        block = source.at(offset, min(BLOCK, source.length - offset))
        if found := _MARKER_AFTER_SCAN.search(block):
            return offset + found.start()
        offset += max(len(block) - 1, 1)  # a marker may lie across two blocks
    raise _BrokenError("it ends too early")


# PNG


def _png(source: _Source) -> _Header:
    header = _png_header(source)
    exif: _Source | None = None
    has_pixels = False
    offset, kind = 8, b""
    while kind != b"IEND":
        length, offset = source.unpack(">I", offset)[0], offset + 8
        kind = source.at(offset - 4, 4)
        source.check_inside(offset, length + 4)
        if not kind.isalpha():
            raise _BrokenError("one of its chunks does not end where it says")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"eXIf" and exif is None:
            exif = source.part(offset, length)
        offset += length + 4
    if not has_pixels:
        raise _BrokenError("it holds no picture")
    return header._replace(orientation=_orientation(exif))


def _png_header(source: _Source) -> _Header:
    length, kind, width, height = struct.unpack(">I4sII", source.at(8, 16))
    if (length, kind) != (13, b"IHDR") or source.unpack(">I", 29)[0] != zlib.crc32(source.at(12, 17)):
        raise _BrokenError("it does not begin with its header")
    _check_size(width, height)
    return _Header(width, height)


# WebP

_WEBP_PICTURES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_HAS_EXIF = 0x08


def _webp(source: _Source) -> _Header:
    riff = source.part(0, source.unpack("<I", 4)[0] + 8)
    header = _webp_header(riff)
    shows_exif = riff.at(12, 4) == b"VP8X" and bool(riff.at(20, 1)[0] & _WEBP_HAS_EXIF)
    exif: _Source | None = None
    has_pixels = False
    offset = 12
    while offset + 8 <= riff.length:
        kind, length, offset = riff.at(offset, 4), riff.unpack("<I", offset + 4)[0], offset + 8
        riff.check_inside(offset, length)
        has_pixels = has_pixels or kind in _WEBP_PICTURES
        if kind == b"EXIF" and shows_exif and exif is None:
            exif = riff.part(offset, length)
        offset += length + length % 2
    if not has_pixels:
        raise _BrokenError("it holds no picture")
    return header._replace(orientation=_orientation(exif))


def _webp_header(riff: _Source) -> _Header:
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
        raise _BrokenError("it does not begin with its header")
    _check_size(width, height)
    return _Header(width, height)


# BMP

_BMP_PLAIN = frozenset({0, 3, 6})  # uncompressed, without and with masks


def _bmp(source: _Source) -> _Header:
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
        raise _BrokenError("it holds no picture")
    source.check_inside(pixels, length)
    return _Header(width, height)


# GIF

_GIF_HAS_TABLE = 0x80


def _gif(source: _Source) -> _Header:
    width, height, flags = source.unpack("<HHB", 6)
    header: _Header | None = None
    offset = 13 + _gif_table(flags)
    while (kind := source.at(offset, 1)) != b";":
        if kind == b"!":
            offset = _after_gif_blocks(source, offset + 2)
        elif kind == b",":
            left, top, frame_width, frame_height, flags = source.unpack("<HHHHB", offset + 1)
            if header is None:  # Pillow makes room for a first frame that is larger than the screen
                header = _Header(max(width, left + frame_width), max(height, top + frame_height))
                _check_size(header.width, header.height)
            offset = _after_gif_blocks(source, offset + 11 + _gif_table(flags))
        elif kind == b"\0":  # an empty block too many, as some programs write
            offset += 1
        else:
            raise _BrokenError("one of its blocks does not end where it says")
    if header is None:
        raise _BrokenError("it holds no picture")
    return header


def _gif_table(flags: int) -> int:
    """The length of the colour table that the flags announce."""
    return 3 * 2 ** (flags % 8 + 1) if flags & _GIF_HAS_TABLE else 0


def _after_gif_blocks(source: _Source, offset: int) -> int:
    while length := source.at(offset, 1)[0]:
        offset += length + 1
    return offset + 1


# TIFF, and EXIF, which is the same structure

_WIDTH, _HEIGHT, _ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 274, 322, 323
_STRIPS, _TILES = (273, 279), (324, 325)  # their offsets, their lengths
_TAGS = frozenset({_WIDTH, _HEIGHT, _ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT, *_STRIPS, *_TILES})
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


class _Tag(NamedTuple):
    form: str  # of one value
    values: int
    offset: int


def _tiff(source: _Source) -> _Header:
    tags = _directory(source)
    width, height = _number(source, tags, _WIDTH), _number(source, tags, _HEIGHT)
    _check_size(width, height)
    tiled = _TILES[0] in tags
    if tiled:  # a decoder makes room for a whole tile, however small the picture
        _check_size(_number(source, tags, _TILE_WIDTH), _number(source, tags, _TILE_HEIGHT))
    _check_pieces(source, *(tags.get(tag) for tag in (_TILES if tiled else _STRIPS)))
    return _Header(width, height, _number(source, tags, _ORIENTATION, default=1))


def _check_pieces(source: _Source, offsets: _Tag | None, lengths: _Tag | None) -> None:
    if offsets is None or lengths is None or not 0 < offsets.values == lengths.values <= MOST_VALUES:
        raise _BrokenError("it does not say where its pixels are")
    for offset, length in zip(_values(source, offsets), _values(source, lengths), strict=True):
        source.check_inside(offset, length)


def _directory(source: _Source) -> dict[int, _Tag]:
    """The first picture's tags, as far as they matter here, in the classic or the big form."""
    order = {b"II": "<", b"MM": ">"}.get(source.at(0, 2))
    if order is None:
        raise _BrokenError("it does not begin with its header")
    if source.unpack(order + "H", 2) == (43,):
        (start,), count_form, entry_form, value = source.unpack(order + "Q", 8), "Q", "HHQQ", 12
    else:
        (start,), count_form, entry_form, value = source.unpack(order + "I", 4), "H", "HHII", 8
    (entries,) = source.unpack(order + count_form, start)
    if entries > MOST_DIRECTORY_ENTRIES:
        raise _BrokenError("its directory is too long")
    start, length = start + struct.calcsize(order + count_form), struct.calcsize(order + entry_form)
    raw = source.at(start, entries * length)
    tags: dict[int, _Tag] = {}
    for index, (tag, kind, count, offset) in enumerate(struct.iter_unpack(order + entry_form, raw)):
        if tag not in _TAGS:
            continue
        if tag in tags or kind not in _INTEGERS:  # a decoder might believe the other one
            raise _BrokenError("its directory contradicts itself")
        form = order + _INTEGERS[kind]
        fits = count * struct.calcsize(form) <= length - value  # then it stands in the entry itself
        tags[tag] = _Tag(form, count, start + index * length + value if fits else offset)
    return tags


def _values(source: _Source, tag: _Tag) -> Iterator[int]:
    raw = source.at(tag.offset, tag.values * struct.calcsize(tag.form))
    return (value for (value,) in struct.iter_unpack(tag.form, raw))


def _number(source: _Source, tags: dict[int, _Tag], tag: int, default: int = 0) -> int:
    return source.unpack(tags[tag].form, tags[tag].offset)[0] if tag in tags else default


def _orientation(exif: _Source | None) -> int:
    """1, upright, where there is no EXIF or nothing sensible in it: nobody refuses a picture for that."""
    if exif is None:
        return 1
    try:
        if exif.at(0, len(_EXIF)) == _EXIF:
            exif = exif.part(len(_EXIF), exif.length - len(_EXIF))
        return _number(exif, _directory(exif), _ORIENTATION, default=1)
    except _BrokenError:
        return 1


class _Format(NamedTuple):
    name: str
    extension: str
    signature: re.Pattern[bytes]
    read: Callable[[_Source], _Header]


_FORMATS = (
    _Format("JPEG", ".jpg", re.compile(rb"\xff\xd8\xff"), _jpeg),  # and MPO, which only appends pictures
    _Format("PNG", ".png", re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    _Format("WebP", ".webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    # "BM" alone begins many a text: the length of the second header tells
    _Format("BMP", ".bmp", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), _bmp),
    _Format("TIFF", ".tiff", re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    _Format("GIF", ".gif", re.compile(rb"GIF8[79]a"), _gif),
)
