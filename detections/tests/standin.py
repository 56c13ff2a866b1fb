"""A tiny detector on the real runtime, for tests of what surrounds a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from detections.inference.runtimes import import_openvino

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def build(folder: Path, *, image_size: int = 64, classes: Sequence[str] = ("alpha", "beta")) -> Path:
    """Write an end-to-end detector as an OpenVINO IR: the same three boxes for every image.

    Corners are given for a square image. Confidences: 0.5 to 1 (black to white), 0.4, 0.1.
    """
    import numpy as np

    ov = import_openvino()
    ops = ov.opset13
    side = image_size
    image = ops.parameter([1, 3, side, side], np.float32, name="images")
    brightness = ops.reduce_mean(image, np.array([0, 1, 2, 3]), keep_dims=False)
    share = np.zeros((1, 3, 6), np.float32)
    share[0, 0, 4] = 0.5
    last = len(classes) - 1
    rows = np.array(
        [
            [0.125 * side, 0.125 * side, 0.625 * side, 0.5 * side, 0.5, 0],
            [0.25 * side, 0.25 * side, 0.75 * side, 0.875 * side, 0.4, last],
            [0, 0, 0.125 * side, 0.125 * side, 0.1, 0],
        ],
        np.float32,
    )
    output = ops.add(ops.multiply(brightness, ops.constant(share)), ops.constant(rows[None]))
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model([output], [image], "standin"), folder / "standin.xml", compress_to_fp16=False)
    about = {
        "task": "detect",
        "batch": 1,
        "stride": 32,
        "imgsz": [side, side],
        "names": dict(enumerate(classes)),
        "end2end": True,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    return folder
