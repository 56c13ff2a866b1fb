"""How much pages cost with many rows behind them, and how much a job's status costs at all."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks import loads
from benchmarks.figures import Figures, Measure, Row, Target

if TYPE_CHECKING:
    from benchmarks.systems import Systems

PAGES = {
    "first page": ("detect/history", 1.3),
    "offset": ("detect/history?offset={half}", 2.5),
    "by class": ("detect/history?object_class=person", 2.5),
    "by name": ("detect/history?search=photo", 5),
    "results": ("detect/results?object_class=person&min_confidence=0.9", 2),
}
"""Addresses of pages, and how many times as long each may take with many rows."""

STATUS_CLIENTS = 2
FAR_YEAR = 3000


def take_history(systems: Systems) -> Figures:
    """The same pages for a user with many rows and for one with few: from rows, and once they are kept."""
    owners = {"many": systems.large.many, "few": systems.large.few}
    half, times = systems.sizes.detections // 2, systems.sizes.pages
    return {
        f"{name}, {way}{amount}": milliseconds_of(client, addresses(path.format(half=half), times))
        for name, (path, _) in PAGES.items()
        for way, addresses in WAYS.items()
        for amount, client in owners.items()
    }


def never_kept(path: str, times: int) -> list[str]:
    joint = "&" if "?" in path else "?"
    return [f"{path}{joint}created_before={FAR_YEAR + number}-01-01T00:00:00Z" for number in range(times)]


def asked_again(path: str, times: int) -> list[str]:
    return [path] * times


WAYS = {"": never_kept, "again, ": asked_again}


def milliseconds_of(client: Any, addresses: list[str]) -> float:
    return loads.p50(lambda address: client.get(address).raise_for_status(), addresses)


HISTORY = Measure(
    take=take_history,
    rows=[
        Row(f"{name}, {way}many", "ms", f"{name}, {way}few", Target(most=most))
        for name, (_, most) in PAGES.items()
        for way in WAYS
    ],
)


def take_job_status(systems: Systems) -> Figures:
    """The same JSON from the same process, by the API and by a view that only authenticates."""
    client = systems.spare.shared_client
    job = loads.send_batch(client, systems.photos[:1])
    figures = {
        "API": requests_per_second(systems, f"/api/v1/detect/jobs/{job}"),
        "bare view": requests_per_second(systems, f"/bare/jobs/{job}"),
    }
    client.post(f"detect/jobs/{job}/cancel").raise_for_status()  # no worker of another measure finds it
    return figures


def requests_per_second(systems: Systems, path: str) -> float:
    each = systems.sizes.requests // STATUS_CLIENTS
    started = time.perf_counter()
    with ThreadPoolExecutor(STATUS_CLIENTS) as threads:
        list(threads.map(partial(ask_often, systems.spare, path), [each] * STATUS_CLIENTS))
    return each * STATUS_CLIENTS / (time.perf_counter() - started)


def ask_often(stack: Any, path: str, times: int) -> None:
    """With the standard library's client, which leaves the most of the processor to the server."""
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc)
    headers = {"Authorization": stack.shared_client.http.headers["Authorization"]}
    for _ in range(times):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise loads.LoadError(f"{path}: {answer.status} {body!r}")
    connection.close()


JOB_STATUS = Measure(
    take=take_job_status,
    rows=[Row("API", "requests/s", "bare view", Target(least=0.7))],
)
