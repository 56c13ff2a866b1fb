from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from detections.inference import tiling
from detections.inference.decoding import decoded
from detections.inference.types import Found, boxes_from
from objectvision.lib import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from detections.inference.types import Backend, Options, Rows

INPUTS_LEFT = 2  # an image at half its size is still so many times as long as the model's input


class LoadedDetector:
    """A backend with the steps that all backends share: decoding, tiling, and boxes from rows."""

    def __init__(self, backend: Backend, most_overlap: float) -> None:
        self._backend = backend
        self._most_overlap = most_overlap
        self.classes = backend.classes
        self.image_size = backend.image_size
        self.lanes = backend.lanes
        """How many threads may usefully call `predict` at once."""

    def predict(
        self,
        data: bytes,
        options: Options,
        *,
        alone: bool = False,
        reduced: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Found:
        """Decode one image and detect objects in it. Safe to call from several threads.

        `alone` says that no other image waits, so that this one may use all cores; the boxes are the same
        either way. `reduced`: JPEGs of at least four times the model's input are decoded at half their size,
        which moves boxes a little; never for tiles or another image size. With tiles or mirrored views,
        `stopped` is called before each view. Raises DecodeError, PredictionInterruptedError.
        """
        start = time.perf_counter()
        options = replace(options, iou=min(options.iou, self._most_overlap))
        may_be_half = reduced and not options.tile and options.image_size in {None, self.image_size}
        most = INPUTS_LEFT * self.image_size if may_be_half else None
        with ExitStack() as opened:
            with tracing.span("decode"):
                image, size = opened.enter_context(decoded(data, most))
            decoded_at = time.perf_counter()
            with tracing.span("infer"):
                rows = tiling.find_in_views(self._backend, image, options, alone=alone, stopped=stopped)
            height, width = image.shape[:2]
        boxes = boxes_from(rows, (width, height), self.classes)
        milliseconds = (time.perf_counter() - start) * 1000
        return Found(*size, boxes, milliseconds, (decoded_at - start) * 1000)

    def find(self, image: NDArray[np.uint8], options: Options, *, alone: bool) -> Rows:
        """Rows as the backend returns them, unchecked: for a trial."""
        return self._backend.find(image, options, alone=alone)

    def is_sound_on(self, image: NDArray[np.uint8]) -> bool:
        return self._backend.is_sound_on(image)
