"""Serializer fields that take what the API's document says, and nothing that only resembles it.

DRF's own take `0` for false, `5` for "5" and "5" for 5, in JSON too, where types are told apart.
"""

from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils import html


class QuerySerializer(serializers.Serializer[Any]):
    """Reads a query string, given as a dict: of texts, none of which is a blank form's field."""


class Strict(serializers.Field):  # type: ignore[type-arg]  # a mixin
    """In JSON the value has one of `json_types`; forms and query strings know texts alone."""

    json_types: tuple[type, ...]

    def run_validation(self, data: Any = empty) -> Any:
        given = data is not empty and data is not None
        if given and not self.is_from_form() and not self.has_json_type(data):
            self.fail("invalid")
        return super().run_validation(data)

    def is_from_form(self) -> bool:
        is_query = isinstance(self.root, QuerySerializer)
        return is_query or html.is_html_input(getattr(self.root, "initial_data", None))

    def has_json_type(self, data: Any) -> bool:
        is_truth = isinstance(data, bool)  # Python counts it among the integers
        return isinstance(data, self.json_types) and is_truth == (bool in self.json_types)


class TextField(Strict, serializers.CharField):
    json_types = (str,)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.trim_whitespace and not self.allow_blank:
            # For the document, which knows no `blank`: spaces alone are refused before this is asked.
            self.validators.append(RegexValidator(r"\S"))


class NumberField(Strict, serializers.FloatField):
    json_types = (int, float)


class IntegerField(Strict, serializers.IntegerField):
    json_types = (int, float)  # 5.0 is a whole number, says JSON Schema; 5.5 is refused later


class TruthField(Strict, serializers.BooleanField):
    json_types = (bool,)
    default_error_messages = {"invalid": "Must be true or false."}  # noqa: RUF012  # DRF's form

    def to_internal_value(self, data: Any) -> bool:
        truths = {"true": True, "false": False}
        if isinstance(data, bool):
            return data
        if not isinstance(data, str) or data.lower() not in truths:
            self.fail("invalid")
        return truths[data.lower()]


class TextListField(serializers.Field):  # type: ignore[type-arg]  # of what, says `to_internal_value`
    """A list of texts, refused as a whole: the document cannot name the error of one item."""

    default_error_messages = {  # noqa: RUF012  # DRF's form
        "invalid": "Must be a list of texts of 1 to {text_length} characters.",
        "max_length": "Must have at most {length} items.",
    }

    def __init__(self, *, length: int, text_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.length = length
        self.text_length = text_length

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not all(map(self.is_fine, data)):
            self.fail("invalid", text_length=self.text_length)
        if len(data) > self.length:
            self.fail("max_length", length=self.length)
        return data

    def is_fine(self, item: Any) -> bool:
        return isinstance(item, str) and 0 < len(item) <= self.text_length and is_storable(item)

    def to_representation(self, value: list[str]) -> list[str]:
        return value


def is_storable(text: str) -> bool:
    """Databases take neither NUL nor halves of a character, which JSON can spell."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
