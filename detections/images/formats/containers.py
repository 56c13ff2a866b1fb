"""Iterates over the segments, chunks and blocks of JPEG, PNG, WebP and GIF.

Nothing is decoded. Every offset is checked, and the number of reads is bounded by the length, since
files may be hostile. All offsets and lengths are bytes of the source.
"""

import math
import re
import struct
import time
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

BLOCK = 1 << 16
# The reads that a file may need: MOST_READS, and one more for each BYTES_A_READ of its length.
MOST_READS, BYTES_A_READ = 10_000, 128


class BrokenError(Exception):
    """Why the bytes are no complete picture, as the end of a sentence for their owner."""


class SlowError(BrokenError):
    """Reading the file takes more processor time than allowed."""


class Source:
    """Part of a file, read by offset through one block that is kept in memory.

    The number of reads is bounded by the length: a file of a million empty pieces cannot keep a process busy.
    `deadline` is in seconds of `time.thread_time`. The methods raise BrokenError.
    """

    def __init__(self, file: IO[bytes], start: int, length: int, deadline: float = math.inf) -> None:
        self.file = file
        self.start = start
        self.length = length
        self.deadline = deadline
        self.reads_left = MOST_READS + length // BYTES_A_READ
        self.block = b""
        self.block_offset = 0

    def at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes."""
        self.check_inside(offset, count)
        self.count_reads(1)
        first = offset - self.block_offset
        if first < 0 or first + count > len(self.block):
            self._load(offset, max(count, BLOCK))
            first = 0
            if len(self.block) < count:
                raise BrokenError("it ends too early")
        return self.block[first : first + count]

    def window(self, offset: int, count: int = 1) -> tuple[bytes, int]:
        """The block in memory, with at least `count` bytes from `offset` on, and the index of `offset` in it.

        The source may go on after the block.
        """
        self.at(offset, count)
        return self.block, offset - self.block_offset

    def count_reads(self, reads: int) -> None:
        self.reads_left -= reads
        if self.reads_left < 0:
            raise BrokenError("it is made of too many pieces")

    def _load(self, offset: int, count: int) -> None:
        if time.thread_time() > self.deadline:
            raise SlowError("it takes too long to look through")
        self.file.seek(self.start + offset)
        self.block = self.file.read(count)
        self.block_offset = offset

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def check_inside(self, offset: int, count: int) -> None:
        if offset < 0 or offset + count > self.length:
            raise BrokenError("it ends too early")

    def part(self, offset: int, count: int) -> "Source":
        self.check_inside(offset, count)
        return Source(self.file, self.start + offset, count, self.deadline)


class Chunk(NamedTuple):
    """The position of a chunk's content."""

    kind: bytes
    offset: int
    length: int


# JPEG

START_OF_SCAN, APP1 = 0xDA, 0xE1
EXIF = b"Exif\0\0"  # begins an APP1 segment, and the EXIF of some other formats
_OWN_LENGTH = 2  # bytes of a segment's length, which counts itself
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_SECOND_START = 0xD8
_WITHOUT_SEGMENT = frozenset({_SECOND_START, _END_OF_IMAGE})
_MARKER = re.compile(rb"\xff[\x01-\xfe]")  # after stuffed bytes, fill bytes and stray ones, as libjpeg reads
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # what may follow; restart markers lie inside
_PADDING = (bytes(8), b"\xff" * 8)  # instead of the end marker


class Segment(NamedTuple):
    """The position of a segment's content, and its end, which for a scan comes after the pixels."""

    marker: int
    offset: int
    length: int
    end: int


def jpeg_segments(source: Source, *, scans: bool = True) -> Iterator[Segment]:
    """The segments with content, up to the first scan or to the end marker of the main picture."""
    offset = 2
    while True:
        marker, offset = _jpeg_marker(source, offset)
        if marker == _END_OF_IMAGE:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = source.unpack(">H", offset)
        length = max(length, _OWN_LENGTH)  # libjpeg skips no byte either
        source.check_inside(offset, length)
        end = offset + length
        if marker == START_OF_SCAN and not scans:
            return
        if marker == START_OF_SCAN:
            end = _after_scan(source, end)
        yield Segment(marker, offset + 2, length - 2, end)
        if marker == START_OF_SCAN and end == source.length:  # padding instead of the end marker
            return
        offset = end


def _jpeg_marker(source: Source, offset: int) -> tuple[int, int]:
    """The next marker, and the offset behind it."""
    offset = _find_marker(source, offset, _MARKER)
    (marker,) = source.at(offset + 1, 1)
    if marker == _SECOND_START:
        raise BrokenError("one of its segments does not end where it says")
    return marker, offset + 2


def _after_scan(source: Source, offset: int) -> int:
    """The offset of the marker after the compressed data that begin at `offset`; of the end after padding."""
    try:
        offset = _find_marker(source, offset, _MARKER_AFTER_SCAN)
    except SlowError:
        raise
    except BrokenError:
        if source.at(source.length - 8, 8) not in _PADDING:
            raise
        return source.length
    while not _is_plausible(source, offset):  # damaged pixels hold markers, which decoders pass over
        offset = _find_marker(source, offset + 2, _MARKER_AFTER_SCAN)
    return offset


def _is_plausible(source: Source, offset: int) -> bool:
    """Whether the file ends with this marker's segment, or behind it."""
    (marker,) = source.at(offset + 1, 1)
    if marker in _WITHOUT_SEGMENT:
        return True
    return offset + 4 <= source.length and offset + 2 + source.unpack(">H", offset + 2)[0] <= source.length


def _find_marker(source: Source, offset: int, pattern: re.Pattern[bytes]) -> int:
    while True:
        block, start = source.window(offset, 2)
        if found := pattern.search(block, start):
            return offset + found.start() - start
        offset += len(block) - start - 1  # a marker may lie across two blocks


def with_zero_padding(data: bytes) -> bytes:
    """A JPEG that ends with fill bytes instead of its end marker, with zeros for these; else empty.

    Decoders take zeros for pixels, and so find whether any are missing.
    """
    if data.startswith(b"\xff\xd8") and data.endswith(_PADDING[1]):
        return data.rstrip(b"\xff") + _PADDING[0]
    return b""


# PNG

PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_PNG_COLOURS_AT = 25  # the kind of colours: grey, RGB, palette or one with alpha
_LEAST_TRANSPARENCY = {0: 2, 2: 6, 3: 1}  # bytes, by this kind
_MOST_INFLATED = 1 << 20  # bytes at a time


def png_chunks(source: Source) -> Iterator[Chunk]:
    """The chunks up to the end chunk, which is included, or to the end of complete pixels without one.

    Of the last chunk the checksum may be missing.
    """
    offset, kind = 8, b""
    pixels: list[Chunk] = []
    while kind != b"IEND":
        try:
            kind, offset, length = chunk = _png_chunk(source, offset)
        except BrokenError:
            if not _is_complete(source, pixels):
                raise
            return
        if kind == b"IDAT":
            pixels.append(chunk)
        yield chunk
        offset += length + 4


def has_right_checksum(source: Source, chunk: Chunk) -> bool:
    kind, offset, length = chunk
    if offset + length + 4 > source.length:
        return False
    content = source.at(offset, length + 4)
    return content[length:] == struct.pack(">I", zlib.crc32(kind + content[:length]))


def packed_png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bare_png(source: Source) -> bytes:
    """A PNG of the chunks alone that its pixels need, and an end; empty if it is no whole PNG."""
    try:
        if source.at(0, len(PNG_START)) != PNG_START:
            return b""
        kept = [
            copied_png_chunk(source, chunk) for chunk in png_chunks(source) if _is_for_pixels(source, chunk)
        ]
    except BrokenError:
        return b""
    return b"".join([PNG_START, *kept, packed_png_chunk(b"IEND", b"")])


def _is_for_pixels(source: Source, chunk: Chunk) -> bool:
    """Transparency does not count if damaged or too short; the rest is needed, right or wrong."""
    if chunk.kind != b"tRNS":
        return chunk.kind in _PNG_PIXELS
    least = _LEAST_TRANSPARENCY.get(source.at(_PNG_COLOURS_AT, 1)[0], 0)
    return chunk.length >= least and has_right_checksum(source, chunk)


def copied_png_chunk(source: Source, chunk: Chunk) -> bytes:
    kind, offset, length = chunk
    if offset + length + 4 <= source.length:
        return source.at(offset - 8, length + 12)
    return packed_png_chunk(kind, source.at(offset, length))  # the file ends before its checksum


def _png_chunk(source: Source, offset: int) -> Chunk:
    length, kind = source.unpack(">I", offset)[0], source.at(offset + 4, 4)
    source.check_inside(offset + 8, length)
    if not kind.isalpha():
        raise BrokenError("one of its chunks does not end where it says")
    return Chunk(kind, offset + 8, length)


def _is_complete(source: Source, chunks: list[Chunk]) -> bool:
    """Whether the content of these chunks is one complete zlib stream."""
    inflater = zlib.decompressobj()
    try:
        for _, offset, length in chunks:
            for start in range(offset, offset + length, BLOCK):
                _inflate(inflater, source.at(start, min(BLOCK, offset + length - start)))
    except zlib.error:
        return False
    return inflater.eof


def _inflate(inflater: "zlib._Decompress", packed: bytes) -> None:
    inflated = _MOST_INFLATED
    while inflated == _MOST_INFLATED and not inflater.eof:  # output may wait without further input
        inflated = len(inflater.decompress(packed, _MOST_INFLATED))
        packed = inflater.unconsumed_tail


# WebP

_WEBP_HAS_EXIF = 0x08


def webp(source: Source) -> Source:
    """The file up to the length in its header."""
    return source.part(0, source.unpack("<I", 4)[0] + 8)


def webp_shows_exif(riff: Source) -> bool:
    """Whether readers use its EXIF, which only the extended form has."""
    return riff.at(12, 4) == b"VP8X" and bool(riff.at(20, 1)[0] & _WEBP_HAS_EXIF)


def webp_chunks(riff: Source, offset: int = 12) -> Iterator[Chunk]:
    """The chunks from `offset` to the end of the file, or of a frame that holds chunks."""
    while offset + 8 <= riff.length:
        kind, length, offset = riff.at(offset, 4), riff.unpack("<I", offset + 4)[0], offset + 8
        riff.check_inside(offset, length)
        yield Chunk(kind, offset, length)
        offset += length + length % 2


# GIF

_GIF_HAS_TABLE = 0x80
_GIF_BLOCKS_A_READ = 4  # sub-blocks that count as one read, since they lie in a block in memory


def gif_blocks(source: Source) -> Iterator[Chunk]:
    """Images (`,`) and extensions (`!`), each from this byte on, up to the trailer, a stray byte or the end.

    Raises BrokenError if stray bytes come before the first image.
    """
    offset = gif_start(source)
    has_image = False
    while offset < source.length and (kind := source.at(offset, 1)) != b";":
        if kind == b"!":
            end = _after_gif_blocks(source, offset + 2)
        elif kind == b",":
            (flags,) = source.at(offset + 9, 1)
            end = _after_gif_blocks(source, offset + 11 + _gif_table(flags))
            has_image = True
        elif kind == b"\0":  # some programs write an empty block too many
            offset += 1
            continue
        elif has_image:
            return
        else:
            raise BrokenError("one of its blocks does not end where it says")
        yield Chunk(kind, offset, end - offset)
        offset = end


def gif_start(source: Source) -> int:
    """The offset of the first block, behind the screen descriptor and its colours."""
    (flags,) = source.at(10, 1)
    return 13 + _gif_table(flags)


def _gif_table(flags: int) -> int:
    """The length of the colour table by the flags."""
    return 3 * 2 ** (flags % 8 + 1) if flags & _GIF_HAS_TABLE else 0


def _after_gif_blocks(source: Source, offset: int) -> int:
    """The offset behind the empty block that ends the sub-blocks beginning at `offset`."""
    while True:
        block, start = source.window(offset)
        index, blocks = start, 0
        while index < len(block) and (length := block[index]):
            index += length + 1
            blocks += 1
        source.count_reads(blocks // _GIF_BLOCKS_A_READ)
        offset += index - start
        if index < len(block):
            return offset + 1
