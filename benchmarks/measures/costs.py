"""What an image and a process cost: statements, time of processors, memory, seconds to start."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import loads, processes, statements
from benchmarks.figures import Figure, Figures, Measure, Row, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psutil

    from benchmarks.systems import Systems

FEW, MANY = 2, 15
"""Images of a chunk. A full one, of 16, wakes another worker."""

QUIET_SECONDS = 0.5


def take_statements(systems: Systems) -> Figures:
    """From the request for a photo to its answer, in all processes; for a chunk, in the worker."""
    stack, log = systems.counted, systems.statements_log
    client = stack.shared_client
    with processes.inference_workers(stack, processes.every_core()) as [name]:
        loads.detect(client, systems.photos[0])
        worker = processes.child_of(stack, name).pid
        return {
            "photo": median(
                statements_of(log, partial(loads.detect, client, photo)) for photo in systems.singles
            ),
            **{
                f"chunk of {size}": statements_of_chunk(client, systems.photos[:1] * size, log, worker)
                for size in (FEW, MANY)
            },
        }


def statements_of(log: Path, act: Callable[[], None]) -> int:
    wait_until_quiet(log)
    before = statements.counted(log)
    act()
    return statements.counted(log) - before


def statements_of_chunk(client: Any, photos: list[bytes], log: Path, worker: int) -> float:
    wait_until_quiet(log)
    before = statements.counted(log, worker)
    loads.wait_for_job(client, loads.send_batch(client, photos), len(photos))
    wait_until_quiet(log)
    return float(statements.counted(log, worker) - before)


def wait_until_quiet(log: Path) -> None:
    """A worker looks for more work after it has answered."""
    last = -1
    while (count := statements.counted(log)) != last:
        last = count
        time.sleep(QUIET_SECONDS)


STATEMENTS = Measure(
    take=take_statements,
    rows=[
        Row("photo", "statements", target=Target(most=15)),
        Row(f"chunk of {MANY}", "statements", f"chunk of {FEW}", Target(most=1)),
    ],
)


def take_cpu(systems: Systems) -> Figures:
    """Milliseconds of processors an image, in batches and one by one."""
    client = systems.production.shared_client
    batches = [systems.photos] * 2
    return {
        **cpu_of(systems, "batch", sum(map(len, batches)), lambda: loads.batches_per_second(client, batches)),
        **cpu_of(
            systems,
            "single",
            len(systems.singles),
            lambda: loads.milliseconds_of_one(client, systems.singles),
        ),
    }


def cpu_of(systems: Systems, kind: str, images: int, act: Callable[[], object]) -> dict[str, Figure]:
    before = processes.cpu_seconds(systems.production)
    act()
    after = processes.cpu_seconds(systems.production)
    return {
        f"{kind}, {part}": processes.spent(before[part], after[part]) * 1000 / images
        if after[part]
        else "runs on another machine"
        for part in after
    }


CPU = Measure(
    take=take_cpu,
    rows=[
        Row(f"{kind}, {part}", "CPU-ms an image")
        for kind in ("batch", "single")
        for part in ("web", "worker", "PostgreSQL")
    ],
)


def take_export(systems: Systems) -> Figures:
    """How much the worker grows while it exports everything of a user with many results."""
    client = systems.large.many
    worker = processes.child_of(systems.large.stack, "default")
    highest_during(client, worker, created_before="2000-01-01T00:00:00Z")  # of nothing, to be warm
    idle = processes.megabytes(worker)
    return {"memory over idle": highest_during(client, worker) - idle}


def highest_during(client: Any, worker: psutil.Process, **filters: str) -> float:
    """The most megabytes that the worker has during an export."""
    answer = client.post("detect/exports", json={"format": "coco", **filters})
    answer.raise_for_status()
    seen = []

    def ended() -> str | None:
        seen.append(processes.megabytes(worker))
        status = str(client.http.get(answer.headers["Location"]).json()["status"])
        return status if status in {"completed", "failed"} else None

    if loads.until(ended) == "failed":
        raise loads.LoadError("The export failed.")
    return max(seen)


EXPORT = Measure(
    take=take_export,
    rows=[Row("memory over idle", "MB", target=Target(most=64))],
)


def take_start(systems: Systems) -> Figures:
    """A worker that starts while a photo waits; memory after some more photos."""
    stack = systems.spare
    client = stack.shared_client
    job = loads.send_batch(client, systems.photos[:1])
    started = time.time()
    with processes.inference_workers(stack, processes.every_core()) as [name]:
        seconds = loads.wait_for_job(client, job, 1) - started
        loads.batches_per_second(client, [systems.singles])
        return {
            "worker to first result": seconds,
            "worker": processes.megabytes(processes.child_of(stack, name)),
            "web": processes.megabytes(processes.child_of(stack, "web")),
        }


START = Measure(
    take=take_start,
    rows=[
        Row("worker to first result", "s", target=Target(most=6)),
        Row("worker", "MB", target=Target(most=350)),
        Row("web", "MB", target=Target(most=150)),
    ],
)
