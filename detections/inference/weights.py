from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (".xml", ".onnx", ".pt")


def find(folder: Path) -> Path:
    """The one OpenVINO IR (also in its *_openvino_model), else ONNX, else .pt file. Raises ValueError."""
    for kind in KINDS:
        found = sorted(folder.glob(f"*{kind}")) or sorted(folder.glob(f"*_openvino_model/*{kind}"))
        if len(found) > 1:
            raise ValueError(f"it holds several {kind} files")
        if found:
            return found[0]
    raise ValueError(f"it holds no {', '.join(KINDS)} file")
