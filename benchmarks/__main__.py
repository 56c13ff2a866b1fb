"""Measures the running system beside its peers, round by round: `python -m benchmarks batch single`.

Prints one table of medians and writes every figure as JSON.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import table
from benchmarks.measures import MEASURES
from benchmarks.record import Record
from benchmarks.systems import QUICK, Sizes, Systems
from detections.detectors.preparation import BUNDLED_FOLDER
from testing import services
from testing.stacks import ROOT

ROUNDS = 4


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # all that was started ends, too
    if missing := missing_services():
        sys.exit(f"The benchmark needs {' and '.join(missing)}.")
    record = Record(arguments.model.name, arguments.measures, quick=arguments.quick)
    file = arguments.output or ROOT / "var" / "benchmarks" / f"{record.date:%Y-%m-%dT%H%M%S}.json"
    sizes = QUICK if arguments.quick else Sizes()
    with (
        tempfile.TemporaryDirectory(prefix="objectvision-benchmark-") as folder,
        Systems(arguments.model, arguments.peers, Path(folder), sizes) as systems,
    ):
        shown = measure_rounds(record, systems, arguments.rounds, file)
    say(f"{shown}\n\nModel: {record.model}{unusual(arguments.model)}\nEvery figure: {file}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    names = list(MEASURES)
    parser.add_argument("measures", nargs="*", metavar="measure", help=f"{', '.join(names)}; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--model", type=Path, default=default_model(), help="an OpenVINO folder")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench", help="the peers' environments")
    parser.add_argument("--output", type=Path, help="the JSON file (var/benchmarks/<time>.json)")
    parser.add_argument("--quick", action="store_true", help="try everything with tiny sizes; no figures")
    arguments = parser.parse_args()
    # Peers run in folders of their own.
    arguments.model, arguments.peers = arguments.model.resolve(), arguments.peers.resolve()
    arguments.measures = arguments.measures or names
    if unknown := [name for name in arguments.measures if name not in MEASURES]:
        parser.error(f"There is no measure {', '.join(unknown)}: choose from {', '.join(names)}.")
    return arguments


def default_model() -> Path:
    """The first of COCO_DETECTORS, else the bundled detector."""
    return Path(os.environ.get("COCO_DETECTORS", "").split(":")[0] or BUNDLED_FOLDER)


def unusual(model: Path) -> str:
    return " (the bundled detector: COCO_DETECTORS names no other)" if model == BUNDLED_FOLDER else ""


def missing_services() -> list[str]:
    found = {
        "PostgreSQL": services.use_postgresql_if_found(),
        "redis-server": services.redis_server(),
    }
    return [name for name, there in found.items() if not there]


def measure_rounds(record: Record, systems: Systems, rounds: int, file: Path) -> str:
    """Take every measure once a round, so that the machine's drift hits all alike. The table so far is
    saved after each round."""
    chosen = {name: MEASURES[name] for name in record.measures}
    shown = ""
    for number in range(1, rounds + 1):
        figures = record.begin_round()
        for name, measure in chosen.items():
            note(f"Round {number} of {rounds}: {name}")
            figures[name] = measure.take(systems)
        record.rounds.append(figures)
        shown = table.rendered(chosen, record.rounds)
        record.save(file, shown)
    return shown


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Progress, apart from the table."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
