import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import indent
from typing import Any

from typing_extensions import override

NO_REQUEST = "-"
LINE = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
# Includes the line separators that some log readers know besides the newline.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

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


class LineFormatter(logging.Formatter):
    """One line a record, and indented lines of a traceback: a client's text never begins a line."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        return CONTROLS.sub(escaped, super().formatMessage(record))

    @override
    def formatException(self, ei: Any) -> str:
        return below(super().formatException(ei))

    @override
    def formatStack(self, stack_info: str) -> str:
        return below(super().formatStack(stack_info))


def escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()


def below(lines: str) -> str:
    return "\n".join(indent(CONTROLS.sub(escaped, line), "  ") for line in lines.split("\n"))


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


class WithoutQueryFilter(logging.Filter):
    """Removes query strings from access logs: they may hold signatures and tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


class RequestIdFilter(logging.Filter):
    """Puts the current request's id, or `-`, on every log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True
