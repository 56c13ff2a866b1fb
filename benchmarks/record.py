"""What a run leaves: every figure, and where and with what it was taken."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from testing.stacks import ROOT

if TYPE_CHECKING:
    from benchmarks.figures import Figures

PACKAGES = ("django", "djangorestframework", "celery", "uvicorn", "openvino", "opencv-python-headless")


@dataclass
class Record:
    """One run. `rounds` has the figures of each measure, `loads` the machine's load before each round."""

    model: str
    measures: list[str]
    quick: bool
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    rounds: list[dict[str, Figures]] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def begin_round(self) -> dict[str, Figures]:
        self.loads.append(os.getloadavg()[0])
        return {}

    def save(self, file: Path, table: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.as_json() | {"table": table.splitlines()}, indent=2) + "\n", "utf-8")

    def as_json(self) -> dict[str, Any]:
        return {
            "date": self.date.isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            "model": self.model,
            "quick": self.quick,
            "measures": self.measures,
            "load_before_round": self.loads,
            "rounds": self.rounds,
        }


def commit() -> str:
    """The checkout's commit, marked if files differ from it; empty without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": len(psutil.Process().cpu_affinity() or ()),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(),
    }


def processor() -> str:
    """The model's name, where Linux tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}}


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
