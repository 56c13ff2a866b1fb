"""The fast reader of JPEGs: libjpeg-turbo alone. OpenCV uses it too, but copies all pixels once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_CHANNELS = 3
_COLOURS = {"YCbCr", "Gray", "RGB"}  # from CMYK it would make other colours than OpenCV
# As Pillow reads. A file that lies about its size takes memory for all of it before it is found out.
_MOST_PIXELS = 178_956_970


def read_clean_jpeg(
    data: bytes, memory: Callable[[int], NDArray[np.uint8] | None] = lambda _: None
) -> NDArray[np.uint8] | None:
    """The pixels as they lie in the file, equal to `opencv.read_bgr`'s: BGR, 8 bit, (height, width, 3).

    None for a file with any fault, unusual colours or subsampling, too many pixels: slower decoders judge it.
    `memory` gives so many bytes to put the pixels into; None for new ones.
    """
    found = _read(data, memory)
    return None if found is None else found[0]


def read_half(data: bytes, least_side: int) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """As `read_clean_jpeg` at half the size, and the whole (height, width).

    None also where the longer side would be less than `least_side`.
    """
    return _read(data, lambda _: None, least_side)


def _read(
    data: bytes, memory: Callable[[int], NDArray[np.uint8] | None], least_half: int | None = None
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in _COLOURS or height * width > _MOST_PIXELS:
            return None
        if least_half is None:
            buffer = memory(height * width * _CHANNELS)
            return simplejpeg.decode_jpeg(data, "BGR", buffer=buffer), (height, width)
        half = {"min_height": (height + 1) // 2, "min_width": (width + 1) // 2, "min_factor": 2}
        if max(half["min_height"], half["min_width"]) < least_half:
            return None
        return simplejpeg.decode_jpeg(data, "BGR", **half), (height, width)
    except (ValueError, RuntimeError, KeyError):  # it has no name for 4:4:1
        return None
