"""What every backend takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]


class UnsafeWeightsError(ValueError):
    """Why weights are not to be loaded, as the end of a sentence for the operator."""


class DecodeError(Exception):
    """Bytes that no image comes out of."""


class InterruptedPrediction(Exception):  # noqa: N818  # no error
    """Whoever asked for it does not want it any longer."""


class LoadError(Exception):
    """A folder that no detector loads from. Names the folder and the reason."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one prediction may choose.

    `classes` are ids; None means all of them. `image_size` is the longer side in pixels that a picture is
    scaled to, where the weights leave a choice; None: their own. `tile` is the side in pixels of square tiles
    that are looked at besides the whole picture, 0 for none, and `overlap` the share of a tile, 0..1, that
    its neighbour shows again. `augment` looks at everything mirrored, too.
    """

    confidence: float = 0.25
    iou: float = 0.7
    classes: tuple[int, ...] | None = None
    max_detections: int = 300
    image_size: int | None = None
    augment: bool = False
    tile: int = 0
    overlap: float = 0.2


@dataclass(frozen=True, slots=True)
class Box:
    """One object: top-left corner and size, normalised to 0..1 of the upright image."""

    class_id: int
    object_class: str
    confidence: float
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Found:
    """Size of the upright image in pixels; boxes, highest confidence first; the time from bytes to boxes."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    milliseconds: float


class Backend(Protocol):
    """Weights on a runtime."""

    classes: dict[int, str]
    image_size: int
    """The longer side of the model's input in pixels."""
    lanes: int
    """How many threads may usefully call `find` at once."""

    def find(self, image: NDArray[np.uint8], options: Options, *, alone: bool) -> Rows:
        """Rows (n, 6), best first: corners x1 y1 x2 y2 in pixels of the image, confidence, class id.

        The image is BGR, (height, width, 3). Safe to call from several threads. `alone` says that no other
        image waits, so that this one may have all cores. The rows are the same either way, and whatever runs
        beside it. Knows nothing of `tile` and `augment`.
        """


def boxes_from(rows: NDArray[np.float32], size: tuple[int, int], names: dict[int, str]) -> tuple[Box, ...]:
    """From rows of corners x1 y1 x2 y2 in pixels, confidence, class id; `size` is (width, height)."""
    width, height = size
    boxes = [
        Box(
            class_id=int(class_id),
            object_class=names.get(int(class_id), f"class{int(class_id)}"),
            confidence=min(max(confidence, 0.0), 1.0),
            x=x1 / width,
            y=y1 / height,
            width=(x2 - x1) / width,
            height=(y2 - y1) / height,
        )
        for x1, y1, x2, y2, confidence, class_id in rows.tolist()
    ]
    return tuple(sorted(boxes, key=lambda box: -box.confidence))
