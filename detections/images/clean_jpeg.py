"""The fast reader of JPEGs: libjpeg-turbo alone. OpenCV uses it too, but copies all pixels once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLOURS = {"YCbCr", "Gray", "RGB"}  # from CMYK it would make other colours than OpenCV
# As Pillow reads. A file that lies about its size takes memory for all of it before it is found out.
_MOST_PIXELS = 178_956_970


def read_clean_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels as they lie in the file, equal to `opencv.read_bgr`'s: BGR, 8 bit, (height, width, 3).

    None for a file with any fault, of unusual colours or too many pixels: slower decoders judge it.
    """
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in _COLOURS or height * width > _MOST_PIXELS:
            return None
        return cast("NDArray[np.uint8]", simplejpeg.decode_jpeg(data, "BGR"))
    except (ValueError, RuntimeError):
        return None
