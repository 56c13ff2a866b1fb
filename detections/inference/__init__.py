"""The only package that knows a model runtime. It imports none before `load_detector` or `decode`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detections.images.boxes import Box
from detections.inference import checkpoints
from detections.inference.decoding import decode
from detections.inference.detector import LoadedDetector
from detections.inference.openvino_backend import OpenVINOBackend
from detections.inference.types import (
    DecodeError,
    Found,
    LoadError,
    ModelError,
    Options,
    PredictionInterruptedError,
    UnsafeWeightsError,
    boxes_from,
)
from detections.inference.ultralytics_backend import UltralyticsBackend, open_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detections.inference.types import Backend

__all__ = [
    "BACKENDS",
    "Box",
    "DecodeError",
    "Found",
    "LoadError",
    "LoadedDetector",
    "ModelError",
    "Options",
    "PredictionInterruptedError",
    "UnsafeWeightsError",
    "boxes_from",
    "decode",
    "load_detector",
    "open_model",
    "reason_of",
]

BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "openvino": OpenVINOBackend,
    "ultralytics": UltralyticsBackend,
}


def load_detector(folder: Path, backend: str) -> LoadedDetector:
    """Load a prepared or exported folder with one of BACKENDS. Raises LoadError."""
    try:
        return LoadedDetector(BACKENDS[backend](folder), checkpoints.most_overlap(folder))
    except ModelError as error:
        raise LoadError(f"{folder} is refused: {error}.") from error
    except Exception as error:  # the runtimes document no exceptions for bad files
        raise LoadError(f"{folder} does not load with {backend}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What a runtime says went wrong, without the places in its code."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return f"{type(error).__name__}: {said[-1] if said else 'it gives no reason'}"
