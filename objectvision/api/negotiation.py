"""What a client takes: views with one representation, and answers that the client has already."""

from hashlib import sha256
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework import status
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request


class OneForm(BaseContentNegotiation):
    """One parser, one renderer: `Accept` and `Content-Type` are ignored."""

    def select_parser(self, _request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, _request: Request, renderers: Any, _suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class OneAnswer(DefaultContentNegotiation):
    """One renderer: `Accept` is ignored, but the body must have a type that the view takes."""

    def select_renderer(self, _request: Request, renderers: Any, _suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def conditional_headers(*parts: Any) -> dict[str, str]:
    """Of a private answer that the client keeps and asks for again; its ETag changes with any of these parts.

    The parts say all that the answer depends on, the credential included.
    """
    text = repr((settings.SPECTACULAR_SETTINGS["VERSION"], *parts))
    return {
        "ETag": f'"{sha256(text.encode()).hexdigest()[:32]}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Authorization, Cookie, X-API-Key",
    }


def not_modified(request: HttpRequest | Request, headers: dict[str, str]) -> HttpResponseBase | None:
    """A 304 if the client's `If-None-Match` names the answer's ETag, else None."""
    known = HttpResponse(headers=headers)
    response = get_conditional_response(request, etag=headers.get("ETag"), response=known)
    if response is None or response.status_code != status.HTTP_304_NOT_MODIFIED:
        return None
    return response
