import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from textwrap import indent
from typing import Any
from urllib.parse import unquote

import structlog
from structlog.typing import EventDict

from objectvision.lib import tracing

NO_REQUEST = "-"
JSON, LINE = "json", "line"
# Taken from the `extra` of a record, in this order. What else is there may hold bodies and query strings.
FIELDS = (
    "method", "route", "status", "task", "task_id", "outcome", "user_id", "detection_id", "export_id",
    "webhook_id", "delivery_id", "duration_ms",
)  # fmt: skip  # a list to read at a glance
# Includes the line separators that some log readers know besides the newline.
# Tokens of share links are 43 letters long, ids 36.
TOKEN = re.compile(r"[\w-]{40,}", re.ASCII)
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

LONGEST = 1000  # characters of a text: paths and methods may have 60,000

log = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)
# One dictionary a request, shared by its tasks and threads: they do not see what others set in a context.
_facts: ContextVar[dict[str, Any]] = ContextVar("facts")


def current_request() -> str:
    """The id of the current request; empty outside of one."""
    current = request_id.get()
    return "" if current == NO_REQUEST else current


@contextmanager
def on_behalf_of(request: str) -> Iterator[None]:
    """Log lines of this thread carry this request's id until the block ends; no id if it is empty."""
    token = request_id.set(request or NO_REQUEST)
    try:
        yield
    finally:
        request_id.reset(token)


@contextmanager
def gathering_facts() -> Iterator[dict[str, Any]]:
    """What `note` is told in this block, also by threads and tasks that begin in it."""
    facts: dict[str, Any] = {}
    token = _facts.set(facts)
    try:
        yield facts
    finally:
        _facts.reset(token)


def note(**known: Any) -> None:
    """Add facts (`route`, `user_id`, `detection_id`) to the line of the current request, if there is one."""
    _facts.get({}).update(known)


def without_tokens(text: str) -> str:
    return TOKEN.sub("[token]", text)


def path_without_tokens(raw: bytes) -> str:
    """The path as it came in; decoded only if a token is in it, perhaps percent-encoded."""
    path = raw.decode("latin-1")
    plain = unquote(path)
    return path if (masked := without_tokens(plain)) == plain else masked


class TokenFilter(logging.Filter):
    """For lines of Django that name the path of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_tokens(record.getMessage()), ()
        return True


def formatter(form: str) -> logging.Formatter:
    """Writes JSON or LINE, from the records of the standard library's logging, which libraries use too."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[describe],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            as_json if form == JSON else as_line,
        ],
    )


def describe(_logger: Any, level: str, event: EventDict) -> EventDict:
    record = vars(event["_record"])
    at = datetime.fromtimestamp(record["created"], UTC).isoformat(timespec="milliseconds")
    described = {"timestamp": at.replace("+00:00", "Z"), "level": level, "logger": record["name"], **event}
    if request := current_request():
        described["request_id"] = request
    if traceparent := tracing.current_traceparent():
        described["trace_id"] = traceparent.split("-")[1]
    facts = {name: record[name] for name in FIELDS if record.get(name) is not None}
    texts = {"event": event["event"], **facts}
    return described | {name: shortened(known) for name, known in texts.items()}


def shortened(known: Any) -> Any:
    return f"{known[:LONGEST]}…" if isinstance(known, str) and len(known) > LONGEST else known


def as_json(_logger: Any, _level: str, event: EventDict) -> str:
    """In ASCII: no control character is left for terminals and readers of lines."""
    return json.dumps(event, default=str).replace("\x7f", "\\u007f")


def as_line(_logger: Any, level: str, event: EventDict) -> str:
    """One line, and indented ones of a traceback: a client's text never begins a line."""
    request = event.get("request_id", NO_REQUEST)
    facts = [f" {name}={event[name]}" for name in FIELDS if name in event]
    line = (
        f"{event['timestamp']} {level.upper()} {event['logger']} [{request}] {event['event']}{''.join(facts)}"
    )
    below = [event[name] for name in ("exception", "stack_info") if name in event]
    return "\n".join([escaped(line), *(indented(lines) for lines in below)])


def escaped(text: str) -> str:
    return CONTROLS.sub(lambda control: control[0].encode("unicode_escape").decode(), text)


def indented(lines: str) -> str:
    return "\n".join(indent(escaped(line), "  ") for line in lines.split("\n"))


def take_over_output() -> None:
    """For processes that serve: log to standard output, also the warnings and errors that Python prints.

    Commands write their results there, and log to standard error.
    """
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setStream(sys.stdout)
    logging.captureWarnings(capture=True)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda failure: log_uncaught(
        failure.exc_type, failure.exc_value, failure.exc_traceback
    )
    sys.unraisablehook = lambda failure: log_uncaught(
        failure.exc_type, failure.exc_value, failure.exc_traceback
    )


def log_uncaught(kind: Any, error: Any, trace: Any) -> None:
    if kind is not SystemExit:  # a thread may end by it
        log.critical("Uncaught: %s", kind.__name__, exc_info=(kind, error, trace))


def write_past_locks(message: str, file: Any = sys.__stderr__) -> None:
    """For handlers of signals, which may have interrupted the writing of another line."""
    (handler, *_) = logging.getLogger().handlers
    record = logging.LogRecord(log.name, logging.INFO, __file__, 0, message, (), None)
    os.write(file.fileno(), f"{handler.format(record)}\n".encode())


class OnceAMinuteFilter(logging.Filter):
    """Lets one record a minute through, in each process."""

    def __init__(self) -> None:
        super().__init__()
        self.silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self.silent_until:
            return False
        self.silent_until = record.created + 60
        return True
