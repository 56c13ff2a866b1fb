"""BMPs whose colours lie in bit fields of any width: Pillow knows a few, and OpenCV gets some wrong."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BIT_FIELDS, _WITH_ALPHA = 3, 6  # kinds of compression
_BITS = (16, 32)
_MASKS_AT, _HEADER_WITH_ALPHA = 54, 56  # bytes
_STRIP_PIXELS = 1 << 20


def decode_bit_fields(data: bytes) -> Image.Image | None:
    """None if it is another kind of file. Raises ValueError and struct.error for damaged ones."""
    if not data.startswith(b"BM"):
        return None
    start, length = struct.unpack_from("<II", data, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if bits not in _BITS or compression not in {_BIT_FIELDS, _WITH_ALPHA}:
        return None
    has_alpha = compression == _WITH_ALPHA or length >= _HEADER_WITH_ALPHA
    *colours, alpha = (*struct.unpack_from("<4I" if has_alpha else "<3I", data, _MASKS_AT), 0)[:4]
    masks = [*colours, alpha] if alpha else colours
    image = Image.fromarray(_channels(_values(data, start, bits, (width, height)), masks))
    image.format = "BMP"
    return image


def _values(data: bytes, start: int, bits: int, size: tuple[int, int]) -> NDArray[np.uint32]:
    """A number for each pixel, from the top."""
    import numpy as np

    width, height = size
    kind = np.dtype(f"<u{bits // 8}")
    in_row = (width * bits + 31) // 32 * 32 // bits  # rows are padded to four bytes
    values = np.frombuffer(data, kind, in_row * abs(height), start).reshape(abs(height), in_row)[:, :width]
    return values if height < 0 else values[::-1]


def _channels(values: NDArray[np.uint32], masks: list[int]) -> NDArray[np.uint8]:
    """Eight bits for each mask, in strips, since the numbers between take more memory."""
    import numpy as np

    channels = np.zeros((*values.shape, len(masks)), np.uint8)
    rows = max(1, _STRIP_PIXELS // values.shape[1])
    for channel, mask in enumerate(masks):
        if not mask:
            continue
        lowest = mask & -mask
        scale = 255 / (mask // lowest)
        for top in range(0, len(values), rows):
            field = (values[top : top + rows] & mask) // lowest
            channels[top : top + rows, :, channel] = np.rint(field * scale)
    return channels
