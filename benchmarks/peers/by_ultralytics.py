"""ultralytics' own predictor on OpenVINO."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")


def find_by_ultralytics(model: Path) -> Callable[[Any], list[list[float]]]:
    from ultralytics import YOLO

    yolo = YOLO(model, task="detect")

    def find(image: Any) -> list[list[float]]:
        [result] = yolo.predict(image, verbose=False)
        boxes: list[list[float]] = result.boxes.data.tolist()
        return boxes

    return find
