"""Short forms of drf-spectacular's examples, which the API's document shows."""

from typing import Any

from drf_spectacular.utils import OpenApiExample


def sent(value: Any, media_type: str = "application/json") -> OpenApiExample:
    return OpenApiExample("Request", value, request_only=True, media_type=media_type)


def answered(value: Any, *codes: int) -> OpenApiExample:
    """With these status codes; 200 and 201 where none is named."""
    named = [str(code) for code in codes or (200, 201)]
    return OpenApiExample("Answer", value, response_only=True, status_codes=named)
