from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from threading import Condition, local
from typing import TYPE_CHECKING

from detections.images import opencv, pixels
from detections.images.clean_jpeg import read_clean_jpeg, read_half
from detections.images.orientation import SIDEWAYS, read_orientation
from detections.inference.types import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

JPEG = b"\xff\xd8\xff"
# How OpenCV flips, by EXIF's orientation, after what lies on its side is transposed: 0 is top and bottom.
FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
# In bytes, for the images of all lanes together: compose.yaml gives a worker 4 GB.
MOST_MEMORY = 2 << 30
# In bytes, for each thread. NumPy's memory for more comes in large pages, which cost little.
MOST_KEPT = 16 << 20


class MemoryBudget:
    """Bytes that threads reserve before they decode."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = Condition()

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Wait until so many bytes are free and hold them; at most the whole budget."""
        count = min(count, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


class KeptMemory:
    """Memory that images are decoded into one after the other.

    New memory costs a fault for each page of 4 KB: a fifth of the time that a photo of 1 megapixel takes.
    """

    def __init__(self) -> None:
        self._kept: NDArray[np.uint8] | None = None

    def take(self, count: int) -> NDArray[np.uint8] | None:
        """So many bytes, unless they are too many to be kept."""
        import numpy as np

        if count > MOST_KEPT:
            return None
        if self._kept is None or self._kept.size < count:
            self._kept = np.empty(count, np.uint8)
        return self._kept[:count]


class KeptMemories(local):
    """One for each thread."""

    def __init__(self) -> None:
        self._idle: list[KeptMemory] = []

    @contextmanager
    def lent(self) -> Iterator[KeptMemory]:
        mine = self._idle.pop() if self._idle else KeptMemory()
        try:
            yield mine
        finally:
            self._idle = [mine]


memory = MemoryBudget(MOST_MEMORY)
kept = KeptMemories()


@contextmanager
def decoded(
    data: bytes, least_side: int | None = None
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """The image as `decode` returns it, and its (width, height), in memory reserved from `memory`.

    With `least_side`, a JPEG is decoded at half its size where its longer side stays as long as that; the
    size is the whole image's anyway. The memory is used again afterwards. Raises DecodeError.
    """
    with memory.reserve(most_bytes(data)), kept.lent() as mine:
        half = None if least_side is None else _decode_half(data, least_side)
        yield half or _with_size(_decode(data, mine))


def _with_size(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    height, width = image.shape[:2]
    return image, (width, height)


def _decode_half(data: bytes, least_side: int) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    half = read_half(data, least_side) if data.startswith(JPEG) else None
    if half is None:
        return None
    image, (height, width) = half
    orientation = read_orientation(BytesIO(data))
    return upright(image, orientation), (height, width) if orientation in SIDEWAYS else (width, height)


def most_bytes(data: bytes) -> int:
    """The most memory that decoding takes; MOST_MEMORY if Pillow cannot read the header."""
    try:
        return pixels.most_bytes(data)
    except pixels.UnreadableImageError:
        return MOST_MEMORY


def decode(data: bytes) -> NDArray[np.uint8]:
    """The upright image: BGR, 8 bit, (height, width, 3), contiguous. Raises DecodeError."""
    return _decode(data, KeptMemory())


def _decode(data: bytes, mine: KeptMemory) -> NDArray[np.uint8]:
    image = _decode_jpeg(data, mine) if data.startswith(JPEG) else None
    return _decode_any(data) if image is None else image


def _decode_jpeg(data: bytes, mine: KeptMemory) -> NDArray[np.uint8] | None:
    """By libjpeg-turbo; by OpenCV, which forgives more, if it finds a fault. None if both fail."""
    image = read_clean_jpeg(data, mine.take)
    if image is None:
        image = opencv.read_bgr(data)
    return None if image is None else upright(image, read_orientation(BytesIO(data)))


def upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels turned by EXIF's orientation, contiguous. The image given may change."""
    import cv2

    if orientation in SIDEWAYS:
        image = cv2.transpose(image)
    flip = FLIPS.get(orientation)
    return image if flip is None else cv2.flip(image, flip, dst=image)


def _decode_any(data: bytes) -> NDArray[np.uint8]:
    import numpy as np

    try:
        (width, height), strips = pixels.upright_strips(data)
        image = np.empty((height, width, 3), np.uint8)
        for top, strip in strips:
            image[top : top + strip.height] = np.asarray(strip)[:, :, ::-1]
    except pixels.UnreadableImageError as error:
        raise DecodeError(str(error)) from error
    return image
