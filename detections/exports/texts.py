"""Texts of users inside of JSON, YAML and XML."""

import json
import re
from typing import Any

# What readers of YAML refuse, or take for the end of a line.
NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def compact(value: Any) -> bytes:
    return encoder.encode(value).encode()


def yaml_text(text: str) -> str:
    """A JSON string, which is one of YAML as well."""
    return NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", encoder.encode(text))


def xml_text(value: object) -> str:
    """The value as a text of characters that XML can hold; its markup is escaped when it is written."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
