"""Workers on chosen cores, and what processes cost."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CLIENTS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@contextmanager
def inference_workers(stack: Any, *cores: set[int]) -> Iterator[list[str]]:
    """Inference workers for the time of the block, one for each set of cores; their names in the stack."""
    names = [f"inference-{uuid4().hex}" for _ in cores]
    for name, own in zip(names, cores, strict=True):
        stack.start_worker(name)
        os.sched_setaffinity(stack.processes[name].pid, own)  # before it forks and looks at its cores
    try:
        for name in names:
            stack.until_ready(name)
        yield names
    finally:
        for name in names:
            stack.stop(name)


def every_core() -> set[int]:
    return os.sched_getaffinity(0)


def child_of(stack: Any, name: str) -> psutil.Process:
    """The process that does the work, of a server or worker that has one."""
    [child] = psutil.Process(stack.processes[name].pid).children()
    return child


def megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def cpu_seconds(stack: Any) -> dict[str, dict[int, float]]:
    """The time that each process has computed, by part and process id."""
    parts = {
        "web": family_of(stack, "web"),
        "worker": family_of(stack, "inference"),
        "PostgreSQL": backends(stack.rows(CLIENTS)),
    }
    return {part: {each.pid: computed(each) for each in members} for part, members in parts.items()}


def family_of(stack: Any, name: str) -> list[psutil.Process]:
    """A process of the stack and its children."""
    parent = psutil.Process(stack.processes[name].pid)
    return [parent, *parent.children()]


def backends(rows: Iterable[tuple[int]]) -> Iterator[psutil.Process]:
    """The processes of PostgreSQL that serve the clients: none if it runs on another machine."""
    for (pid,) in rows:
        if psutil.pid_exists(pid) and psutil.Process(pid).name().startswith("postgres"):
            yield psutil.Process(pid)


def computed(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Seconds computed in between, also by processes that began in between."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
