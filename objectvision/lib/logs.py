import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NO_REQUEST = "-"

request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)


def current_request() -> str:
    """The id of the request that is served, or empty."""
    current = request_id.get()
    return "" if current == NO_REQUEST else current


@contextmanager
def on_behalf_of(request: str) -> Iterator[None]:
    """What is logged meanwhile, in this thread, carries the id of this request; of none if it is empty."""
    token = request_id.set(request or NO_REQUEST)
    try:
        yield
    finally:
        request_id.reset(token)


class OnceAMinuteFilter(logging.Filter):
    """What is said over and over is heard once a minute in each process."""

    def __init__(self) -> None:
        super().__init__()
        self.silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self.silent_until:
            return False
        self.silent_until = record.created + 60
        return True


class WithoutQueryFilter(logging.Filter):
    """Takes query strings off the lines of an access log: a signature or a token in one opens something."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


class RequestIdFilter(logging.Filter):
    """Puts the id of the request that is served or worked for, or `-`, on every log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True
