"""How the six formats lay out a file: walkers over its pieces, for whoever reads it or copies parts of it.

Nothing is decoded. Every offset is checked, and the number of reads is bounded by the file's length, so that
a hostile file meets nothing but these checks. All offsets and lengths are bytes of the source.
"""

import re
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

BLOCK = 1 << 16


class BrokenError(Exception):
    """Why the bytes are not a whole picture, as the end of a sentence for their owner."""


class Source:
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
            raise BrokenError("it is made of too many pieces")
        first = offset - self.block_offset
        if first < 0 or first + count > len(self.block):
            self.file.seek(self.start + offset)
            self.block = self.file.read(max(count, BLOCK))
            self.block_offset, first = offset, 0
            if len(self.block) < count:
                raise BrokenError("it ends too early")
        return self.block[first : first + count]

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def check_inside(self, offset: int, count: int) -> None:
        if offset + count > self.length:
            raise BrokenError("it ends too early")

    def part(self, offset: int, count: int) -> "Source":
        self.check_inside(offset, count)
        return Source(self.file, self.start + offset, count)


class Chunk(NamedTuple):
    """A named piece: where its content lies."""

    kind: bytes
    offset: int
    length: int


# JPEG

START_OF_SCAN, APP1 = 0xDA, 0xE1
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_NOT_MARKERS = frozenset({0x00, 0xD8})  # a stuffed byte, and a second picture inside this one
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither stuffed, nor a restart, nor filling


class Segment(NamedTuple):
    """Where the content of a JPEG's segment lies, and where what belongs to it ends: a scan's pixels do."""

    marker: int
    offset: int
    length: int
    end: int


def jpeg_segments(source: Source) -> Iterator[Segment]:
    """Those with a content, up to the end marker of the main picture."""
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
            raise BrokenError("one of its segments has no length")
        end = offset + length
        if marker == START_OF_SCAN:
            end = _after_scan(source, end)
        yield Segment(marker, offset + 2, length - 2, end)
        offset = end


def _jpeg_marker(source: Source, offset: int) -> tuple[int, int]:
    """The marker there, and the offset behind it; any number of FF bytes may fill up before it."""
    if source.at(offset, 1) != b"\xff":
        raise BrokenError("one of its segments does not end where it says")
    while (marker := source.at(offset, 1)[0]) == 0xFF:  # noqa: PLR2004 - the byte that begins every marker
        offset += 1
    if marker in _NOT_MARKERS:
        raise BrokenError("one of its segments does not end where it says")
    return marker, offset + 1


def _after_scan(source: Source, offset: int) -> int:
    """Where the next marker stands behind the compressed data that begin at `offset`."""
    while offset < source.length:
        block = source.at(offset, min(BLOCK, source.length - offset))
        if found := _MARKER_AFTER_SCAN.search(block):
            return offset + found.start()
        offset += max(len(block) - 1, 1)  # a marker may lie across two blocks
    raise BrokenError("it ends too early")


# PNG


def png_chunks(source: Source) -> Iterator[Chunk]:
    """Up to the end chunk, which is among them."""
    offset, kind = 8, b""
    while kind != b"IEND":
        length, offset = source.unpack(">I", offset)[0], offset + 8
        kind = source.at(offset - 4, 4)
        source.check_inside(offset, length + 4)
        if not kind.isalpha():
            raise BrokenError("one of its chunks does not end where it says")
        yield Chunk(kind, offset, length)
        offset += length + 4


# WebP

_WEBP_HAS_EXIF = 0x08


def webp(source: Source) -> Source:
    """The file as far as it says that it goes."""
    return source.part(0, source.unpack("<I", 4)[0] + 8)


def webp_shows_exif(riff: Source) -> bool:
    """Whether readers look at its EXIF: only the extended form has any."""
    return riff.at(12, 4) == b"VP8X" and bool(riff.at(20, 1)[0] & _WEBP_HAS_EXIF)


def webp_chunks(riff: Source, offset: int = 12) -> Iterator[Chunk]:
    """From `offset` to the end: of the file, or of a frame that holds chunks of its own."""
    while offset + 8 <= riff.length:
        kind, length, offset = riff.at(offset, 4), riff.unpack("<I", offset + 4)[0], offset + 8
        riff.check_inside(offset, length)
        yield Chunk(kind, offset, length)
        offset += length + length % 2


# GIF

_GIF_HAS_TABLE = 0x80


def gif_blocks(source: Source) -> Iterator[Chunk]:
    """Images (`,`) and extensions (`!`), from this byte on, up to the trailer."""
    offset = gif_start(source)
    while (kind := source.at(offset, 1)) != b";":
        if kind == b"!":
            end = _after_gif_blocks(source, offset + 2)
        elif kind == b",":
            (flags,) = source.at(offset + 9, 1)
            end = _after_gif_blocks(source, offset + 11 + _gif_table(flags))
        elif kind == b"\0":  # an empty block too many, as some programs write
            offset += 1
            continue
        else:
            raise BrokenError("one of its blocks does not end where it says")
        yield Chunk(kind, offset, end - offset)
        offset = end


def gif_start(source: Source) -> int:
    """Where the blocks begin: behind the screen's description and colours."""
    (flags,) = source.at(10, 1)
    return 13 + _gif_table(flags)


def _gif_table(flags: int) -> int:
    """The length of the colour table that the flags announce."""
    return 3 * 2 ** (flags % 8 + 1) if flags & _GIF_HAS_TABLE else 0


def _after_gif_blocks(source: Source, offset: int) -> int:
    while length := source.at(offset, 1)[0]:
        offset += length + 1
    return offset + 1


# TIFF, and EXIF, which is the same structure

EXIF = b"Exif\0\0"
WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 274, 322, 323
STRIPS, TILES = (273, 279), (324, 325)  # their offsets, their lengths
_TAGS = frozenset({WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT, *STRIPS, *TILES})
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_DIRECTORY_ENTRIES = 1 << 16


class Tag(NamedTuple):
    form: str  # of one value
    values: int
    offset: int


def directory(source: Source) -> dict[int, Tag]:
    """The first picture's tags, as far as they matter here, in the classic or the big form."""
    order = {b"II": "<", b"MM": ">"}.get(source.at(0, 2))
    if order is None:
        raise BrokenError("it does not begin with its header")
    if source.unpack(order + "H", 2) == (43,):
        (start,), count_form, entry_form, value = source.unpack(order + "Q", 8), "Q", "HHQQ", 12
    else:
        (start,), count_form, entry_form, value = source.unpack(order + "I", 4), "H", "HHII", 8
    (entries,) = source.unpack(order + count_form, start)
    if entries > _MOST_DIRECTORY_ENTRIES:
        raise BrokenError("its directory is too long")
    start, length = start + struct.calcsize(order + count_form), struct.calcsize(order + entry_form)
    raw = source.at(start, entries * length)
    tags: dict[int, Tag] = {}
    for index, (tag, kind, count, offset) in enumerate(struct.iter_unpack(order + entry_form, raw)):
        if tag not in _TAGS:
            continue
        if tag in tags or kind not in _INTEGERS:  # a decoder might believe the other one
            raise BrokenError("its directory contradicts itself")
        form = order + _INTEGERS[kind]
        fits = count * struct.calcsize(form) <= length - value  # then it stands in the entry itself
        tags[tag] = Tag(form, count, start + index * length + value if fits else offset)
    return tags


def values(source: Source, tag: Tag) -> Iterator[int]:
    raw = source.at(tag.offset, tag.values * struct.calcsize(tag.form))
    return (value for (value,) in struct.iter_unpack(tag.form, raw))


def number(source: Source, tags: dict[int, Tag], tag: int, default: int = 0) -> int:
    return source.unpack(tags[tag].form, tags[tag].offset)[0] if tag in tags else default


def orientation(exif: Source | None) -> int:
    """EXIF's. 1, upright, where there is nothing sensible in it: nobody refuses a picture for that."""
    if exif is None:
        return 1
    try:
        if exif.at(0, len(EXIF)) == EXIF:
            exif = exif.part(len(EXIF), exif.length - len(EXIF))
        return number(exif, directory(exif), ORIENTATION, default=1)
    except BrokenError:
        return 1


def jpeg_exif(source: Source, segment: Segment) -> Source | None:
    """The EXIF in this segment."""
    _, offset, length, _ = segment
    is_exif = segment.marker == APP1 and length >= len(EXIF) and source.at(offset, len(EXIF)) == EXIF
    return source.part(offset, length) if is_exif else None
