"""The second decoder: OpenCV, for JPEGs and TIFFs that Pillow cannot read.

It is imported once it is needed: web processes that draw only what Pillow reads never load it.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, cast

from PIL import Image

from detections.images.formats import tiff
from detections.images.formats.containers import BrokenError, Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Fax, LZW, JPEG, deflate, packed bits and LogLuv; OpenCV returns black pixels for others
_COMPRESSIONS = frozenset({tiff.UNCOMPRESSED, 2, 3, 4, 5, 7, 8, 32773, 32946, 34676, 34677})
_FORMATS = {b"\xff\xd8": "JPEG", b"II": "TIFF", b"MM": "TIFF"}


def decode_by_opencv(data: bytearray, *, knows_header: bool) -> Image.Image | None:
    """The picture as it lies in the file, with its `format`; None if it cannot be decoded, or only in part.

    `knows_header` says that Pillow failed behind the header. OpenCV leaves damaged strips of a TIFF black, so
    compressed ones are not tried then: they are damaged. The orientation in the data is overwritten.
    """
    form = _FORMATS.get(bytes(data[:2]))
    if form is None or (form == "TIFF" and not _prepare_tiff(data, knows_header=knows_header)):
        return None
    pixels = read_bgr(data)
    return None if pixels is None else _as_image(pixels, form)


def _prepare_tiff(data: bytearray, *, knows_header: bool) -> bool:
    """Whether it may be tried. OpenCV turns every TIFF, but then it finds this one upright."""
    try:
        main = tiff.read_tiff(Source(BytesIO(data), 0, len(data))).main
        if main.compression not in _COMPRESSIONS:
            return False
        if knows_header and main.compression != tiff.UNCOMPRESSED:
            return False
    except BrokenError:
        return False
    main.make_upright(data)
    return True


def read_bgr(data: bytes | bytearray) -> NDArray[np.uint8] | None:
    """The pixels as they lie in the file: BGR, 8 bit, (height, width, 3). None if it fails."""
    import cv2
    import numpy as np

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # it reads EXIF in its own way
    try:
        return cast("NDArray[np.uint8] | None", cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    except cv2.error:
        return None


def _as_image(pixels: NDArray[np.uint8], form: str) -> Image.Image:
    import cv2

    image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    image.format = form
    return image
