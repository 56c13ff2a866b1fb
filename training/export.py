"""Exports trained weights as the bundled detector: an OpenVINO model of 640 pixels with its manifest."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import yaml

from training import RECORD, WEIGHTS
from training.quiet import YOLO
from training.scenes.symbols import CLASSES
from training.train import MODEL, load_weights

FOLDER = Path(__file__).parents[1] / "detections" / "bundled"
MANIFEST = "manifest.json"
SIZE = 640
OVERLAP = 0.4
"""The IoU from which two boxes of a class are one code, since codes do not overlap."""
FILES = ("codes.xml", "codes.bin", "metadata.yaml")
LIBRARIES = ("numpy", "opencv-python-headless", "openvino", "pillow", "torch", "ultralytics-opencv-headless")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=Path, help="the output folder of training.train")
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    export(arguments.training / WEIGHTS, arguments.output)
    write_manifest(arguments.training, arguments.output)


def export(weights: Path, output: Path) -> None:
    model = YOLO(MODEL, task="detect")
    load_weights(model.model, weights)
    model.model.names = dict(enumerate(CLASSES))
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.ckpt = {"train_args": {"imgsz": SIZE}}
        model.save(Path(scratch) / "codes.pt")
        saved = YOLO(Path(scratch) / "codes.pt")
        exported = Path(saved.export(format="openvino", imgsz=SIZE, half=True, device="cpu"))
        for name in FILES:
            shutil.copyfile(exported / name, output / name)
    metadata = output / "metadata.yaml"
    about = yaml.safe_load(metadata.read_text("utf-8"))
    for key in ("description", "args"):  # they name this machine's folders
        about.pop(key, None)
    about["iou"] = OVERLAP
    metadata.write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


def write_manifest(training: Path, output: Path) -> None:
    stages = json.loads((training / RECORD).read_text("utf-8"))
    manifest = {
        "name": "bundled",
        "sha256": hashlib.sha256(b"".join((output / name).read_bytes() for name in FILES)).hexdigest(),
        "classes": dict(enumerate(CLASSES)),
        "image_size": SIZE,
        "date": stages[-1]["ended"],
        "training": stages,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    (output / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
