"""How many images a second, and how long one photo takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks import loads, processes
from benchmarks.figures import Figure, Figures, Measure, Row, Target
from benchmarks.peers.running import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.running import Peer
    from benchmarks.systems import Systems

PER_SECOND = "images/s"


def of_peers(systems: Systems, use: Callable[[Peer], float]) -> dict[str, Figure]:
    return {name: systems.peers.figure(name, use) for name in LIBRARIES}


def take_batch(systems: Systems) -> Figures:
    """Two requests of many photos each."""
    return {
        "production": loads.batches_per_second(systems.production.shared_client, [systems.photos] * 2),
        "engine": systems.engine(),
        "torch, a task an image": systems.original(),
        **of_peers(systems, partial(loads.peer_per_second, pictures=systems.photos * 2)),
    }


BATCH = Measure(
    take=take_batch,
    rows=[
        Row("production", PER_SECOND, "engine", Target(least=0.8)),
        Row("production", PER_SECOND, "LitServe", Target(least=1.4)),
        Row("production", PER_SECOND, "torch, a task an image", Target(least=4)),
        Row("production", PER_SECOND, "inference-cpu", Target(least=1)),
        Row("production", PER_SECOND, "openvino-model-api", Target(least=1)),
    ],
)


def take_single(systems: Systems) -> Figures:
    """One photo after the other, the answer with the results."""
    return {
        "production": loads.milliseconds_of_one(systems.production.shared_client, systems.singles),
        **of_peers(systems, partial(loads.peer_milliseconds, pictures=systems.singles)),
    }


SINGLE = Measure(
    take=take_single,
    rows=[
        Row("production", "ms", "LitServe", Target(most=1.3)),
        Row("production", "ms", "inference-cpu", Target(most=1)),
        Row("production", "ms", "openvino-model-api", Target(most=1)),
    ],
)


def take_large(systems: Systems) -> Figures:
    """Batches of photos of 12 megapixels."""
    batches = [systems.large_photos] * 2
    return {
        "production": loads.batches_per_second(systems.production.shared_client, batches),
        "LitServe": systems.peers.figure(
            "LitServe", partial(loads.peer_per_second, pictures=systems.large_photos * 2)
        ),
    }


LARGE = Measure(
    take=take_large,
    rows=[Row("production", PER_SECOND, "LitServe", Target(least=2))],
)


def take_embedded(systems: Systems) -> Figures:
    """Both ways to run, one after the other."""
    stacks = {"embedded": systems.embedded, "production": systems.production}
    return {
        f"{way} {kind}": figure
        for way, stack in stacks.items()
        for kind, figure in (
            ("batch", loads.batches_per_second(stack.shared_client, [systems.photos] * 2)),
            ("single", loads.milliseconds_of_one(stack.shared_client, systems.singles)),
        )
    }


EMBEDDED = Measure(
    take=take_embedded,
    rows=[
        Row("embedded batch", PER_SECOND, "production batch", Target(least=0.9)),
        Row("embedded single", "ms", "production single", Target(most=1.1)),
    ],
)


def take_workers(systems: Systems) -> Figures:
    """The same two cores, for two workers or for one."""
    first, second = (sorted(processes.every_core()) * 2)[:2]
    return {
        "two workers": per_second_with_workers(systems, {first}, {second}),
        "one worker": per_second_with_workers(systems, {first, second}),
    }


def per_second_with_workers(systems: Systems, *cores: set[int]) -> float:
    client = systems.spare.shared_client
    with processes.inference_workers(systems.spare, *cores):
        loads.batches_per_second(client, [systems.photos])  # every worker loads the detector
        return loads.batches_per_second(client, [systems.photos] * 2)


WORKERS = Measure(
    take=take_workers,
    rows=[Row("two workers", PER_SECOND, "one worker", Target(least=0.95))],
)
