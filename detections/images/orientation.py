"""The only reader of how a picture is turned: sizes, pixels and stripped originals go by it."""

from collections.abc import Callable
from io import SEEK_END
from typing import IO

from detections.images import heif
from detections.images.formats import containers, tiff
from detections.images.formats.containers import BrokenError, SlowError, Source

UPRIGHT = 1
_RANGE = range(1, 9)
SIDEWAYS = frozenset({5, 6, 7, 8})  # width and height change places


def read_orientation(file: IO[bytes]) -> int:
    """As `orientation_of`, for a file that has been checked."""
    return orientation_of(Source(file, 0, file.seek(0, SEEK_END)))


def orientation_of(source: Source) -> int:
    """As EXIF has it, 1 to 8.

    The first EXIF and its first entry count, of any type of integers. Damaged EXIF is no reason to refuse a
    picture: it is upright then, as without EXIF. HEIC and AVIF have properties instead; their EXIF does not
    count. Raises SlowError.
    """
    whole = source.part(0, source.length)  # has reads of its own: all callers get the same answer
    try:
        primary = heif.primary(whole)
        found = primary.orientation if primary else _found(whole)
    except SlowError:
        raise
    except BrokenError:
        return UPRIGHT
    return found if found is not None and found in _RANGE else UPRIGHT


def _found(source: Source) -> int | None:
    start = source.at(0, min(4, source.length))
    if start in tiff.SIGNATURES:
        return tiff.read_tiff(source).orientation
    find = next((find for signature, find in _FINDERS.items() if start.startswith(signature)), None)
    exif = find(source) if find else None
    return _of_exif(exif) if exif else None


def _of_exif(exif: Source) -> int | None:
    if exif.at(0, len(containers.EXIF)) == containers.EXIF:
        exif = exif.part(len(containers.EXIF), exif.length - len(containers.EXIF))
    return next(iter(tiff.first_directory(exif).first(tiff.ORIENTATION)), None)


def _exif_of_jpeg(source: Source) -> Source | None:
    for marker, offset, length, _ in containers.jpeg_segments(source, scans=False):
        start = source.at(offset, min(length, len(containers.EXIF)))
        if (marker, start) == (containers.APP1, containers.EXIF):
            return source.part(offset, length)
    return None


def _exif_of_png(source: Source) -> Source | None:
    chunks = containers.png_chunks(source)
    return next((source.part(offset, length) for kind, offset, length in chunks if kind == b"eXIf"), None)


def _exif_of_webp(source: Source) -> Source | None:
    riff = containers.webp(source)
    if not containers.webp_shows_exif(riff):
        return None
    chunks = containers.webp_chunks(riff)
    return next((riff.part(offset, length) for kind, offset, length in chunks if kind == b"EXIF"), None)


_FINDERS: dict[bytes, Callable[[Source], Source | None]] = {
    b"\xff\xd8": _exif_of_jpeg,
    b"\x89PNG": _exif_of_png,
    b"RIFF": _exif_of_webp,
}
