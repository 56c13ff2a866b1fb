"""Short forms of drf-spectacular's examples, for the API's document."""

from typing import Any

from drf_spectacular.utils import OpenApiExample


def sent(value: Any, media_type: str = "application/json") -> OpenApiExample:
    return OpenApiExample("Request", value, request_only=True, media_type=media_type)


def answered(value: Any, *codes: int) -> OpenApiExample:
    """An answer with these status codes, by default 200 and 201."""
    named = [str(code) for code in codes or (200, 201)]
    return OpenApiExample("Answer", value, response_only=True, status_codes=named)
