"""Errors in the API's form, for code that answers outside DRF: handlers, middleware, the server."""

import json
from typing import Any

CSRF_FAILED = "The page is out of date: reload it."
# The headers that Django's middleware adds to all other answers.
PRIVATE = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


def error_body(code: str, detail: str, *, kind: str = "client_error") -> dict[str, Any]:
    return {"type": kind, "errors": [{"code": code, "detail": detail, "attr": None}]}


def closing_answer(
    content: dict[str, Any], wait: int | None = None
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an answer that closes the connection; `wait` is in seconds."""
    raw = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"connection", b"close"),  # the rest of the body is not read
        *PRIVATE,
    ]
    return [*headers, (b"retry-after", str(wait).encode())] if wait else headers, raw
