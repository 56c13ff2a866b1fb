"""Content negotiation for views with one representation."""

from typing import Any

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
