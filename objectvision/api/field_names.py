"""The names in a request: an unknown or repeated one is refused, so that nothing that was sent is dropped."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from rest_framework.exceptions import ErrorDetail

Faults = dict[str, list[ErrorDetail]]

MOST_REPORTED = 10  # a body of a megabyte may have 100,000 names
LONGEST_NAME = 100  # of the names that are shown and compared


def name_faults(sent: Any, known: Collection[str], lists: Collection[str] = ()) -> Faults:
    """The errors of a form, a query string or a JSON object, by name; `lists` are names that may repeat."""
    if not isinstance(sent, Mapping):
        return {}
    unknown = (name for name in sent if name not in known)
    repeated = (name for name in sent if name in known and name not in lists and is_repeated(sent, name))
    return {**unknown_faults(unknown, known), **repeated_faults(repeated)}


def is_repeated(sent: Any, name: str) -> bool:
    return hasattr(sent, "getlist") and len(sent.getlist(name)) > 1


def unknown_faults(names: Iterable[str], known: Collection[str]) -> Faults:
    return {
        name[:LONGEST_NAME]: [ErrorDetail(no_such_field(name[:LONGEST_NAME], known), "unknown_field")]
        for name in islice(names, MOST_REPORTED)
    }


def no_such_field(name: str, known: Collection[str]) -> str:
    nearest = get_close_matches(name, known, n=1, cutoff=0)
    return f"There is no such field; the nearest is {nearest[0]}." if nearest else "No fields are taken here."


def repeated_faults(names: Iterable[str]) -> Faults:
    return {
        name[:LONGEST_NAME]: [ErrorDetail(f"Send {name[:LONGEST_NAME]} once.", "repeated_field")]
        for name in islice(names, MOST_REPORTED)
    }
