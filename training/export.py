"""A checkpoint becomes what ships: an OpenVINO model and its manifest."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="false")

from ultralytics import YOLO

SIZE = 640
FOLDER = Path(__file__).parents[1] / "detections" / "bundled"
LIBRARIES = ("numpy", "opencv-python-headless", "openvino", "torch", "ultralytics-opencv-headless")
FILES = ("codes.xml", "codes.bin", "metadata.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    export(arguments.weights, arguments.output)


def export(weights: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copyfile(weights, Path(scratch) / "codes.pt")
        exported = Path(YOLO(copy).export(format="openvino", imgsz=SIZE, half=True, device="cpu"))
        for name in FILES:
            shutil.copyfile(exported / name, output / name)


if __name__ == "__main__":
    main()
