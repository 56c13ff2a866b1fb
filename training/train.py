"""Trains on rendered sets, from scratch or onwards from a checkpoint, on a CPU."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
import yaml

from training.symbols import CLASSES

os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="false")

from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer

MODEL = Path(__file__).parent / "model.yaml"
AUGMENTATION = {
    "fliplr": 0.5, "flipud": 0.3, "scale": 0.3, "translate": 0.1, "degrees": 0.0, "mosaic": 0.25,
    "close_mosaic": 1, "hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2,
}  # fmt: skip


class Trainer(DetectionTrainer):  # type: ignore[misc]
    """ultralytics' own, which on CPUs loads pictures in between and computes in 32 bits: half the speed."""

    def __init__(self, overrides: dict[str, Any]) -> None:
        super().__init__(overrides=overrides)
        self.args.workers = 1

    def _setup_train(self) -> None:
        super()._setup_train()
        self.model.to(memory_format=torch.channels_last)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, nargs="+", help="folders that training.render wrote")
    parser.add_argument("--validation", type=Path, required=True, help="another such folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--final-rate", type=float, default=0.05, help="the share of it at the end")
    parser.add_argument("--mosaic", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    engine.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)  # it has it for GPUs alone
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = arguments.output / "data.yaml"
    folders = [str(folder.resolve() / "images") for folder in arguments.scenes]
    validation = str(arguments.validation.resolve() / "images")
    data.write_text(yaml.safe_dump({"train": folders, "val": validation, "names": dict(enumerate(CLASSES))}))
    settings = {
        **AUGMENTATION,
        "mosaic": arguments.mosaic,
        "model": str(arguments.weights or MODEL),
        "data": str(data),
        "project": str(arguments.output.resolve()),
        "name": "run",
        "epochs": arguments.epochs,
        "imgsz": arguments.size,
        "batch": arguments.batch,
        "nbs": arguments.batch,
        "optimizer": "AdamW",
        "lr0": arguments.rate,
        "lrf": arguments.final_rate,
        "momentum": 0.9,
        "cos_lr": True,
        "warmup_epochs": 0.5,
        "seed": arguments.seed,
        "device": "cpu",
        "amp": False,
        "plots": False,
        "val": False,
        "patience": 0,
        "pretrained": bool(arguments.weights),
        "save_period": 1,
    }
    Trainer(settings).train()


if __name__ == "__main__":
    main()
