"""Checks uploaded pictures in the web process: format, size, completeness.

It reads only headers and the lengths in them. No codec and no Pillow run here, and the size that a picture
claims costs no memory: that is what hostile files would exploit. Workers decode.
"""

import math
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import SEEK_END
from typing import IO, NamedTuple, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError

from detections.images import heif
from detections.images.formats import containers, tiff, unsupported
from detections.images.formats.containers import BrokenError, SlowError, Source
from detections.images.formats.heif_boxes import UnsupportedError
from detections.images.orientation import SIDEWAYS, orientation_of

T = TypeVar("T")

MEGABYTE = 1 << 20
LONGEST_SIDE = 65_500  # libjpeg's own limit; decoders keep a pointer and more for every row
MOST_SCANS = 100  # encoders write about ten; every scan costs the decoder a pass over the whole picture
MOST_VALUES = 1 << 18  # strips or tiles: 65,500 rows in four planes, or 50 megapixels in tiles of 16 x 16
MOST_TILE_PIXELS = 1 << 22  # for pictures that are smaller than one tile
MOST_SECONDS = 3  # of processor time for all files of a request; a photo takes a few milliseconds
SLOW = f"Looking through what was sent takes more than {MOST_SECONDS} seconds of a processor's time."
MOST_UNPACKING_SECONDS = 10  # of processor time for an archive; 500 MB of BMP take 2.5
SLOW_TO_UNPACK = (
    f"Unpacking the archive takes more than {MOST_UNPACKING_SECONDS} seconds of a processor's time."
)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """`format` is jpeg, png, webp, bmp, tiff, gif, heic or avif; `extension` has its dot. Width and height
    are pixels of the upright picture."""

    format: str
    extension: str
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


class SlowFileError(ValidationError):
    """The files of this request have used up their processor time."""


class Inspection:
    """The processor time of one request: MOST_SECONDS for reading, MOST_UNPACKING_SECONDS for unpacking."""

    def __init__(self) -> None:
        self.seconds_left = float(MOST_SECONDS)
        self.unpacking_seconds_left = float(MOST_UNPACKING_SECONDS)
        self.unpacking_until = math.inf  # by `time.thread_time`

    def next_file(self, files: Iterator[T]) -> T | None:
        """The next file, unpacked; None after the last. Raises SlowFileError.

        Unpacking has to call `check_unpacking` again and again.
        """
        begun = time.thread_time()
        self.unpacking_until = begun + self.unpacking_seconds_left
        self.check_unpacking()
        try:
            return next(files, None)
        finally:
            self.unpacking_seconds_left -= time.thread_time() - begun

    def check_unpacking(self) -> None:
        """Raises SlowFileError."""
        if time.thread_time() > self.unpacking_until:
            raise SlowFileError(SLOW_TO_UNPACK, code="corrupt_image")

    def read_image(self, file: IO[bytes]) -> ImageFacts:
        """As the function `read_image`, within the time that is left."""
        begun = time.thread_time()
        try:
            return read_image(file, self.seconds_left)
        finally:
            self.seconds_left -= time.thread_time() - begun


def read_image(file: IO[bytes], seconds: float = MOST_SECONDS) -> ImageFacts:
    """Facts of a complete, acceptable picture. The file is rewound in any case.

    Raises ValidationError with the code `empty`, `too_large`, `unsupported_format`, `too_many_pixels` or
    `corrupt_image`, the latter two for the first fault in the file; SlowFileError with the code
    `corrupt_image` if it takes more than so many seconds of processor time.
    """
    try:
        return _facts(Source(file, 0, _checked_length(file), time.thread_time() + seconds))
    except SlowError as error:
        raise SlowFileError(SLOW, code="corrupt_image") from error
    finally:
        file.seek(0)


def _checked_length(file: IO[bytes]) -> int:
    file.seek(0, SEEK_END)
    length = file.tell()
    if length == 0:
        raise ValidationError("The file is empty.", code="empty")
    if length > settings.MAX_UPLOAD_MB * MEGABYTE:
        megabytes = math.ceil(length * 10 / MEGABYTE) / 10  # up: else "20.0 MB; at most 20 MB"
        raise ValidationError(
            f"The file is {megabytes} MB; at most {settings.MAX_UPLOAD_MB} MB are allowed.", code="too_large"
        )
    return length


def _facts(source: Source) -> ImageFacts:
    start = source.at(0, min(heif.SIGNATURE_BYTES, source.length))
    known = next((known for known in _FORMATS if known.signature.match(start)), None)
    if known is None:
        raise _unsupported(unsupported.name_of(source))
    try:
        width, height = known.read(source)
        sideways = orientation_of(source) in SIDEWAYS
    except SlowError:
        raise
    except UnsupportedError as error:
        reason = f"The {known.name} file cannot be read: {error}."
        raise ValidationError(reason, code="unsupported_format") from error
    except BrokenError as error:
        raise ValidationError(f"The {known.name} file is damaged: {error}.", code="corrupt_image") from error
    if sideways:
        width, height = height, width
    return ImageFacts(known.name.lower(), known.extension, width, height)


def _unsupported(name: str) -> ValidationError:
    told = f"The file is of an unsupported kind, {name}" if name else "This is no picture that can be read"
    send = "send JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF"
    return ValidationError(f"{told}: {send}.", code="unsupported_format")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BrokenError("it has no width or no height")
    if max(width, height) > LONGEST_SIDE:
        raise ValidationError(
            f"The picture has {width} x {height} pixels; no side may have more than {LONGEST_SIDE:,}.",
            code="too_many_pixels",
        )
    if width * height > settings.MAX_IMAGE_PIXELS:
        raise ValidationError(
            f"The picture has {width} x {height} pixels, {width * height:,} together; "
            f"at most {settings.MAX_IMAGE_PIXELS:,} are allowed.",
            code="too_many_pixels",
        )


class _Header(NamedTuple):
    width: int
    height: int


# JPEG

_FRAME_LENGTH = 6  # precision, height, width, components
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(source: Source) -> _Header:
    header: _Header | None = None
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
    if header is None or scans == 0:
        raise BrokenError("it holds no picture")
    return header


# PNG


def _png(source: Source) -> _Header:
    header = _png_header(source)
    has_pixels = False
    for kind, _, _ in containers.png_chunks(source):
        has_pixels = has_pixels or kind == b"IDAT"
    if not has_pixels:
        raise BrokenError("it holds no picture")
    return header


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
    has_pixels = False
    for kind, _, _ in containers.webp_chunks(riff):
        has_pixels = has_pixels or kind in _WEBP_PICTURES
    if not has_pixels:
        raise BrokenError("it holds no picture")
    return header


def _webp_header(riff: Source) -> _Header:
    """The size, which the three kinds of first chunk encode differently."""
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

_BMP_OS2_HEADER = 12  # bytes of the oldest header
_BMP_PLAIN = frozenset({0, 3, 6})  # uncompressed, without and with masks
_BMP_RUNS = frozenset({1, 2})
_BMP_ONE_RUN = 2  # bytes


def _bmp(source: Source) -> _Header:
    pixels, header_length = source.unpack("<II", 10)
    if header_length == _BMP_OS2_HEADER:
        width, height, _, bits = source.unpack("<HHHH", 18)
        compression, length = 0, 0
    else:
        width, height, _, bits, compression, length = source.unpack("<iiHHII", 18)
    height = abs(height)  # negative if the rows run from the top
    _check_size(width, height)
    if compression in _BMP_PLAIN:
        length = (width * bits + 31) // 32 * 4 * height
    elif compression in _BMP_RUNS:  # decoders read up to the last pixel, whatever length is said
        length = _BMP_ONE_RUN
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
            # Pillow enlarges the screen for a first frame that is larger
            left, top, frame_width, frame_height = source.unpack("<HHHH", offset + 1)
            header = _Header(max(width, left + frame_width), max(height, top + frame_height))
            _check_size(header.width, header.height)
    if header is None:
        raise BrokenError("it holds no picture")
    return header


# HEIC and AVIF


def _heic(source: Source) -> _Header:
    return _heif_header(heif.heic(source))


def _avif(source: Source) -> _Header:
    return _heif_header(heif.avif(source))


def _heif_header(primary: heif.Primary) -> _Header:
    _check_size(primary.width, primary.height)
    return _Header(primary.width, primary.height)


# TIFF


def _tiff(source: Source) -> _Header:
    pages = tiff.read_tiff(source)
    if pages.raw_maker is not None:
        raise _unsupported(f"camera raw ({pages.raw_maker})" if pages.raw_maker else "camera raw")
    main = pages.main
    width, height = main.number(tiff.WIDTH), main.number(tiff.HEIGHT)
    _check_size(width, height)
    if main.compression not in tiff.COMPRESSIONS:
        raise UnsupportedError(f"its compression ({main.compression_name}) is not read")
    if main.is_tiled:
        _check_tile(main.number(tiff.TILE_WIDTH), main.number(tiff.TILE_HEIGHT), width * height)
    _check_pieces(main)
    return _Header(width, height)


def _check_tile(width: int, height: int, pixels: int) -> None:
    """Decoders allocate whole tiles, however small the picture is."""
    _check_size(width, height)
    if width * height > max(2 * pixels, MOST_TILE_PIXELS):
        raise ValidationError(
            f"The picture's tiles have {width} x {height} pixels, which is more than the picture needs.",
            code="too_many_pixels",
        )


def _check_pieces(directory: tiff.Directory) -> None:
    """Their lengths need not be said. Those of uncompressed pixels may be said to be longer than they are."""
    tag_of_offsets, _ = directory.tags_of_pieces
    offsets = directory.only(tag_of_offsets)
    if offsets is None or not 0 < offsets.values <= MOST_VALUES:
        raise BrokenError("it does not say where its pixels are")
    if offsets.values < directory.least_pieces:
        raise BrokenError("it has fewer strips or tiles than its size needs")
    lengths = directory.lengths_of_pieces(offsets.values)
    for offset, length in zip(directory.values(tag_of_offsets), lengths, strict=False):
        directory.source.check_inside(offset, length)


class _Format(NamedTuple):
    name: str
    extension: str
    signature: re.Pattern[bytes]
    read: Callable[[Source], _Header]


_FORMATS = (
    _Format("JPEG", ".jpg", re.compile(rb"\xff\xd8\xff"), _jpeg),  # and MPO, which only appends pictures
    _Format("PNG", ".png", re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    _Format("WebP", ".webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    # Many texts begin with "BM", so the length of the second header is checked, too
    _Format("BMP", ".bmp", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), _bmp),
    _Format("TIFF", ".tiff", re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    _Format("GIF", ".gif", re.compile(rb"GIF8[79]a"), _gif),
    _Format("AVIF", ".avif", heif.IS_AVIF, _avif),
    _Format("HEIC", ".heic", heif.IS_HEIC, _heic),
)
CODES = ["empty", "too_large", "unsupported_format", "too_many_pixels", "corrupt_image"]
EXTENSIONS = tuple(known.extension for known in _FORMATS)
