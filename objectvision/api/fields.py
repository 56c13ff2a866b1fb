"""Serializer fields that take the types that the API's document names, and no others.

DRF's own fields take `0` for false, `5` for "5" and "5" for 5, even in JSON.
"""

from typing import Any, ClassVar
from uuid import UUID

from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils import html


def is_storable(text: str) -> bool:
    """Databases take neither NUL nor lone surrogates; JSON can spell both."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def number_in(text: str, most_digits: int) -> int:
    """The number in a text; 0 for any other text, and for more digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most_digits else 0


class QuerySerializer(serializers.Serializer[Any]):
    """Reads a query string, given as a dict of texts, where a view has no filters."""


class Strict(serializers.Field):  # type: ignore[type-arg]  # a mixin
    """In JSON the value has one of `json_types`; in forms and query strings every value is text."""

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
        is_bool = isinstance(data, bool)  # in Python a bool is an int
        return isinstance(data, self.json_types) and is_bool == (bool in self.json_types)


class TextField(Strict, serializers.CharField):
    json_types = (str,)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.trim_whitespace and not self.allow_blank:
            # For the document: DRF refuses blank texts by `allow_blank`, which JSON Schema does not have.
            self.validators.append(RegexValidator(r"\S"))


class Repeatable:
    """A field that forms and query strings may have several times."""


class TextsField(Repeatable, TextField):
    """A text, or a list of texts: several values of a form, or a list in JSON."""

    default_error_messages: ClassVar = {"too_many": "Send at most {length} of them."}
    most = 1000

    def get_value(self, dictionary: Any) -> Any:
        values = dictionary.getlist(self.field_name) if html.is_html_input(dictionary) else []
        return values if len(values) > 1 else super().get_value(dictionary)

    def run_validation(self, data: Any = empty) -> Any:
        if not isinstance(data, list):
            return super().run_validation(data)
        if len(data) > self.most:
            self.fail("too_many", length=self.most)
        return [super(TextsField, self).run_validation(text) for text in data]


class NumberField(Strict, serializers.FloatField):
    json_types = (int, float)


class IntegerField(Strict, serializers.IntegerField):
    json_types = (int, float)  # 5.0 is an integer in JSON Schema; the base class refuses 5.5


class TruthField(Strict, serializers.BooleanField):
    json_types = (bool,)
    default_error_messages: ClassVar = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        truths = {"true": True, "false": False}
        if isinstance(data, bool):
            return data
        if not isinstance(data, str) or data.lower() not in truths:
            self.fail("invalid")
        return truths[data.lower()]


class IdListField(serializers.Field):  # type: ignore[type-arg]  # typed by `to_internal_value`
    """A list of ids, refused as a whole: the document cannot show errors of single items."""

    default_error_messages: ClassVar = {
        "invalid": "Must be a list of ids, with at least one.",
        "max_length": "Must have at most {length} items.",
    }

    def __init__(self, *, length: int, **options: Any) -> None:
        super().__init__(**options)
        self.length = length

    def to_internal_value(self, data: Any) -> list[UUID]:
        if not isinstance(data, list) or not data:
            self.fail("invalid")
        if len(data) > self.length:
            self.fail("max_length", length=self.length)
        try:
            return [UUID(item) for item in data]
        except (ValueError, TypeError, AttributeError):
            self.fail("invalid")


class TextListField(serializers.Field):  # type: ignore[type-arg]  # typed by `to_internal_value`
    """A list of texts, refused as a whole: the document cannot show errors of single items."""

    default_error_messages: ClassVar = {
        "invalid": "Must be a list of texts of 1 to {text_length} characters.",
        "max_length": "Must have at most {length} items.",
    }

    def __init__(self, *, length: int, text_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.length = length
        self.text_length = text_length

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not all(map(self.is_valid_item, data)):
            self.fail("invalid", text_length=self.text_length)
        if len(data) > self.length:
            self.fail("max_length", length=self.length)
        return data

    def is_valid_item(self, item: Any) -> bool:
        return isinstance(item, str) and 0 < len(item) <= self.text_length and is_storable(item)

    def to_representation(self, value: list[str]) -> list[str]:
        return value
