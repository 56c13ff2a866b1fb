"""What an image costs each part and leaves behind: the figures that docs/scaling.md computes with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import loads
from benchmarks.figures import Figure, Figures, Measure, Row
from benchmarks.measures import costs

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.systems import Systems

ROWS = {
    "detection": "detections_detection",
    "image": "detections_detectionimage",
    "result": "detections_detectionresult",
}
PARTS = ("web", "worker", "PostgreSQL")
WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8"
ROW_BYTES = "SELECT pg_total_relation_size('{0}')::float8 / count(*) FROM {0}"


def take_capacity(systems: Systems) -> Figures:
    """Of photos in batches, and of photos one by one from many clients; bytes of rows with their indexes."""
    client, photos = systems.production.shared_client, systems.photos
    acts = {
        "batch": partial(loads.batches_per_second, client, [photos]),
        "singles": partial(loads.singles_per_second, client, photos),
    }
    figures: dict[str, Figure] = {}
    for kind, act in acts.items():
        figures |= spent_on(systems, kind, len(photos), act)
    return figures | {
        name: systems.large.stack.value(ROW_BYTES.format(table)) for name, table in ROWS.items()
    }


def spent_on(systems: Systems, kind: str, images: int, act: Callable[[], object]) -> dict[str, Figure]:
    stack = systems.production
    before = written(stack)
    figures = costs.cpu_of(systems, kind, images, act)
    after = written(stack)
    return figures | {f"{kind}, {name}": (after[name] - before[name]) / images for name in after}


def written(stack: Any) -> dict[str, float]:
    """Of the whole server of PostgreSQL, so nothing else may use it; of the system's own Redis."""
    return {"WAL": stack.value(WAL), "Redis": float(redis_fact(stack, "total_commands_processed"))}


def redis_fact(stack: Any, name: str) -> str:
    lines: list[str] = stack.redis_cli("INFO").stdout.decode().splitlines()
    return next(line.removeprefix(f"{name}:") for line in lines if line.startswith(f"{name}:"))


CAPACITY = Measure(
    take=take_capacity,
    rows=[
        *(Row(f"{kind}, {part}", "CPU-ms an image") for kind in ("batch", "singles") for part in PARTS),
        *(Row(f"{kind}, WAL", "bytes an image") for kind in ("batch", "singles")),
        *(Row(f"{kind}, Redis", "commands an image") for kind in ("batch", "singles")),
        *(Row(name, "bytes a row") for name in ROWS),
    ],
)
