"""Roboflow's library, which runs ONNX alone: YOLO26n of random weights, which takes as long as any other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 640
PACKAGE = {
    "network_input": {
        "training_input_size": {"height": SIDE, "width": SIDE},
        "dynamic_spatial_size_supported": False,
        "color_mode": "rgb",
        "resize_mode": "letterbox",
        "padding_value": 114,
        "input_channels": 3,
        "scaling_factor": 255,
    },
    "forward_pass": {"static_batch_size": 1},
    "post_processing": {"type": "nms", "fused": True},
}
"""The package's description of its model, which Roboflow's servers would give."""

os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")


def find_by_inference(_model: Path) -> Callable[[Any], list[list[float]]]:
    import numpy as np
    from inference_models.models.yolo26.yolo26_object_detection_onnx import YOLO26ForObjectDetectionOnnx

    detector = YOLO26ForObjectDetectionOnnx.from_pretrained(
        str(package()), onnx_execution_providers=["CPUExecutionProvider"]
    )

    def find(image: Any) -> list[list[float]]:
        [found] = detector(np.asarray(image), input_color_format="rgb")
        columns = (found.xyxy.T, found.confidence[None], found.class_id[None])
        boxes: list[list[float]] = [list(map(float, row)) for row in np.vstack(columns).T]
        return boxes

    return find


def package() -> Path:
    """A folder as Roboflow's loader reads it, below the current one."""
    from ultralytics import YOLO

    folder = Path("roboflow")
    folder.mkdir()
    model = YOLO("yolo26n.yaml")
    exported = Path(model.export(format="onnx", imgsz=SIDE, simplify=False, nms=False, device="cpu"))
    exported.rename(folder / "weights.onnx")
    (folder / "class_names.txt").write_text("\n".join(model.names.values()), encoding="utf-8")
    (folder / "inference_config.json").write_text(json.dumps(PACKAGE), encoding="utf-8")
    return folder
