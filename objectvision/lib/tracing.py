"""Spans of traces: what was done for a request, and when, in all processes.

Rows carry the context (`traceparent`), as messages carry no data. Without OTEL_EXPORTER_OTLP_ENDPOINT nothing
of OpenTelemetry is imported, and these functions do nothing.
"""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any

NOTHING = nullcontext()

_recorder: list[ModuleType] = []  # `lib.spans`, once recording has begun


def import_redis_alone() -> None:
    """Import the client of Redis as where OpenTelemetry is not installed: else it would import its SDK."""
    modules: dict[str, Any] = sys.modules
    if not {"opentelemetry", "redis"} & modules.keys():
        modules["opentelemetry"] = None  # to import it fails
        import_module("redis")
        del modules["opentelemetry"]


def begin_recording() -> None:
    """Before the first connection of this process: those that exist are not traced."""
    _recorder.append(import_module("objectvision.lib.spans"))
    _recorder[0].trace_libraries()


def request_span(
    method: str, path: str, headers: Iterable[tuple[bytes, bytes]]
) -> AbstractContextManager[None]:
    """The span of a request, which begins a trace or continues the client's. None for probes and files."""
    return _recorder[0].request_span(method, path, headers) if _recorder else NOTHING


def describe_request(route: str, status: int, request_id: str) -> None:
    """Say what the current request was. Nothing else that a client sent gets into its span."""
    if _recorder:
        _recorder[0].describe_request(route, status, request_id)


def span(name: str, *rows: str, calls: bool = False, **attributes: Any) -> AbstractContextManager[None]:
    """A span around the block, for these rows, given by their `traceparent`.

    For one row it is a part of the row's trace, for several a trace of its own with links to theirs, and
    without any a part of what is under way. None where there is no trace. `calls`: another service is called.
    """
    return _recorder[0].span(name, rows, attributes, calls=calls) if _recorder else NOTHING


def record_span(name: str, row: str, start: datetime, end: datetime) -> None:
    """A span of the row's trace, that has ended."""
    if _recorder:
        _recorder[0].record_span(name, row, start, end)


def describe(**attributes: Any) -> None:
    """Add attributes to the current span."""
    if _recorder:
        _recorder[0].describe(attributes)


def current_traceparent() -> str:
    """The current span, for a row (W3C Trace Context). Empty without one, or where it is not recorded."""
    return _recorder[0].current_traceparent() if _recorder else ""


def send_spans() -> None:
    """Send what is recorded, before the process ends. Takes a second at most: a collector may hang."""
    if _recorder:
        _recorder[0].send_spans()
