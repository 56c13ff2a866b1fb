"""The types that all backends share: options, boxes, errors, and the backend's own interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from detections.images.boxes import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]


class ModelError(ValueError):
    """Why a model cannot be used, as the end of a sentence for the operator."""


class UnsafeWeightsError(ModelError):
    """Why weights must not even be loaded."""


class DecodeError(Exception):
    """Why bytes cannot be decoded, as a sentence for the owner."""


class PredictionInterruptedError(Exception):
    """The worker stops, and the prediction was given up between two views."""


class LoadError(Exception):
    """No detector can be loaded from a folder. The text names the folder and the reason."""


@dataclass(frozen=True, slots=True)
class Options:
    """The parameters of one prediction.

    `classes` are ids; None means all. `image_size` is the longer side in pixels that the image is scaled to,
    if the weights leave a choice; None means the weights' own. `tile` is the side in pixels of square tiles
    that are predicted besides the whole image, 0 for none; `overlap` is the share of a tile, 0..1, that its
    neighbour shows again. `augment` adds the mirror image of every view.
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
class Found:
    """Size of the upright image in pixels; boxes, highest confidence first; time from bytes to boxes.

    `decode_milliseconds` of these went into decoding.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    milliseconds: float
    decode_milliseconds: float = 0.0


class Backend(Protocol):
    """Weights that are loaded in a runtime."""

    classes: dict[int, str]
    image_size: int
    """The longer side of the model's input in pixels."""
    lanes: int
    """How many threads may usefully call `find` at once."""

    def find(self, image: NDArray[np.uint8], options: Options, *, alone: bool) -> Rows:
        """Rows (n, 6), best first: corners x1 y1 x2 y2 in pixels of the image, confidence, class id.

        The image is BGR, (height, width, 3). Safe to call from several threads. `alone` says that no other
        image waits, so that this one may use all cores; the rows are the same either way. Ignores `tile` and
        `augment`.
        """

    def is_sound_on(self, image: NDArray[np.uint8]) -> bool:
        """Whether all that the model says of the image is finite numbers."""


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
