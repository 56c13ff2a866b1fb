"""An upload as it came, without what it tells about its owner: no place, camera, time, thumbnail or text.

JPEG, PNG, WebP and GIF keep their compressed pixels byte for byte: only the pieces that showing them needs
are copied, colour profile and orientation included. BMP and TIFF, in which pixels and everything else are
entangled, are written anew by Pillow, TIFF as its first page, upright, with at most 8 bits a colour channel.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import SEEK_END
from typing import IO, NamedTuple

from detections import containers, pictures
from detections.containers import BrokenError, Source


class Span(NamedTuple):
    """Bytes of the file."""

    offset: int
    length: int


Pieces = list[bytes | Span]


class UnreadableOriginal(ValueError):  # noqa: N818 - as pictures.UnreadableImage
    """Why a file cannot be given out, as a sentence for its owner."""


def media_type(extension: str) -> str:
    """Of a stored upload's extension, with its dot."""
    return {".jpg": "image/jpeg"}.get(extension, f"image/{extension[1:]}")


def is_written_anew(extension: str) -> bool:
    """Whether `without_metadata` decodes such a file, which takes memory in proportion to its pixels."""
    return extension not in _COPIED


def without_metadata(file: IO[bytes], extension: str) -> Pieces:
    """What to send of a stored upload, in order. Raises UnreadableOriginal."""
    try:
        if is_written_anew(extension):
            return [pictures.rewritten(file)]
        source = Source(file, 0, file.seek(0, SEEK_END))
        return joined(list(_COPIED[extension](source)))
    except (BrokenError, pictures.UnreadableImage) as error:
        raise UnreadableOriginal("The picture's file cannot be read: it is damaged.") from error


def joined(pieces: Pieces) -> Pieces:
    """The same with neighbours in one: few reads instead of one a chunk."""
    result: Pieces = []
    for piece in pieces:
        last = result[-1] if result else b""
        if isinstance(piece, Span) and isinstance(last, Span) and last.offset + last.length == piece.offset:
            result[-1] = Span(last.offset, last.length + piece.length)
        else:
            result.append(piece)
    return result


def length_of(pieces: Pieces) -> int:
    return sum(piece.length if isinstance(piece, Span) else len(piece) for piece in pieces)


def content_of(file: IO[bytes], pieces: Pieces) -> bytes:
    """All of it at once; of the file that the pieces were made of."""
    return b"".join(piece if isinstance(piece, bytes) else read(file, piece) for piece in pieces)


def read(file: IO[bytes], span: Span) -> bytes:
    file.seek(span.offset)
    return file.read(span.length)


def exif_of(orientation: int) -> bytes:
    """A TIFF structure that says the orientation and nothing else."""
    entry = struct.pack("<HHIHH", containers.ORIENTATION, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def orientation_of(exif: Source | None) -> int:
    found = containers.orientation(exif)
    return found if 1 < found <= 8 else 1  # noqa: PLR2004 - EXIF's range


# JPEG

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
# Frames, tables, scans: all that decoding needs, whatever the process.
_JPEG_PIXELS = frozenset(range(0xC0, 0xE0)) - frozenset(range(0xD0, 0xDA))
_JFIF, _ICC, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"


def _jpeg(source: Source) -> Iterator[bytes | Span]:
    exif: Source | None = None
    kept: Pieces = []
    for segment in containers.jpeg_segments(source):
        exif = exif or containers.jpeg_exif(source, segment)
        start = source.at(segment.offset, min(segment.length, 12))
        if segment.marker in _JPEG_PIXELS or (segment.marker == _APP2 and start == _ICC):
            kept.append(Span(segment.offset - 4, segment.end - segment.offset + 4))
        elif segment.marker == _APP14 and start.startswith(_ADOBE):
            kept.append(_jpeg_segment(_APP14, start))  # how the colours are coded, and nothing behind it
        elif segment.marker == _APP0 and start.startswith(_JFIF):
            kept.append(_jpeg_segment(_APP0, start.ljust(12, b"\0") + bytes(2)))  # without its thumbnail
    yield _JPEG_START
    if (orientation := orientation_of(exif)) > 1:
        yield _jpeg_segment(containers.APP1, containers.EXIF + exif_of(orientation))
    yield from kept
    yield _JPEG_END


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


# PNG

_PNG_KEPT = frozenset(b"IHDR PLTE IDAT tRNS iCCP fdAT".split())
# What says little, and how long it is at most: a longer one would hide something.
_PNG_SHORT = {
    b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"sBIT": 4, b"bKGD": 6, b"pHYs": 9, b"acTL": 8,
    b"fcTL": 26,
}  # fmt: skip  # a list to read at a glance


def _png(source: Source) -> Iterator[bytes | Span]:
    exif: Source | None = None
    kept: Pieces = []
    for kind, offset, length in containers.png_chunks(source):
        if kind == b"eXIf" and exif is None:
            exif = source.part(offset, length)
        if kind in _PNG_KEPT or length <= _PNG_SHORT.get(kind, -1):
            kept.append(Span(offset - 8, length + 12))
    yield Span(0, 8)
    yield kept[0]  # the header
    if (orientation := orientation_of(exif)) > 1:
        yield _png_chunk(b"eXIf", exif_of(orientation))
    yield from kept[1:]
    yield _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# WebP

_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_WEBP_KEPT = _WEBP_PIXELS | {b"ICCP"}
_ANIM_LENGTH = 6  # background and number of loops
_WEBP_METADATA, _WEBP_EXIF = 0x0C, 0x08  # flags of the extended form
_FRAME_HEADER = 16


def _webp(source: Source) -> Iterator[bytes | Span]:
    riff = containers.webp(source)
    exif: Source | None = None
    kept: Pieces = []
    for kind, offset, length in containers.webp_chunks(riff):
        if kind == b"EXIF" and exif is None and containers.webp_shows_exif(riff):
            exif = riff.part(offset, length)
        elif kind in _WEBP_KEPT or (kind == b"ANIM" and length == _ANIM_LENGTH):
            kept += _webp_copy(offset, length)
        elif kind == b"ANMF":
            kept += _webp_frame(riff, offset, length)
    orientation = orientation_of(exif)
    if riff.at(12, 4) == b"VP8X":
        flags, rest = riff.at(20, 1)[0] & ~_WEBP_METADATA, riff.at(21, 9)
        if orientation > 1:
            flags |= _WEBP_EXIF
            kept.append(_webp_chunk(b"EXIF", exif_of(orientation)))
        kept.insert(0, _webp_chunk(b"VP8X", bytes([flags]) + rest))
    yield struct.pack("<4sI4s", b"RIFF", 4 + length_of(kept), b"WEBP")
    yield from kept


def _webp_frame(riff: Source, offset: int, length: int) -> Pieces:
    """A picture of an animation, which holds chunks of its own."""
    pixels: Pieces = []
    for kind, start, count in containers.webp_chunks(riff.part(offset, length), _FRAME_HEADER):
        if kind in _WEBP_PIXELS:
            pixels += _webp_copy(offset + start, count)
    header = struct.pack("<4sI", b"ANMF", _FRAME_HEADER + length_of(pixels))
    return [header, Span(offset, _FRAME_HEADER), *pixels]


def _webp_copy(offset: int, length: int) -> Pieces:
    return [Span(offset - 8, length + 8), bytes(length % 2)]


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)


# GIF

_CONTROL = b"!\xf9\x04"  # a frame's time and transparency
_LOOPS = (b"!\xff\x0bNETSCAPE2.0\x03\x01", b"!\xff\x0bANIMEXTS1.0\x03\x01")
_LOOP_LENGTH, _CONTROL_LENGTH = 19, 8


def _gif(source: Source) -> Iterator[bytes | Span]:
    yield Span(0, containers.gif_start(source))
    for kind, offset, length in containers.gif_blocks(source):
        start = source.at(offset, min(length, 16))
        is_control = start.startswith(_CONTROL) and length == _CONTROL_LENGTH
        is_loop = start.startswith(_LOOPS) and length == _LOOP_LENGTH
        if kind == b"," or is_control or is_loop:
            yield Span(offset, length)
    yield b";"


_COPIED: dict[str, Callable[[Source], Iterator[bytes | Span]]] = {
    ".jpg": _jpeg,
    ".png": _png,
    ".webp": _webp,
    ".gif": _gif,
}
