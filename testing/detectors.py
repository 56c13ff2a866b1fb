"""Detectors for tests, and the objects that are on known pictures."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from detections.detectors.preparation import BUNDLED_FOLDER
from detections.inference.runtimes import import_openvino

if TYPE_CHECKING:
    from collections.abc import Sequence

# Exports of detectors that know COCO's classes, where the environment names some.
COCO = [Path(folder) for folder in os.environ.get("COCO_DETECTORS", "").split(":") if folder]
SCENES = BUNDLED_FOLDER / "samples"
LEAST_OVERLAP = 0.5


def family_of(folder):
    """`yolo26n` of `yolo26n_int8_openvino_model`."""
    return Path(folder).name.partition("_")[0]


def sample_photo(name):
    """A sample photo of ultralytics: `bus.jpg` or `zidane.jpg`."""
    return sample_photo_file(name).read_bytes()


def sample_photo_file(name):
    return Path(importlib.util.find_spec("ultralytics").origin).parent / "assets" / name


def codes(name):
    """The codes rendered into a sample scene: `object_class` and `corners` in pixels."""
    return json.loads((SCENES / "codes.json").read_text())[name]


def overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    return common / (area(first) + area(second) - common)


def area(corners):
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def assert_found(results, name):
    """The API's results are the codes of the scene, each once."""
    left = list(results)
    for code in codes(name):
        same = [result for result in left if result["object_class"] == code["object_class"]]
        best = max(same, key=lambda result: overlap(corners(result), code["corners"]))
        assert overlap(corners(best), code["corners"]) >= LEAST_OVERLAP
        left.remove(best)
    assert left == []


def corners(result):
    return [result["bbox"][side] for side in ("x1", "y1", "x2", "y2")]


# Matrices by which corners in pixels (x1 y1 x2 y2) become the four numbers of an output.
CORNERS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
CENTRES = ((0.5, 0, 0.5, 0), (0, 0.5, 0, 0.5), (-1, 0, 1, 0), (0, -1, 0, 1))


def build_standin(
    folder: Path,
    *,
    image_size: int = 64,
    classes: Sequence[str] = ("alpha", "beta"),
    channels: int = 3,
    form: Sequence[Sequence[float]] = CORNERS,
    **about: Any,
) -> Path:
    """Write an end-to-end detector as an OpenVINO IR: the same three boxes for every image.

    Corners are given for a square image. Confidences: 0.5 to 1 (black to white), 0.4, 0.1. `form` makes of
    corners in pixels what the output holds instead; `about` goes into the metadata.
    """
    import numpy as np

    ov = import_openvino()
    ops = ov.opset13
    side = image_size
    image = ops.parameter([1, channels, side, side], np.float32, name="images")
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
    rows[:, :4] = rows[:, :4] @ np.array(form, np.float32).T
    output = ops.add(ops.multiply(brightness, ops.constant(share)), ops.constant(rows[None]))
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model([output], [image], "standin"), folder / "standin.xml", compress_to_fp16=False)
    noted = {
        "task": "detect",
        "batch": 1,
        "stride": 32,
        "imgsz": [side, side],
        "names": dict(enumerate(classes)),
        "end2end": True,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(noted | about, allow_unicode=True), encoding="utf-8")
    return folder


# A small writer of ONNX, since the package that writes it is no dependency: protobuf's fields by number.


def varint(number):
    number &= (1 << 64) - 1
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(operation, inputs, output):
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operation))


def constant(name, values):
    shape = b"".join(field(1, side) for side in (1, 1, 6))
    return field(5, shape + field(2, 1) + field(8, name) + field(9, struct.pack("<6f", *values)))


def value(name, shape):
    sides = b"".join(field(1, field(2, "side") if side < 0 else field(1, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))


NOTED = {"names": "{0: 'alpha', 1: 'beta'}", "imgsz": "[64, 64]", "task": "detect"}


def tiny_onnx(side=64, shape=(1, 3, -2, -2), about=NOTED):
    """One box of class beta; its confidence goes from 0.5 (black) to 1 (white).

    In `shape`, -1 is a side that the file leaves open and -2 is `side`.
    """
    shape = [side if length == -2 else length for length in shape]
    graph = (
        node("ReduceMean", ["images"], "mean")
        + node("Squeeze", ["mean"], "brightness")
        + node("Mul", ["brightness", "share"], "part")
        + node("Add", ["part", "row"], "output0")
        + field(2, "tiny")
        + constant("share", [0, 0, 0, 0, 0.5, 0])
        + constant("row", [8, 8, 40, 40, 0.5, 1])
        + field(11, value("images", shape))
        + field(12, value("output0", (1, 1, 6)))
    )
    entries = b"".join(field(14, field(1, key) + field(2, text)) for key, text in about.items())
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 11)) + entries
