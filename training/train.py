"""Trains on rendered sets on a CPU, from scratch or onwards from earlier weights.

Several processes, each with its part of the scenes and a core, step together by the mean of their gradients;
that uses two cores better than one process with two threads.

Writes `weights.npz` and `record.json` into the output folder, for `training.export` and later trainings.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import distributed, multiprocessing

from training import RECORD, VERSION, WEIGHTS
from training.loss import Loss
from training.muon import Muon
from training.quiet import YOLO, DetectionTrainer, engine
from training.render import ABOUT
from training.scenes.symbols import CLASSES, UNCLEAR

MODEL = Path(__file__).parent / "model.yaml"
AUGMENTATION = {
    "fliplr": 0.5, "flipud": 0.3, "scale": (0.8, 1.05), "translate": 0.05, "mosaic": 0.0, "close_mosaic": 0,
    "hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2,
}  # fmt: skip
"""Little is cut off, since the box of a turned code that is cut becomes too large. Little is made smaller,
since codes that are barely visible would vanish but remain labelled."""
GAINS = {"cls": 1.0, "box": 5.0, "dfl": 1.0}
"""Weights of the parts of the loss: classes count for more than in ultralytics and box edges for less, since
few errors are in the edges."""


class Trainer(DetectionTrainer):  # type: ignore[misc]  # untyped library
    """ultralytics' trainer at twice its speed on a CPU.

    It loads pictures in parallel, computes in 16 bits, and changes the learning rate at every step.
    """

    data: dict[str, Any]
    metrics: dict[str, float]

    def __init__(self, settings: dict[str, Any], onwards: Path | None, hours: float) -> None:
        super().__init__(overrides=settings | {"time": 2 * hours})  # never over by itself: see `agree`
        self.args.workers = 1
        self.onwards = onwards
        self.seconds = hours * 3600
        self.add_callback("on_pretrain_routine_end", Trainer.prepare_model)
        self.add_callback("on_train_batch_start", Trainer.anneal)

    @property
    def elapsed(self) -> float:
        """The share of the given time that has passed."""
        return (time.time() - self.train_time_start) / self.seconds

    def anneal(self) -> None:
        """Lower the learning rate along half a cosine, to its final share at the end of the time."""
        share = self.args.lrf + (1 - self.args.lrf) * (1 + math.cos(math.pi * min(self.elapsed, 1))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share

    def build_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        return Muon(super().build_optimizer(*args, **kwargs).param_groups)

    def optimizer_step(self) -> None:
        self.agree()
        super().optimizer_step()

    def agree(self) -> None:
        """Average the gradients of all processes; all end when the first one has no time left."""
        gradients = [weights.grad for weights in self.model.parameters() if weights.grad is not None]
        late = torch.tensor([float(self.elapsed > 1)])
        shared = torch.cat([*(gradient.flatten() for gradient in gradients), late])
        distributed.all_reduce(shared)
        *means, over = (shared / distributed.get_world_size()).split([*map(torch.numel, gradients), 1])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        if over > 0:
            self.args.time = 1e-9  # which ultralytics looks at next

    def get_model(self, *args: Any, **kwargs: Any) -> Any:
        data, self.data = self.data, self.data | {"nc": len(CLASSES)}  # it learns to see no unclear ones
        model = super().get_model(*args, **kwargs)
        self.data = data
        if self.onwards:
            load_weights(model, self.onwards / WEIGHTS)
        for weights in model.state_dict().values():
            distributed.broadcast(weights, 0)
        return model

    def prepare_model(self) -> None:
        self.model.to(memory_format=torch.channels_last)
        self.model.criterion = Loss(self.model)

    def validate(self) -> tuple[dict[str, float], float]:
        """Skipped: `training.evaluate` measures the result."""
        return self.metrics, 0.0

    def final_eval(self) -> None:
        pass

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, nargs="+", help="folders that training.render wrote")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--onwards", type=Path, help="the output folder of an earlier training")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=416, help="of the model's input in training (416)")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step, of all processes (32)")
    parser.add_argument("--rate", type=float, default=0.002, help="of learning, at the beginning (0.002)")
    parser.add_argument("--final-rate", type=float, default=0.02, help="the share of it at the end (0.02)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="one for each core")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


def train(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        multiprocessing.spawn(work, (arguments, Path(scratch)), arguments.processes)
    (arguments.output / RECORD).write_text(
        json.dumps(training_record(arguments), indent=2) + "\n", encoding="utf-8"
    )


def work(process: int, arguments: argparse.Namespace, scratch: Path) -> None:
    torch.set_num_threads(1)
    engine.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)  # it has it for GPUs alone
    meeting = f"file://{scratch / 'meeting'}"
    distributed.init_process_group("gloo", meeting, rank=process, world_size=arguments.processes)
    scenes = link_share(arguments.scenes, scratch / str(process), process, arguments.processes)
    output = arguments.output / str(process)
    output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings(arguments, scenes, output, process), arguments.onwards, arguments.hours)
    trainer.train()
    if process == 0:
        save_weights(YOLO(trainer.last).model, arguments.output / WEIGHTS)
    distributed.destroy_process_group()


def link_share(sets: list[Path], folder: Path, process: int, processes: int) -> Path:
    """Link one process's part of the pictures and labels, since ultralytics writes beside them."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    pictures = [(number, file) for number, one in enumerate(sets) for file in sorted(one.glob("images/*"))]
    for number, file in pictures[process::processes]:
        label = file.parents[1] / "labels" / f"{file.stem}.txt"
        (folder / f"images/{number}-{file.name}").symlink_to(file.resolve())
        (folder / f"labels/{number}-{label.name}").symlink_to(label.resolve())
    return folder


def settings(arguments: argparse.Namespace, scenes: Path, output: Path, process: int) -> dict[str, Any]:
    data = output / "data.yaml"
    about = {
        "train": str(scenes / "images"),
        "val": str(scenes / "images"),
        "names": dict(enumerate(CLASSES)) | {UNCLEAR: "unclear"},
    }
    data.write_text(yaml.safe_dump(about), encoding="utf-8")
    return {
        **AUGMENTATION,
        **GAINS,
        "model": str(MODEL),
        "data": str(data),
        "project": str(output.resolve()),
        "name": "run",
        "exist_ok": True,
        "imgsz": arguments.size,
        "batch": arguments.batch // arguments.processes,
        "nbs": arguments.batch // arguments.processes,
        "optimizer": "AdamW",
        "lr0": arguments.rate,
        "lrf": arguments.final_rate,
        "momentum": 0.9,
        "warmup_epochs": 0.1,
        "warmup_bias_lr": 0.0,
        "seed": arguments.seed + process,
        "device": "cpu",
        "amp": False,
        "plots": False,
        "val": False,
    }


def training_record(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The stages of training that led to these weights, in order."""
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
    """Save the weights by name in 16 bits, without pickle."""
    arrays = {name: tensor.numpy() for name, tensor in model.float().state_dict().items()}
    halves = {name: array.astype(np.float16) if array.ndim else array for name, array in arrays.items()}
    np.savez_compressed(file, **halves)


def load_weights(model: Any, file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        model.load_state_dict({name: torch.as_tensor(arrays[name]) for name in arrays})


if __name__ == "__main__":
    main()
