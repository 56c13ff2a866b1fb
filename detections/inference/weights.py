from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

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


def most_overlap(folder: Path) -> float:
    """The IoU above which two boxes of a class are always one object, by the `iou` that we add to the
    metadata of detectors of what never lies over each other; 1 where there is none."""
    about = find(folder).with_name("metadata.yaml")
    return float(yaml.safe_load(about.read_text(encoding="utf-8")).get("iou", 1)) if about.exists() else 1.0
