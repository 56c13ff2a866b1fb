"""OpenVINO's Model API, whose wrapper `YOLO11` reads the outputs of YOLOv8 and YOLO11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def find_by_model_api(model: Path) -> Callable[[Any], list[list[float]]]:
    import numpy as np
    from model_api.models import Model

    [file] = model.glob("*.xml")
    wrapped = Model.create_model(str(file), model_type="YOLO11")

    def find(image: Any) -> list[list[float]]:
        result = wrapped(np.asarray(image))
        return [
            [*map(float, corners), float(confidence), float(class_id)]
            for corners, confidence, class_id in zip(result.bboxes, result.scores, result.labels, strict=True)
        ]

    return find
