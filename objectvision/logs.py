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


class RequestIdFilter(logging.Filter):
    """Puts the id of the request that is served or worked for, or `-`, on every log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class QueryFilter(logging.Filter):
    """Leaves the query out of uvicorn's access log: mailed links carry their secret in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "uvicorn.access" and isinstance(record.args, tuple):
            record.args = tuple(
                value.partition("?")[0] if isinstance(value, str) else value for value in record.args
            )
        return True
