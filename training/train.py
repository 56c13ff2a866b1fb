"""Trains on rendered sets, from scratch or onwards from earlier weights, on a CPU.

Leaves `weights.npz` and `record.json` in the output folder: what `training.export` ships, and what a later
training can go on from.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from training import RECORD, VERSION, WEIGHTS
from training.quiet import YOLO, DetectionTrainer, engine, v8DetectionLoss
from training.render import ABOUT
from training.symbols import CLASSES

MODEL = Path(__file__).parent / "model.yaml"
AUGMENTATION = {
    "fliplr": 0.5, "flipud": 0.3, "scale": 0.45, "translate": 0.1, "mosaic": 0.1, "close_mosaic": 0,
    "hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2,
}  # fmt: skip


class Loss(v8DetectionLoss):  # type: ignore[misc]  # untyped library
    """In 32 bits: 16 tell places in the right half of a picture apart by whole pixels only."""

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Any:
        with torch.autocast("cpu", enabled=False):
            precise = {name: preds[name].float() for name in ("boxes", "scores")}
            precise["feats"] = [part.float() for part in preds["feats"]]
            return super().loss(precise, batch)


class Trainer(DetectionTrainer):  # type: ignore[misc]  # as above
    """ultralytics' own. On CPUs it loads pictures in between and computes in 32 bits, at half this speed, and
    its rate of learning changes once an epoch."""

    def __init__(self, settings: dict[str, Any], onwards: Path | None) -> None:
        super().__init__(overrides=settings)
        self.args.workers = 1
        self.onwards = onwards
        self.add_callback("on_train_batch_start", Trainer.anneal)

    def anneal(self) -> None:
        """From the whole rate to its last share along half a cosine, over the time there is."""
        elapsed = (time.time() - self.train_time_start) / (self.args.time * 3600)
        share = self.args.lrf + (1 - self.args.lrf) * (1 + math.cos(math.pi * min(elapsed, 1))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share

    def get_model(self, *args: Any, **kwargs: Any) -> Any:
        model = super().get_model(*args, **kwargs)
        if self.onwards:
            load_weights(model, self.onwards / WEIGHTS)
        return model

    def _setup_train(self) -> None:
        super()._setup_train()
        self.model.to(memory_format=torch.channels_last)
        self.model.criterion = Loss(self.model)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, nargs="+", help="folders that training.render wrote")
    parser.add_argument("--validation", type=Path, required=True, help="another such folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--onwards", type=Path, help="the output folder of an earlier training")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=416, help="of the model's input in training (416)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.002, help="of learning, at the beginning (0.002)")
    parser.add_argument("--final-rate", type=float, default=0.02, help="the share of it at the end (0.02)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    engine.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)  # it has it for GPUs alone
    arguments.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings(arguments), arguments.onwards)
    trainer.train()
    save_weights(YOLO(trainer.last).model, arguments.output / WEIGHTS)
    (arguments.output / RECORD).write_text(json.dumps(record(arguments), indent=2) + "\n", encoding="utf-8")


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    data = arguments.output / "data.yaml"
    about = {
        "train": [str(folder.resolve() / "images") for folder in arguments.scenes],
        "val": str(arguments.validation.resolve() / "images"),
        "names": dict(enumerate(CLASSES)),
    }
    data.write_text(yaml.safe_dump(about), encoding="utf-8")
    return AUGMENTATION | {
        "model": str(MODEL),
        "data": str(data),
        "project": str(arguments.output.resolve()),
        "name": "run",
        "exist_ok": True,
        "time": arguments.hours,
        "imgsz": arguments.size,
        "batch": arguments.batch,
        "nbs": arguments.batch,
        "optimizer": "AdamW",
        "lr0": arguments.rate,
        "lrf": arguments.final_rate,
        "momentum": 0.9,
        "warmup_epochs": 0.1,
        "warmup_bias_lr": 0.0,
        "seed": arguments.seed,
        "device": "cpu",
        "amp": False,
        "plots": False,
        "val": False,
    }


def record(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What these weights went through, one stage after another."""
    before = json.loads((arguments.onwards / RECORD).read_text("utf-8")) if arguments.onwards else []
    stage = {
        "scenes": [json.loads((folder / ABOUT).read_text("utf-8")) for folder in arguments.scenes],
        "version": VERSION,
        "hours": arguments.hours,
        "size": arguments.size,
        "batch": arguments.batch,
        "rate": arguments.rate,
        "seed": arguments.seed,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return [*before, stage]


def save_weights(model: Any, file: Path) -> None:
    """In 16 bits, by name; no pickle."""
    arrays = {name: tensor.numpy() for name, tensor in model.float().state_dict().items()}
    halves = {name: array.astype(np.float16) if array.ndim else array for name, array in arrays.items()}
    np.savez_compressed(file, **halves)


def load_weights(model: Any, file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        model.load_state_dict({name: torch.as_tensor(arrays[name]) for name in arrays})


if __name__ == "__main__":
    main()
