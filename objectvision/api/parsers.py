"""What reads the bodies of requests."""

import codecs
from collections import Counter
from typing import IO, Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.utils import json

from objectvision.api.field_names import repeated_faults


class JSONParser(parsers.JSONParser):  # the one that all views use
    """Refuses an object that has a name twice, of which Python would take the last."""

    def parse(self, stream: IO[bytes], _media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            text: Any = codecs.getreader(encoding_of(parser_context))(stream)
            return json.load(text, parse_constant=json.strict_constant, object_pairs_hook=single_names)
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error


def encoding_of(parser_context: Any) -> str:
    return str(parsers.get_encoding(parser_context))  # type: ignore[attr-defined]  # newer than the stubs


def single_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these names and values. Raises ValidationError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValidationError(repeated_faults(name for name, count in counts.items() if count > 1))
    return found
