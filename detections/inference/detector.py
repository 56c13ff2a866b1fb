from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from . import assembling
from .contract import Found, boxes_from
from .decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Backend, Options


class LoadedDetector:
    """A backend with what all of them share: decoding before it, views around it, boxes after it."""

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
        stopped: Callable[[], bool] = lambda: False,
    ) -> Found:
        """Decode and detect; safe to call from several threads.

        `alone` says that no other image waits, so that this one may have all cores. The boxes are the same
        either way, and whatever runs beside it. Where several views are wanted, `stopped` is asked before
        each. Raises DecodeError, InterruptedPrediction.
        """
        start = time.perf_counter()
        image = decode(data)
        height, width = image.shape[:2]
        options = replace(options, iou=min(options.iou, self._most_overlap))
        rows = assembling.find(self._backend, image, options, alone=alone, stopped=stopped)
        boxes = boxes_from(rows, (width, height), self.classes)
        return Found(width, height, boxes, (time.perf_counter() - start) * 1000)
