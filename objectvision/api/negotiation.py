from typing import Any

from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request


class OneForm(BaseContentNegotiation):
    """For what has one form only: it comes whatever `Accept` says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:  # noqa: ARG002  # DRF passes it
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:  # noqa: ARG002  # DRF passes it
        return renderers[0], renderers[0].media_type


class OneAnswer(DefaultContentNegotiation):
    """As `OneForm`, for what is answered alone: a body has to be of a type that the view takes."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:  # noqa: ARG002  # DRF passes it
        return renderers[0], renderers[0].media_type
