"""What every backend takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DecodeError(Exception):
    """Bytes that no image comes out of."""


class LoadError(Exception):
    """A folder that no detector loads from. Names the folder and the reason."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one prediction may choose. `classes` are ids; None means all of them."""

    confidence: float = 0.25
    iou: float = 0.7
    classes: tuple[int, ...] | None = None
    max_detections: int = 300


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


class LoadedDetector(Protocol):
    classes: dict[int, str]
    image_size: int
    """The longer side of the model's input in pixels."""
    lanes: int
    """How many threads may usefully call `predict` at once."""

    def predict(self, data: bytes, options: Options, *, alone: bool = False) -> Found:
        """Decode and detect; safe to call from several threads.

        `alone` says that no other image waits, so that this one may have all cores. The boxes are the same
        either way, and whatever runs beside it. Raises DecodeError.
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
