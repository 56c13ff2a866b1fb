"""Reads pictures by Pillow, else by OpenCV: as one upright RGB image or in strips. Writes bare JPEGs.

A picture takes four bytes a pixel, and up to `MOST_BYTES_A_PIXEL` while it is read: 16 for a WebP, 12 for a
progressive JPEG in CMYK, 8 for most, and 21 for a HEIC of 10 bits with alpha. Callers bound how many are read
at once. Validation has checked the size before; Pillow's own limit of 179 megapixels stays in force.
"""

import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import SEEK_END, BytesIO
from typing import IO, Any, cast

from PIL import AvifImagePlugin, ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from detections.images import bit_fields, heif, opencv
from detections.images.allocation import return_large_blocks
from detections.images.formats import containers, tiff
from detections.images.formats.containers import BrokenError, Source
from detections.images.orientation import UPRIGHT, read_orientation

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # its JPEG reader opens MPO, too
JPEG_LONGEST_SIDE = 65_500  # libjpeg's own limit
MOST_BYTES_A_PIXEL = 16
MOST_BYTES_A_PIXEL_OF_HEIC = 24
_PROFILE_COLOURS = slice(16, 20)  # the bytes of a colour profile that name what it is for
QUALITY = 90  # of JPEGs
_LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}}
STRIP_PIXELS = 1 << 20
_MOST_SIGNED = (1 << 31) - 1
_MULTIPLIED = _UNSIGNED = (1,)  # as TIFFs say what their alpha and their numbers are
WHITE = (255, 255, 255)

# Pillow's parsers index, divide, assert and inflate unchecked: hostile files raise any of these.
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
TOO_LARGE = (Image.DecompressionBombError, MemoryError)  # for a second decoder, too

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

Conversion = Callable[[Image.Image], Image.Image]


class UnreadableImageError(ValueError):
    """Why a picture cannot be decoded, as a sentence for its owner."""


def most_bytes(data: bytes) -> int:
    """The most memory that reading takes, by the header. Raises UnreadableImageError."""
    with _reading(), _opened(BytesIO(data)) as image:
        of_one = MOST_BYTES_A_PIXEL_OF_HEIC if image.format == "HEIF" else MOST_BYTES_A_PIXEL
        return of_one * image.width * image.height


def upright(data: bytes | IO[bytes]) -> Image.Image:
    """The first frame as 8-bit RGB, turned upright by its EXIF, on white where it is transparent.

    Colours count where the whole picture is transparent. The result has no metadata. Reads a file from its
    beginning. Raises UnreadableImageError.
    """
    with _reading():
        return _rgb(_upright(data))


def upright_strips(data: bytes | IO[bytes]) -> tuple[tuple[int, int], Iterator[tuple[int, Image.Image]]]:
    """The size of the upright picture, and its strips from the top with the row at which each begins.

    Strips take less memory: the whole picture never exists as RGB. The iterator raises it, too.
    """
    with _reading():
        image = _upright(data)
        to_rgb = _to_rgb(image)
    return image.size, _converted(image, to_rgb)


def _converted(image: Image.Image, convert: Conversion) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        with _reading():
            strip = convert(image.crop((0, top, image.width, min(top + rows, image.height))))
        yield top, strip


def _upright(data: bytes | IO[bytes]) -> Image.Image:
    """The upright picture in the file's own mode."""
    file = BytesIO(data) if isinstance(data, bytes) else data
    return _turned(_loaded(file), file)


def rewritten(file: IO[bytes]) -> bytes:
    """A BMP or TIFF written anew: the first page's upright pixels and colour profile, nothing else.

    Raises UnreadableImageError.
    """
    with _reading():
        opened = _loaded(file)
        options = {}
        if opened.format == "TIFF":
            options = {"compression": "tiff_adobe_deflate", "icc_profile": opened.info.get("icc_profile")}
        image = _turned(opened, file).copy()  # a plain image: an opened one would pass on its tags
        image.info = {}
        out = BytesIO()
        image.save(out, opened.format, **options)
        return out.getvalue()


def thumbnail(file: IO[bytes], side: int) -> bytes:
    """The upright picture as a WebP without metadata, with at most so many pixels a side.

    Raises UnreadableImageError.
    """
    with _reading():
        image = _rgb(_turned(_reduced_jpeg(file, side) or _loaded(file), file))
        image.thumbnail((side, side))
        out = BytesIO()
        image.save(out, "WEBP")
        return out.getvalue()


def _reduced_jpeg(file: IO[bytes], side: int) -> Image.Image | None:
    """A JPEG in a part of its size, twice the side at least: a twentieth of the work. None if it is no JPEG.

    None also for a JPEG with a fault.
    """
    try:
        image = _opened(file)
        if image.draft(None, (2 * side, 2 * side)) is None:
            return None
        image.load()
    except PILLOW_FAILURES:  # `_loaded` repairs it, or says why it cannot be read
        return None
    return image


def as_jpeg(file: IO[bytes], quality: int = QUALITY) -> bytes:
    """The upright picture with its colour profile, and nothing else. Raises UnreadableImageError."""
    with _reading():
        image, profile = _upright_rgb(file)
        return jpeg(image, profile, quality)


def lossless(file: IO[bytes], form: str) -> bytes:
    """As `as_jpeg`, as a PNG or WebP with the same 8-bit RGB pixels. Raises UnreadableImageError."""
    with _reading():
        image, profile = _upright_rgb(file)
        out = BytesIO()
        image.save(out, form, icc_profile=profile, **_LOSSLESS[form])
        return out.getvalue()


def _upright_rgb(file: IO[bytes]) -> tuple[Image.Image, bytes | None]:
    """The picture and its colour profile, where that is one of RGB."""
    image = _loaded(file)
    profile = image.info.get("icc_profile", b"")
    fits = profile[_PROFILE_COLOURS] == b"RGB "  # else it is one of grey
    image = _turned(image, file)  # and what it was turned from goes
    return _rgb(image), profile if fits else None


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what Pillow raises into UnreadableImageError."""
    _quieten_pillow()
    return_large_blocks()
    try:
        yield
    except UnreadableImageError:
        raise
    except BrokenError as error:
        raise UnreadableImageError(f"The picture cannot be decoded: {error}.") from error
    except UnidentifiedImageError as error:  # its own text shows an object's address
        raise UnreadableImageError(
            "The picture cannot be decoded: its header is not one of a known picture."
        ) from error
    except PILLOW_FAILURES as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise UnreadableImageError(f"The picture cannot be decoded: {reason}.") from error


def _quieten_pillow() -> None:
    """Ignore Pillow's warnings, such as those about odd EXIF, for the rest of the process.

    catch_warnings() would restore in one thread what another thread still relies on.
    """
    if QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)


def _opened(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    start = file.read(heif.SIGNATURE_BYTES)
    if heif.IS_AVIF.match(start) or heif.IS_HEIC.match(start):
        return _opened_heif(file)
    file = tiff.with_main_first(file)
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def _opened_heif(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    content = heif.for_decoders(file.read())
    if heif.IS_AVIF.match(content):
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # as many pictures are read at once as there are threads
        return Image.open(BytesIO(content), formats=["AVIF"])
    _learn_heic()
    return Image.open(BytesIO(content), formats=["HEIF"])


@cache
def _learn_heic() -> None:
    """Make Pillow open HEIC. Its library is large, and few pictures need it."""
    import pillow_heif

    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def _loaded(file: IO[bytes]) -> Image.Image:
    """The picture as it lies in the file; what Pillow cannot read is tried a second time."""
    try:
        return _load(file)
    except TOO_LARGE:
        raise
    except PILLOW_FAILURES as error:
        image = _loaded_otherwise(file, knows_header=not isinstance(error, UnidentifiedImageError))
        if image is not None:
            return image
        if isinstance(error, UnidentifiedImageError) and (layout := tiff.unread_layout(file)):
            raise UnreadableImageError(f"The picture cannot be decoded: {layout} is not read.") from error
        raise


def _load(file: IO[bytes]) -> Image.Image:
    image = _decoded(file)
    return _with_all_values(image, file) if image.format == "TIFF" else image


def _decoded(file: IO[bytes]) -> Image.Image:
    image = _opened(file)
    if image.format == "TIFF":
        image.getexif()[ExifTags.Base.Orientation] = UPRIGHT  # Pillow would turn it by its own reading
    image.load()
    if image.format in {"HEIF", "AVIF"}:
        _check_size(image, file)
    return image


def _with_all_values(image: Image.Image, file: IO[bytes]) -> Image.Image:
    """A TIFF in a mode that keeps its values: alpha of 0 would take its colours, a sign half of its greys."""
    if image.mode == "La":
        return _with_plain_alpha(image)
    tags = cast(TiffImagePlugin.TiffImageFile, image).tag_v2
    multiplied = image.mode == "RGBA" and tags.get(tiff.EXTRA_SAMPLES, ())[:1] == _MULTIPLIED
    if multiplied and _is_invisible(_as_it_lies(image)):
        return _decoded(tiff.with_plain_alpha(file))
    if image.mode == "I" and tags.get(ExifTags.Base.SampleFormat, _UNSIGNED) == _UNSIGNED:
        return _unsigned(image)
    return image


def _unsigned(image: Image.Image) -> Image.Image:
    """Grey of 32 bits: Pillow's are signed."""
    import numpy as np

    values = np.asarray(_as_it_lies(image)).view(np.uint32)
    if values.max() <= _MOST_SIGNED:
        return image
    unsigned = Image.fromarray(values.astype(np.float32))
    unsigned.format, unsigned.info = image.format, image.info
    return unsigned


def _with_plain_alpha(image: Image.Image) -> Image.Image:
    """Grey that was multiplied by its alpha: Pillow converts and writes only plain alpha."""
    plain = image.convert("LA")
    plain.format = image.format
    return plain


def _loaded_otherwise(file: IO[bytes], *, knows_header: bool) -> Image.Image | None:
    """A repaired PNG or JPEG; a BMP of unusual bit fields; what else OpenCV reads."""
    file = tiff.with_main_first(file)
    file.seek(0)
    data = file.read()
    bare = containers.bare_png(Source(BytesIO(data), 0, len(data)))
    if repaired := bare or containers.with_zero_padding(data):
        return _load(BytesIO(repaired))
    return bit_fields.decode_bit_fields(data) or opencv.decode_by_opencv(
        bytearray(data), knows_header=knows_header
    )


def _check_size(image: Image.Image, file: IO[bytes]) -> None:
    """Raises UnreadableImageError if its decoder has another size than its boxes say."""
    primary = heif.primary(Source(file, 0, file.seek(0, SEEK_END)))
    if primary is None or sorted(image.size) != sorted((primary.width, primary.height)):
        raise UnreadableImageError("The picture cannot be decoded: it contradicts itself about its size.")


def _turned(image: Image.Image, file: IO[bytes]) -> Image.Image:
    """The upright picture. libheif has turned a HEIC already."""
    turn = None if image.format == "HEIF" else TURNS.get(read_orientation(file))
    if turn is not None:
        return image.transpose(turn)
    return _as_it_lies(image)


def _as_it_lies(image: Image.Image) -> Image.Image:
    """The picture in the size of its pixels: a TIFF's may be that of one turned."""
    return image if image.size == image.im.size else image.copy()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        image.info = {}
        return image
    canvas = Image.new("RGB", image.size)
    for top, strip in _converted(image, _to_rgb(image)):
        canvas.paste(strip, (0, top))
    return canvas


def _to_rgb(image: Image.Image) -> Conversion:
    """The function that converts a part of this picture to RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image)
    if image.has_transparency_data and not _is_invisible(image):
        return _on_white
    return lambda part: part.convert("RGB")


def _is_invisible(image: Image.Image) -> bool:
    """Whether no pixel could be seen: then its alpha was never meant, as browsers take it for BMP."""
    return not any(alpha.getextrema()[1] for _, alpha in _converted(image, _alpha))


def _alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(image, mask=image)
    return canvas


def _eight_bit(image: Image.Image) -> Conversion:
    """16-bit pixels keep their scale. Wider ones have none: if they do not fit 0..1, 0..255 or 0..65535,
    they are stretched from the lowest to the highest value."""
    is_short = image.mode.startswith("I;16")
    low, high = (0.0, 65535.0) if is_short else _range(image)
    scale = 255 / (high - low) if high > low else 0.0
    offset = 0.5 - low * scale  # rounds: the conversion cuts off

    def convert(part: Image.Image) -> Image.Image:
        if is_short:
            part = part.convert("I")  # point() needs the machine's byte order
        return part.point(lambda value: value * scale + offset).convert("L").convert("RGB")

    return convert


def _range(image: Image.Image) -> tuple[float, float]:
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]  # one band: two numbers
    if not math.isfinite(low) or not math.isfinite(high):
        raise UnreadableImageError("The picture cannot be decoded: some of its pixels are not numbers.")
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    return next(((0.0, top) for top in usual if low >= 0 and high <= top), (low, high))


def jpeg(image: Image.Image, icc_profile: bytes | None = None, quality: int = QUALITY) -> bytes:
    """A JPEG without metadata; a picture too long for the format is scaled down."""
    if max(image.size) > JPEG_LONGEST_SIDE:
        image = image.copy()
        image.thumbnail((JPEG_LONGEST_SIDE, JPEG_LONGEST_SIDE))
    out = BytesIO()
    # Pillow would copy a comment from where it was opened
    image.save(out, "JPEG", quality=quality, comment=b"", icc_profile=icc_profile)
    return out.getvalue()
