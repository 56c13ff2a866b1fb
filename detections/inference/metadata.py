"""What exporters note beside a model: its task, its head, the size of its input, the names of its classes."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import yaml

from detections.inference.runtimes import shared_core
from detections.inference.types import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "metadata.yaml"
TASK = "detect"
LONGEST_CLASS_NAME = 100
# Neither databases nor XML files, as VOC has them, hold all of these.
UNWRITABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
LONGEST_SIDE = 8192
COLOUR = 3
# Heads whose outputs are read as ultralytics reads them. Others mean something else by the same shapes.
HEADS = ("Detect", "v10Detect", "WorldDetect", "YOLOEDetect")
LITERALS = ("names", "imgsz", "args", "end2end", "channels")  # texts in ONNX files


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of a model whose task is detection.

    `size` is the (height, width) of the input in pixels. `end_to_end` says whether the output needs no NMS.
    What an exporter did not note is None.
    """

    names: dict[int, str]
    size: tuple[int, int] | None
    channels: int | None
    end_to_end: bool | None

    @classmethod
    def of(cls, noted: Mapping[str, Any]) -> Self:
        """Raises ModelError."""
        if (task := noted.get("task") or TASK) != TASK:
            raise ModelError(f"its task is {task}, not {TASK}")
        if (head := noted.get("head") or HEADS[0]) not in HEADS:
            raise ModelError(f"its head is {head}, and only the outputs of {', '.join(HEADS)} are known")
        values = {key: literal(key, noted[key]) for key in LITERALS if key in noted}
        return cls(
            class_names(values.get("names")),
            size_of(values.get("imgsz")),
            channels_of(values.get("channels")),
            is_end_to_end(values, is_noted="head" in noted or "end2end" in noted),
        )


def read_metadata(file: Path) -> Metadata:
    """From the file beside the model, or else from within an ONNX file. Raises ModelError."""
    beside = file.with_name(FILE)
    if beside.exists():
        return Metadata.of(read_yaml(beside))
    model = shared_core().read_model(file)
    return Metadata.of(model.get_rt_info("framework").value if model.has_rt_info("framework") else {})


def read_yaml(file: Path) -> dict[str, Any]:
    try:
        noted = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"its {file.name} is no YAML") from error
    if not isinstance(noted, dict):
        raise ModelError(f"its {file.name} is no mapping of names to values")
    return noted


def literal(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
        raise ModelError(f"its metadata has no readable {key}: {value[:50]!r}") from error


def class_names(noted: Any) -> dict[int, str]:
    """The names by id, from 0 on without gaps. Raises ModelError."""
    if not isinstance(noted, dict | list) or not noted:
        raise ModelError(
            f"it does not say what its classes are called: write `names` into a {FILE} beside it"
        )
    pairs = noted.items() if isinstance(noted, dict) else enumerate(noted)
    names = {str(key): "" if name is None else str(name) for key, name in pairs}
    ids = [str(class_id) for class_id in range(len(names))]
    if set(names) != set(ids):
        raise ModelError(f"the ids of its {len(names)} classes are not 0 to {len(names) - 1}")
    for class_id in ids:
        check_class_name(class_id, names[class_id])
    return {int(class_id): names[class_id] for class_id in ids}


def check_class_name(class_id: str, name: str) -> None:
    if len(name) > LONGEST_CLASS_NAME:
        raise ModelError(
            f"the name of its class {class_id}, {name[:30]}…, has {len(name)} characters; at most "
            f"{LONGEST_CLASS_NAME} are allowed"
        )
    if UNWRITABLE.search(name):
        raise ModelError(f"the name of its class {class_id} holds characters that results cannot hold")
    if not name.strip():
        raise ModelError(f"its class {class_id} has no name")
    if name != name.strip():
        raise ModelError(f"the name of its class {class_id}, {name!r}, begins or ends with a space")


def size_of(noted: Any) -> tuple[int, int] | None:
    sides = [noted] if isinstance(noted, int) else noted
    match sides:
        case None:
            return None
        case [int(side)]:
            size = side, side
        case [int(height), int(width)]:
            size = height, width
        case _:
            raise ModelError(f"its imgsz is {noted!r}, no height and width")
    if min(size) < 1 or max(size) > LONGEST_SIDE:
        raise ModelError(f"its imgsz is {noted!r}; sides have 1 to {LONGEST_SIDE} pixels")
    return size


def channels_of(noted: Any) -> int | None:
    if noted is None or isinstance(noted, int):
        return noted
    raise ModelError(f"its channels are {noted!r}, no number")


def is_end_to_end(values: Mapping[str, Any], *, is_noted: bool) -> bool | None:
    options = values.get("args")
    if values.get("end2end") or (isinstance(options, dict) and options.get("nms")):
        return True
    return False if is_noted else None
