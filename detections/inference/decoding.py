from __future__ import annotations

from typing import TYPE_CHECKING

from detections import pictures

from .contract import DecodeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JPEG = b"\xff\xd8\xff"


def decode(data: bytes) -> NDArray[np.uint8]:
    """BGR, 8 bit, (height, width, 3), contiguous, upright. Raises DecodeError."""
    image = _decode_jpeg(data) if data.startswith(JPEG) else None
    return _decode_any(data) if image is None else image


def _decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Twice as fast as Pillow. Applies EXIF itself; None where it cannot."""
    import cv2
    import numpy as np

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _decode_any(data: bytes) -> NDArray[np.uint8]:
    import numpy as np

    try:
        image = pictures.upright(data)
    except pictures.UnreadableImage as error:
        raise DecodeError(str(error)) from error
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
