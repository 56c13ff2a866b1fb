"""The only place that knows a model runtime. None is imported before `load` or `decode` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import weights
from .contract import (
    Box,
    DecodeError,
    Found,
    InterruptedPrediction,
    LoadError,
    Options,
    UnsafeWeightsError,
)
from .decoding import decode
from .detector import LoadedDetector
from .openvino_backend import OpenVINOBackend
from .ultralytics_backend import UltralyticsBackend, open_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .contract import Backend

__all__ = [
    "BACKENDS",
    "Box",
    "DecodeError",
    "Found",
    "InterruptedPrediction",
    "LoadError",
    "LoadedDetector",
    "Options",
    "UnsafeWeightsError",
    "decode",
    "load",
    "open_model",
]

BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "openvino": OpenVINOBackend,
    "ultralytics": UltralyticsBackend,
}


def load(folder: Path, backend: str) -> LoadedDetector:
    """A detector from a prepared or exported folder, with one of BACKENDS. Raises LoadError."""
    try:
        return LoadedDetector(BACKENDS[backend](folder), weights.most_overlap(folder))
    except UnsafeWeightsError as error:
        raise LoadError(f"{folder} is refused: {error}.") from error
    except Exception as error:  # the runtimes promise no types for what a bad file raises
        raise LoadError(f"{folder} does not load with {backend}: {error!r}") from error
