"""What processes count and measure, for Prometheus. It is kept in files that all of them share."""

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, values
from prometheus_client.samples import Sample

from objectvision.lib import metric_files

values.ValueClass = metric_files.LateValue  # before the first metric is made

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
NOT_ALLOWED = 405
ADMIN = "/admin/"  # one series for its hundred routes
MEASURED_SECONDS = 5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BUCKET = "_bucket"

Series = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample, and its labels."""

registry = CollectorRegistry()

REQUESTS = Counter(
    "objectvision_requests_total",
    "Requests that have ended.",
    ["method", "route", "status"],
    registry=registry,
)
REQUEST_SECONDS = Histogram(
    "objectvision_request_duration_seconds",
    "From a request's first byte to the last one of its answer.",
    ["method", "route"],
    registry=registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IMAGES = Counter(
    "objectvision_images_processed_total",
    "Images that workers have processed.",
    ["detector", "outcome"],
    registry=registry,
)
FAILURES = Counter(
    "objectvision_image_failures_total",
    "Images that have failed, in a worker or as a bad file of a batch.",
    ["code"],
    registry=registry,
)
OBJECTS = Counter(
    "objectvision_objects_total",
    "Objects found.",
    ["detector"],
    registry=registry,
)
STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
DECODE_SECONDS = Histogram(
    "objectvision_decode_seconds", "From an image's bytes to its pixels.", registry=registry, buckets=STEPS
)
INFERENCE_SECONDS = Histogram(
    "objectvision_inference_seconds",
    "From an image's pixels to its boxes.",
    ["detector"],
    registry=registry,
    buckets=STEPS,
)
SAVE_SECONDS = Histogram(
    "objectvision_save_seconds",
    "Saving the results of a chunk of images.",
    registry=registry,
    buckets=STEPS,
)
MAILS = Counter("objectvision_mails_total", "Attempts to send a mail.", ["outcome"], registry=registry)
WEBHOOK_ATTEMPTS = Counter(
    "objectvision_webhook_attempts_total", "Requests to webhooks.", ["outcome"], registry=registry
)
STREAMS = Gauge(
    "objectvision_streams_open",
    "Streams of events that clients have open.",
    ["kind"],
    registry=registry,
    multiprocess_mode="livesum",
)
POOL = Gauge(
    "objectvision_database_pool_connections",
    "Connections of the processes' pools.",
    ["state"],
    registry=registry,
    multiprocess_mode="livesum",
)
POOL_USED, POOL_IDLE = POOL.labels("used"), POOL.labels("idle")
POOL_WAITING = Gauge(
    "objectvision_database_pool_waiting",
    "Requests that wait for a connection.",
    registry=registry,
    multiprocess_mode="livesum",
)
POOL_SIZE = Gauge(
    "objectvision_database_pool_size",
    "The most connections that the processes' pools may have.",
    registry=registry,
    multiprocess_mode="livesum",
)
PROCESSES = Gauge(
    "objectvision_processes",
    "Processes that record metrics, by what they are for.",
    ["process"],
    registry=registry,
    multiprocess_mode="livesum",
)
MEMORY = Gauge(
    "objectvision_process_memory_bytes",
    "Resident memory of all processes of a kind together.",
    ["process"],
    registry=registry,
    multiprocess_mode="livesum",
)
# From the start at 0, so that the first one is seen as an increase.
for outcome in ("sent", "deferred", "failed", "dropped"):
    MAILS.labels(outcome)
for outcome in ("delivered", "failed"):
    WEBHOOK_ATTEMPTS.labels(outcome)
for kind in ("websocket", "sse"):
    STREAMS.labels(kind)


class Process:
    """What this process is for, and when its memory is measured again."""

    kind = ""
    due = 0.0


def begin(process: str) -> None:
    """Record in this process, and in those that it forks, if `/metrics` is open to a client at all."""
    if Process.kind or not settings.HAS_METRICS:
        return
    Process.kind = process
    metric_files.begin()
    measure_process()


def measure_process() -> None:
    """Measure this process, unless it was a moment ago."""
    if not Process.kind or time.monotonic() < Process.due:
        return
    Process.due = time.monotonic() + MEASURED_SECONDS
    PROCESSES.labels(Process.kind).set(1)
    with suppress(FileNotFoundError):  # not on Linux
        _, resident, *_ = Path("/proc/self/statm").read_text().split()
        MEMORY.labels(Process.kind).set(int(resident) * PAGE_BYTES)


def forget_measurement() -> None:
    Process.due = 0.0


os.register_at_fork(after_in_child=forget_measurement)


def record_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that has ended; no route if none matches its path."""
    known = method if method in METHODS else "other"
    # Any client could make a series for each method that a route does not take.
    matched = route if route and status != NOT_ALLOWED else UNMATCHED
    if matched.startswith(ADMIN):
        matched = ADMIN
    REQUESTS.labels(known, matched, str(status)).inc()
    REQUEST_SECONDS.labels(known, matched).observe(seconds)
    measure_process()


def count_failed(detector: str, codes: Collection[str]) -> None:
    """Count images that a worker gave up."""
    IMAGES.labels(detector, "failed").inc(len(codes))
    for code in codes:
        FAILURES.labels(code).inc()


def record_pool(stats: dict[str, int]) -> None:
    idle = stats["pool_available"]
    POOL_IDLE.set(idle)
    POOL_USED.set(stats["pool_size"] - idle)
    POOL_WAITING.set(stats["requests_waiting"])
    POOL_SIZE.set(stats["pool_max"])


def collect() -> Iterator[Metric]:
    """What all processes have recorded."""
    metric_files.fold_dead()
    found: defaultdict[str, dict[Series, float]] = defaultdict(dict)
    for (name, sample, labels), value in metric_files.read_sums().items():
        found[name][sample, labels] = value
    for metric in registry.collect():
        make = cumulated if metric.type == "histogram" else as_samples
        metric.samples = make(found[metric.name])
        yield metric


def as_samples(values_of: Mapping[Series, float]) -> list[Sample]:
    return [Sample(name, dict(labels), value) for (name, labels), value in sorted(values_of.items())]


def cumulated(values_of: Mapping[Series, float]) -> list[Sample]:
    """Each bucket holds all smaller ones, as Prometheus wants it, and the last one is the count."""
    buckets: defaultdict[Series, list[tuple[float, Sample]]] = defaultdict(list)
    others = []
    for sample in as_samples(values_of):
        if not sample.name.endswith(BUCKET):
            others.append(sample)
            continue
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        series = sample.name.removesuffix(BUCKET), tuple(labels.items())
        buckets[series].append((float(sample.labels["le"]), sample))
    return [*others, *(each for series, found in buckets.items() for each in added_up(series, found))]


def added_up(series: Series, buckets: list[tuple[float, Sample]]) -> Iterator[Sample]:
    total = 0.0
    for _, sample in sorted(buckets, key=itemgetter(0)):
        total += sample.value
        yield sample._replace(value=total)
    name, labels = series
    yield Sample(f"{name}_count", dict(labels), total)
