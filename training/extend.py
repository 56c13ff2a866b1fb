"""Moves weights further in the direction of the last training stage, without training.

A short stage on hard scenes without codes removes false alarms; going further removes more of them.
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
    parser.add_argument("before", type=Path, help="output folder of what the last stage went on from")
    parser.add_argument("after", type=Path, help="output folder of the last stage")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--by", type=float, default=0.5, help="share of the last stage's way (0.5)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    extend(arguments.before / WEIGHTS, arguments.after / WEIGHTS, arguments.by, arguments.output / WEIGHTS)
    stages = json.loads((arguments.after / RECORD).read_text("utf-8"))
    stages[-1]["extended_by"] = arguments.by
    (arguments.output / RECORD).write_text(json.dumps(stages, indent=2) + "\n", encoding="utf-8")


def extend(before: Path, after: Path, by: float, output: Path) -> None:
    """Write `after + by * (after - before)`; counts and variances are taken from `after`."""
    with np.load(before, allow_pickle=False) as first, np.load(after, allow_pickle=False) as last:
        extended: dict[str, Any] = {name: last[name] for name in last}
        for name, array in extended.items():
            if array.ndim and not name.endswith("running_var"):
                way = array.astype(np.float32) - first[name]
                extended[name] = (array + by * way).astype(array.dtype)
    np.savez_compressed(output, **extended)


if __name__ == "__main__":
    main()
