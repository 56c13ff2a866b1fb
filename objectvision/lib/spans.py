"""What `tracing` does where a collector is configured. Nothing else imports this module."""

import atexit
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import cache
from http import HTTPMethod, HTTPStatus
from typing import Any

from celery.signals import worker_process_shutdown
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from objectvision.lib.threads import run_in_thread

NAME = "objectvision"
SEND_SECONDS = 1
LONGEST_ATTRIBUTE = 1000  # characters: statements that save many rows are long
# Asked for all the time, and about nothing.
UNTRACED = re.compile(r"(/api/v1)?/health|/metrics$|/static/|/favicon\.ico$")
METHODS = frozenset(HTTPMethod)
QUIETLY = {"record_exception": False, "set_status_on_exception": False}

propagator = TraceContextTextMapPropagator()


def trace_libraries() -> None:
    for library in (PsycopgInstrumentor(), RedisInstrumentor()):
        library.instrument(tracer_provider=LibraryTracers())


@cache
def provider() -> TracerProvider:
    """Made by the first span of a process: a fork would not inherit the thread that sends."""
    own = Resource.create({"service.name": NAME})
    made = TracerProvider(
        resource=own.merge(OTELResourceDetector().detect()),
        span_limits=SpanLimits(max_span_attribute_length=LONGEST_ATTRIBUTE),
        shutdown_on_exit=False,  # it would wait for a collector that hangs
    )
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(send_spans)
    worker_process_shutdown.connect(send_spans)  # the last receiver: the others end spans
    return made


def send_spans(**_: Any) -> None:
    if provider.cache_info().currsize:
        wait([run_in_thread(provider().force_flush, "spans")], SEND_SECONDS)


@cache
def tracer() -> trace.Tracer:
    return provider().get_tracer(NAME)


@contextmanager
def recorded(span: Span) -> Iterator[Span]:
    """The span, current until the block ends. Of an error it keeps the type: the text may hold anything."""
    with trace.use_span(span, end_on_exit=True, **QUIETLY):
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


class LibraryTracers(trace.TracerProvider):
    @override
    def get_tracer(self, *names: Any, **_: Any) -> trace.Tracer:
        return LibraryTracer(names)


class LibraryTracer(trace.Tracer):
    """For statements and commands. They have spans inside of traces only."""

    def __init__(self, names: Sequence[Any]) -> None:
        self._names = names

    @override
    def start_span(self, name: str, *arguments: Any, **options: Any) -> Span:
        return provider().get_tracer(*self._names).start_span(name, *arguments, **options)

    @override
    def start_as_current_span(self, name: str, *arguments: Any, **options: Any) -> Any:
        if not trace.get_current_span().is_recording():
            return nullcontext(trace.INVALID_SPAN)
        return recorded(self.start_span(name, *arguments, **options))


@contextmanager
def request_span(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    if UNTRACED.match(path):
        yield
        return
    # Not `tracestate`: nothing here passes it on, and the library logs what it cannot read of it.
    sent = dict(headers).get(b"traceparent", b"").decode("latin-1")
    known = method if method in METHODS else "HTTP"
    parent = propagator.extract({"traceparent": sent}, Context())
    with recorded(tracer().start_span(known, parent, SpanKind.SERVER)):
        yield


def describe_request(route: str, status: int, request_id: str) -> None:
    span = trace.get_current_span()
    if not span.is_recording():
        return
    method = getattr(span, "name", "")
    span.update_name(f"{method} {route}".strip())
    span.set_attributes({"http.request.method": method, "http.route": route, "request_id": request_id})
    span.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(StatusCode.ERROR)


@contextmanager
def span(name: str, rows: Sequence[str], attributes: Mapping[str, Any], *, calls: bool) -> Iterator[None]:
    place = place_of(rows)
    if place is None:
        yield
        return
    kind = SpanKind.CLIENT if calls else SpanKind.INTERNAL
    with recorded(tracer().start_span(name, kind=kind, attributes=plain(attributes), **place)):
        yield


def record_span(name: str, row: str, start: datetime, end: datetime) -> None:
    if place := place_of([row]):
        until = nanoseconds(end)
        tracer().start_span(name, start_time=min(nanoseconds(start), until), **place).end(until)


def place_of(rows: Sequence[str]) -> dict[str, Any] | None:
    """The context and the links of a span that is for these rows. None outside of a trace."""
    here = trace.get_current_span()
    there = [context_of(row) for row in dict.fromkeys(rows) if row]
    match there:
        case []:
            return {"context": None} if here.is_recording() else None
        case [only]:
            known = here.get_span_context()
            if known.trace_id == only.trace_id:
                return {"context": None}
            links = [Link(known)] if here.is_recording() else []
            return {"context": trace.set_span_in_context(NonRecordingSpan(only), Context()), "links": links}
        case _:
            return {"context": Context(), "links": [Link(each) for each in there]}


def context_of(traceparent: str) -> SpanContext:
    context = propagator.extract({"traceparent": traceparent}, Context())
    return trace.get_current_span(context).get_span_context()


def describe(attributes: Mapping[str, Any]) -> None:
    trace.get_current_span().set_attributes(plain(attributes))


def plain(attributes: Mapping[str, Any]) -> dict[str, str | int]:
    return {name: value if isinstance(value, int) else str(value) for name, value in attributes.items()}


def current_traceparent() -> str:
    carrier: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        propagator.inject(carrier)
    return carrier.get("traceparent", "")


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
