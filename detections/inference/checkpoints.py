"""Files of weights: the one in a folder, its metadata, and whether it is safe to open.

A .pt file is a pickle, and a pickle may call any function that it names. `check_pickle` reads the names and
runs nothing. ultralytics then loads the file with torch's restricted unpickler (`runtimes`), which knows
layers alone.
"""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

from detections.inference import metadata
from detections.inference.types import ModelError, UnsafeWeightsError

if TYPE_CHECKING:
    from pathlib import Path

PICKLE = ".pt"
KINDS = (".xml", ".onnx", PICKLE)

# What weights that ultralytics has written name, beside what torch itself holds for harmless: layers, models,
# losses, paths and numbers. `getattr` is replaced by one that reaches layers' methods alone.
HARMLESS = re.compile(
    r"torch\.nn\.modules(\.\w+)?\.[A-Z]\w*"
    r"|ultralytics\.nn\.(modules(\.\w+)?|tasks)\.(v\d+)?[A-Z]\w*"
    r"|ultralytics\.utils\.(loss|tal)\.(v\d+)?[A-Z]\w*"
    r"|ultralytics\.(yolo\.)?utils\.IterableSimpleNamespace"
    r"|numpy\.dtype|numpy\._?core\.multiarray\.scalar"
    r"|pathlib(\._local)?\.(Posix|Windows)Path"
    r"|builtins\.getattr"
)

# Modules of YOLOv5's repository and those made after it, by which their checkpoints name their layers.
RELATIVES = ("models.yolo.", "models.common.", "models.experimental.")


def find_weights(folder: Path) -> Path:
    """The one OpenVINO IR (also in its *_openvino_model), else ONNX, else .pt file. Raises ModelError."""
    for kind in KINDS:
        found = sorted(folder.glob(f"*{kind}")) or sorted(folder.glob(f"*_openvino_model/*{kind}"))
        if len(found) > 1:
            raise ModelError(f"it holds several {kind} files")
        if found:
            return found[0]
    raise ModelError(f"it holds no {', '.join(KINDS)} file")


def takes_any_size(folder: Path, backend: str) -> bool:
    """Whether images of any size may be scaled to the input: an exported model has one size for good.

    Raises ModelError.
    """
    return backend == "ultralytics" and find_weights(folder).suffix == PICKLE


def most_overlap(folder: Path) -> float:
    """The IoU above which two boxes of a class are always one object; 1 where none is known.

    Our exports say it as `iou` in their metadata, for detectors of things that never overlap.
    """
    file = find_weights(folder).with_name(metadata.FILE)
    return float(metadata.read_yaml(file).get("iou", 1)) if file.exists() else 1.0


def check_pickle(file: Path) -> None:
    """Raises UnsafeWeightsError if the file names anything else than layers, or cannot be read unrun."""
    import torch

    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except ValueError as error:  # TorchScript, a format of long ago, no checkpoint at all
        raise UnsafeWeightsError("it is no checkpoint as torch saves them today") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, LookupError, AssertionError) as error:
        said = str(error).partition(". ")[0].rstrip(".")  # torch goes on with guesses
        raise UnsafeWeightsError(f"what it imports cannot be read: {said}") from error
    if foreign := sorted(name for name in named if not HARMLESS.fullmatch(name)):
        if relatives := [name for name in foreign if name.startswith(RELATIVES)]:
            raise UnsafeWeightsError(
                f"it was saved by the repository of YOLOv5 or of a relative ({relatives[0]}); ultralytics "
                "loads only weights of its own, such as yolov5nu.pt"
            )
        raise UnsafeWeightsError(f"it imports {', '.join(foreign[:10])}, which may run anything")
