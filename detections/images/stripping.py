"""Strips an upload of its metadata: place, time, camera, thumbnail and text.

JPEG, PNG, WebP and GIF keep their compressed pixels byte for byte: only the pieces that decoding needs are
copied, with the colour profile and the orientation. BMP and TIFF mix pixels and metadata; Pillow writes them
anew, TIFF as its first page, upright, with at most 8 bits a colour channel. HEIC and AVIF become
upright JPEGs.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import SEEK_END
from typing import IO, NamedTuple

from detections.images import pixels
from detections.images.extensions import GIVEN_AS_JPEG, IN_DATA_SETS, JPEG, PNG, data_set_extension
from detections.images.formats import containers, tiff
from detections.images.formats.containers import BrokenError, Source
from detections.images.orientation import UPRIGHT, orientation_of, read_orientation


class Span(NamedTuple):
    """Bytes of the file."""

    offset: int
    length: int


Pieces = list[bytes | Span]
DATA_SET_QUALITY = 95
DAMAGED = "The picture's file cannot be read: it is damaged."
MOST_PIECES = 1000  # each streamed piece costs a switch of threads; a file of more is read at once


class UnreadableOriginalError(ValueError):
    """Why a file cannot be sent, as a sentence for its owner."""


def is_written_anew(file: IO[bytes], extension: str, *, upright: bool = False) -> bool:
    """Whether `without_metadata` decodes this file, and so needs memory for its pixels.

    Raises UnreadableOriginalError.
    """
    try:
        turned = upright and read_orientation(file) != UPRIGHT
    except BrokenError as error:
        raise UnreadableOriginalError(DAMAGED) from error
    return turned or extension not in (IN_DATA_SETS if upright else _COPIED)


def without_metadata(file: IO[bytes], extension: str, *, upright: bool = False) -> Pieces:
    """The pieces of the stripped file, in order. Raises UnreadableOriginalError.

    `upright` is for data sets, most of whose readers do not look for an orientation: the pixels themselves
    are upright. Such a file is a JPEG, PNG or WebP; what has to be drawn anew keeps its 8-bit pixels, but
    JPEG, HEIC and AVIF become JPEGs of quality 95.
    """
    is_new = is_written_anew(file, extension, upright=upright)
    try:
        if is_new and upright:
            return [_drawn_anew(file, data_set_extension(extension))]
        if extension in GIVEN_AS_JPEG:
            return [pixels.as_jpeg(file)]
        if is_new:
            return [pixels.rewritten(file)]
        source = Source(file, 0, file.seek(0, SEEK_END))
        pieces = join_neighbours(list(_COPIED[extension](source)))
        return pieces if len(pieces) <= MOST_PIECES else [content_of(file, pieces)]
    except (BrokenError, pixels.UnreadableImageError) as error:
        raise UnreadableOriginalError(DAMAGED) from error


def _drawn_anew(file: IO[bytes], extension: str) -> bytes:
    if extension == JPEG:
        return pixels.as_jpeg(file, DATA_SET_QUALITY)
    return pixels.lossless(file, "PNG" if extension == PNG else "WEBP")


def join_neighbours(pieces: Pieces) -> Pieces:
    """The same pieces, with adjacent spans joined: fewer reads."""
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
    """The bytes of all pieces of this file."""
    return b"".join(piece if isinstance(piece, bytes) else read_span(file, piece) for piece in pieces)


def read_span(file: IO[bytes], span: Span) -> bytes:
    file.seek(span.offset)
    return file.read(span.length)


def exif_of(orientation: int) -> bytes:
    """An EXIF structure with the orientation and nothing else."""
    entry = struct.pack("<HHIHH", tiff.ORIENTATION, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


# JPEG

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
# Frames, tables and scans: all that decoding needs.
_JPEG_PIXELS = frozenset(range(0xC0, 0xE0)) - frozenset(range(0xD0, 0xDA))
_JFIF, _ICC, _ADOBE = b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"


def _jpeg(source: Source) -> Iterator[bytes | Span]:
    kept: Pieces = []
    for segment in containers.jpeg_segments(source):
        start = source.at(segment.offset, min(segment.length, 12))
        if segment.marker in _JPEG_PIXELS or (segment.marker == _APP2 and start == _ICC):
            kept.append(Span(segment.offset - 4, segment.end - segment.offset + 4))
        elif segment.marker == _APP14 and start.startswith(_ADOBE):
            kept.append(_jpeg_segment(_APP14, start))  # how colours are coded, without trailing bytes
        elif segment.marker == _APP0 and start.startswith(_JFIF):
            kept.append(_jpeg_segment(_APP0, start.ljust(12, b"\0") + bytes(2)))  # without its thumbnail
    yield _JPEG_START
    if (orientation := orientation_of(source)) > UPRIGHT:
        yield _jpeg_segment(containers.APP1, containers.EXIF + exif_of(orientation))
    yield from kept
    yield _JPEG_END


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


# PNG

_PNG_FRAMES = frozenset(b"acTL fcTL fdAT".split())
_PNG_KEPT = frozenset(b"IHDR PLTE IDAT".split()) | _PNG_FRAMES
_PNG_COLOURS = frozenset(b"tRNS iCCP".split())
# Harmless chunks and their lengths: a longer one could hide data.
_PNG_EXTRAS = {
    b"gAMA": {4}, b"cHRM": {32}, b"sRGB": {1}, b"cICP": {4}, b"sBIT": {1, 2, 3, 4}, b"bKGD": {1, 2, 6},
    b"pHYs": {9},
}  # fmt: skip  # a list to read at a glance
_PNG_LONGEST_PROFILE = 1 << 20  # bytes that readers take


def _png(source: Source) -> Iterator[bytes | Span]:
    checked = source.part(0, source.length)  # has reads of its own
    chunks = [chunk for chunk in containers.png_chunks(source) if _is_png_kept(checked, chunk)]
    if not _is_animation(checked, chunks):
        chunks = [chunk for chunk in chunks if chunk.kind not in _PNG_FRAMES]
    kept = [_png_copy(source, chunk) for chunk in chunks]
    yield Span(0, 8)
    yield kept[0]  # the header
    if (orientation := orientation_of(source)) > UPRIGHT:
        yield containers.packed_png_chunk(b"eXIf", exif_of(orientation))
    yield from kept[1:]
    yield containers.packed_png_chunk(b"IEND", b"")


def _png_copy(source: Source, chunk: containers.Chunk) -> bytes | Span:
    is_whole = chunk.offset + chunk.length + 4 <= source.length
    return (
        Span(chunk.offset - 8, chunk.length + 12) if is_whole else containers.copied_png_chunk(source, chunk)
    )


def _is_png_kept(source: Source, chunk: containers.Chunk) -> bool:
    """Damaged extras are left out, because of which some readers refuse the picture."""
    kind, _, length = chunk
    if kind in _PNG_KEPT:
        return True
    is_extra = kind in _PNG_COLOURS or length in _PNG_EXTRAS.get(kind, ())
    is_sound = kind != b"iCCP" or _is_profile(source, chunk)
    return is_extra and is_sound and containers.has_right_checksum(source, chunk)


def _is_profile(source: Source, chunk: containers.Chunk) -> bool:
    _, _, packed = source.at(chunk.offset, chunk.length).partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(packed[1:], _PNG_LONGEST_PROFILE)
    except zlib.error:
        return False
    return packed[:1] == b"\0" and inflater.eof


def _is_animation(source: Source, chunks: list[containers.Chunk]) -> bool:
    """Whether frames are numbered and lie inside of the picture: else some readers refuse it."""
    lengths = {b"acTL": range(8, 9), b"fcTL": range(26, 27), b"fdAT": range(4, source.length)}
    frames = [chunk for chunk in chunks if chunk.kind in _PNG_FRAMES]
    if not all(length in lengths[kind] for kind, _, length in frames):
        return False
    numbered = [chunk for chunk in frames if chunk.kind != b"acTL"]
    in_order = all(source.unpack(">I", chunk.offset) == (at,) for at, chunk in enumerate(numbered))
    in_order = in_order and [chunk.kind for chunk in numbered[:1]] == [b"fcTL"]
    width, height = source.unpack(">II", 16)
    places = [source.unpack(">4I", chunk.offset + 4) for chunk in frames if chunk.kind == b"fcTL"]
    return in_order and all(w + left <= width and h + top <= height for w, h, left, top in places)


# WebP

_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_WEBP_KEPT = _WEBP_PIXELS | {b"ICCP"}
_ANIM_LENGTH = 6  # background and number of loops
_WEBP_METADATA, _WEBP_EXIF = 0x0C, 0x08  # flags of the extended form
_FRAME_HEADER = 16


def _webp(source: Source) -> Iterator[bytes | Span]:
    riff = containers.webp(source)
    kept: Pieces = []
    for kind, offset, length in containers.webp_chunks(riff):
        if kind in _WEBP_KEPT or (kind == b"ANIM" and length == _ANIM_LENGTH):
            kept += _webp_copy(offset, length)
        elif kind == b"ANMF":
            kept += _webp_frame(riff, offset, length)
    orientation = orientation_of(source)
    if riff.at(12, 4) == b"VP8X":
        flags, rest = riff.at(20, 1)[0] & ~_WEBP_METADATA, riff.at(21, 9)
        if orientation > UPRIGHT:
            flags |= _WEBP_EXIF
            kept.append(_webp_chunk(b"EXIF", exif_of(orientation)))
        kept.insert(0, _webp_chunk(b"VP8X", bytes([flags]) + rest))
    yield struct.pack("<4sI4s", b"RIFF", 4 + length_of(kept), b"WEBP")
    yield from kept


def _webp_frame(riff: Source, offset: int, length: int) -> Pieces:
    """A frame of an animation, which holds chunks."""
    frames: Pieces = []
    for kind, start, count in containers.webp_chunks(riff.part(offset, length), _FRAME_HEADER):
        if kind in _WEBP_PIXELS:
            frames += _webp_copy(offset + start, count)
    header = struct.pack("<4sI", b"ANMF", _FRAME_HEADER + length_of(frames))
    return [header, Span(offset, _FRAME_HEADER), *frames]


def _webp_copy(offset: int, length: int) -> Pieces:
    return [Span(offset - 8, length + 8), bytes(length % 2)]


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)


# GIF

_CONTROL = b"!\xf9\x04"  # a frame's duration and transparency
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
