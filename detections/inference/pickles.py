"""A .pt file is a pickle, and a pickle may call any function that it names. What one names is read here, and
nothing of it run. ultralytics then loads it with torch's restricted unpickler (`runtimes`), which knows
layers alone."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

from .contract import UnsafeWeightsError

if TYPE_CHECKING:
    from pathlib import Path

# What weights that ultralytics has written name, beside what torch itself holds for harmless: layers, models,
# losses, paths and numbers. `getattr` is replaced by one that reaches layers' methods alone.
KNOWN = re.compile(
    r"torch\.nn\.modules(\.\w+)?\.[A-Z]\w*"
    r"|ultralytics\.nn\.(modules(\.\w+)?|tasks)\.(v\d+)?[A-Z]\w*"
    r"|ultralytics\.utils\.(loss|tal)\.(v\d+)?[A-Z]\w*"
    r"|ultralytics\.(yolo\.)?utils\.IterableSimpleNamespace"
    r"|numpy\.dtype|numpy\._?core\.multiarray\.scalar"
    r"|pathlib(\._local)?\.(Posix|Windows)Path"
    r"|builtins\.getattr"
)


def check(file: Path) -> None:
    """Raises UnsafeWeightsError where the file names anything else, or cannot be read without running it."""
    import torch

    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except ValueError as error:  # TorchScript, a format of long ago, no checkpoint at all
        raise UnsafeWeightsError("it is no checkpoint as torch saves them today") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, LookupError, AssertionError) as error:
        raise UnsafeWeightsError(f"what it imports cannot be read: {error}") from error
    if foreign := sorted(name for name in named if not KNOWN.fullmatch(name)):
        raise UnsafeWeightsError(f"it imports {', '.join(foreign[:10])}, which may run anything")
