"""Reads HEIC and AVIF (HEIF, ISO 23008-12): size and turn of the primary image, and that it is whole.

Nothing is decoded. Decoders believe much of what a file says about itself, so what they would decode or copy
for the primary image is counted before.
"""

import re
from io import BytesIO
from typing import NamedTuple

from detections.images.formats import av1
from detections.images.formats.containers import BrokenError, Source
from detections.images.formats.heif_boxes import Fields, Meta, UnsupportedError

SIGNATURE_BYTES = 64
# By the brand of a file; by its compatible brands if the first is of HEIF in general.
IS_AVIF = re.compile(rb".{4}ftyp(avi[fs]|(mif[12]|msf1|miaf).{4}(.{4})*avi[fs])", re.DOTALL)
IS_HEIC = re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif[12]|msf1)", re.DOTALL)
HEVC, AV1 = b"hvc1", b"av01"
MOST_COPIED_BYTES = 1 << 26  # of profiles: pillow-heif copies them for each image of a file
MOST_SMALL_PIXELS = 1 << 22  # for pictures that are smaller than a tile
_IMAGES = frozenset({HEVC, AV1, b"grid", b"iovl", b"iden", b"tmap"})
_DESCRIBES = b"cdsc"  # the reference from metadata to an image
_TRANSFORMATIONS = (b"clap", b"irot", b"imir")  # in the only order that the standard allows
_ORIENTATIONS = {  # EXIF's, by quarter turns to the left and the axis that is mirrored afterwards
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip  # a table to read at a glance


class Primary(NamedTuple):
    """Width and height are in pixels, before the picture is turned by `orientation`, which is EXIF's."""

    width: int
    height: int
    orientation: int


def primary(source: Source) -> Primary | None:
    """The primary image of a HEIC or AVIF; None for another format. Raises BrokenError, UnsupportedError."""
    start = source.at(0, min(SIGNATURE_BYTES, source.length))
    if IS_AVIF.match(start):
        return avif(source)
    return heic(source) if IS_HEIC.match(start) else None


def heic(source: Source) -> Primary:
    """The primary image of a HEIC. Raises BrokenError, UnsupportedError."""
    meta = Meta(source)
    width, height = _checked_size(meta, HEVC)
    if crop := meta.property(meta.primary, b"clap"):
        width, height = _cropped(crop, width), _cropped(crop, height)
    return Primary(width, height, _orientation(meta))


def avif(source: Source) -> Primary:
    """The primary image of an AVIF, which no decoder crops. Raises BrokenError, UnsupportedError."""
    meta = Meta(source)
    return Primary(*_checked_size(meta, AV1), _orientation(meta))


def _cropped(crop: Fields, side: int) -> int:
    """The next side of the crop, rounded as libheif does."""
    numerator, denominator = crop.number(4), crop.number(4)
    cropped = (numerator + denominator // 2) // denominator if denominator else 0
    if not 0 < cropped <= side:
        raise BrokenError("it is cut to more than there is")
    return cropped


def _orientation(meta: Meta) -> int:
    kinds = [box.kind for box in meta.properties.get(meta.primary, ()) if box.kind in _TRANSFORMATIONS]
    if kinds != [kind for kind in _TRANSFORMATIONS if kind in kinds]:
        raise UnsupportedError("it is turned in an unusual order")
    turn, mirror = meta.property(meta.primary, b"irot"), meta.property(meta.primary, b"imir")
    return _ORIENTATIONS[turn.number(1) & 3 if turn else 0, mirror.number(1) & 1 if mirror else None]


def _checked_size(meta: Meta, codec: bytes) -> tuple[int, int]:
    """As it is coded, if it is all there and of this codec."""
    tiles = meta.coded(meta.primary)
    for tile in tiles:
        if not meta.extents.get(tile):
            raise BrokenError("it holds no pixels")
        if meta.kinds.get(tile) != codec:
            raise UnsupportedError("its pixels are coded in a way that is not read here")
    width, height = meta.size(meta.primary)
    most = max(2 * width * height, MOST_SMALL_PIXELS)
    decoded = {meta.primary, *tiles}
    belonging = [each for each in meta.references if each.kind == b"auxl" and decoded & {*each.targets}]
    for parts in (tiles, *(meta.coded(each.origin) for each in belonging)):  # such as alpha
        if sum(_pixels(meta, part) for part in parts) > most:
            raise BrokenError("its parts are larger than the picture")
    _check_copies(meta)
    return width, height


def _pixels(meta: Meta, item: int) -> int:
    """Of the largest picture in an item: AV1's own headers may say more than the boxes."""
    sizes = [meta.size(item)]
    if meta.kinds.get(item) == AV1:
        for offset, length in meta.extents.get(item, ()):
            sizes += av1.frame_sizes(meta.source.part(offset, length))
    return max(width * height for width, height in sizes)


def _check_copies(meta: Meta) -> None:
    images = {item for item, kind in meta.kinds.items() if kind in _IMAGES}
    for box, origin, targets in meta.references:
        parts = {b"dimg": {*targets}, b"auxl": {origin}, b"thmb": {origin}}
        images -= parts.get(box.kind, set())
    if len(images) * (meta.shared.end - meta.shared.start) > MOST_COPIED_BYTES:
        raise BrokenError("it holds too many pictures with too much about each")


def for_decoders(content: bytes) -> bytes:
    """The same file without the metadata of its images, and never a film. Raises BrokenError.

    Decoders unpack and copy metadata, and fail at damaged ones.
    """
    copy = bytearray(content)
    for reference in Meta(Source(BytesIO(content), 0, len(content))).references:
        if reference.kind == _DESCRIBES:
            start = copy.rindex(_DESCRIBES, 0, reference.box.start)
            copy[start : start + len(_DESCRIBES)] = b"skip"
    if IS_AVIF.match(copy):
        copy[8:12] = b"avif"  # with the brand of films, their first frame would be decoded
    return bytes(copy)
