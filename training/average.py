"""The mean of trainings that went on from the same weights with different seeds.

Two trainings side by side use two cores better than one with two threads, and their mean is better than each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from training import RECORD, WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainings", type=Path, nargs="+", help="output folders of training.train")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    average([folder / WEIGHTS for folder in arguments.trainings], arguments.output / WEIGHTS)
    records = [json.loads((folder / RECORD).read_text("utf-8")) for folder in arguments.trainings]
    (arguments.output / RECORD).write_text(json.dumps(joined(records), indent=2) + "\n", encoding="utf-8")


def average(files: list[Path], output: Path) -> None:
    with np.load(files[0], allow_pickle=False) as first:
        kinds = {name: first[name].dtype for name in first}
    sums = {name: np.zeros((), np.float64) for name in kinds}
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            sums = {name: total + arrays[name] for name, total in sums.items()}
    means: dict[str, Any] = {name: (sums[name] / len(files)).astype(kinds[name]) for name in kinds}
    np.savez_compressed(output, **means)


def joined(records: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What all went through before, then what each did last."""
    last = [record[-1] for record in records]
    return [*records[0][:-1], {"mean_of": last, "ended": max(stage["ended"] for stage in last)}]


if __name__ == "__main__":
    main()
