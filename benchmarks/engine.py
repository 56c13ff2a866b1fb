"""The limit: OpenVINO alone, in a loop over a ready tensor. Prints images a second.

It runs as a process of its own, so that no other measure shares its threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from detections.inference.checkpoints import find_weights
from detections.inference.runtimes import import_openvino

WARM_UP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="an OpenVINO folder")
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    requests = ready_requests(arguments.model)
    infer_all(requests, WARM_UP)
    started = time.perf_counter()
    infer_all(requests, arguments.images)
    sys.stdout.write(f"{arguments.images / (time.perf_counter() - started)}\n")


def ready_requests(folder: Path) -> list[Any]:
    """As many inference requests as the runtime recommends for throughput, each with an input."""
    ov = import_openvino()
    import numpy as np

    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(find_weights(folder)), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}
    )
    requests = [
        compiled.create_infer_request()
        for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]
    pixels = np.random.default_rng(0).random(tuple(compiled.input().shape), np.float32)
    for request in requests:
        request.set_input_tensor(ov.Tensor(pixels.copy()))
    return requests


def infer_all(requests: list[Any], images: int) -> None:
    """A thread for each request, as the project's lanes are."""
    shares = [len(range(first, images, len(requests))) for first in range(len(requests))]
    with ThreadPoolExecutor(len(requests)) as threads:
        list(threads.map(infer_often, requests, shares))


def infer_often(request: Any, times: int) -> None:
    for _ in range(times):
        request.infer()


if __name__ == "__main__":
    main()
