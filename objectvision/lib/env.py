"""Reads and checks the environment. Every refusal names the variable and what it may hold."""

import os
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

T = TypeVar("T")

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})

PASSWORD_LENGTH = 12
HOST = re.compile(r"[\w.*:\[\]-]+")  # with its port: what could end a header's directive is in none

UNITS = {"s": 1, "min": 60, "hour": 3600, "day": 86400}

# All variables that the settings read: a test compares them with `.env.example`.
names: set[str] = set()


def text(name: str, default: str = "") -> str:
    """The variable's value, stripped; an empty one counts as unset."""
    names.add(name)
    return os.environ.get(name, "").strip() or default


def read(name: str, parse: Callable[[str], T], default: T, expected: str, *, secret: bool = False) -> T:
    value = text(name)
    if not value:
        return default
    try:
        return parse(value)
    except ValueError:
        shown = "not valid" if secret else repr(value)
        raise ImproperlyConfigured(f"{name} is {shown}; it must be {expected}.") from None


def flag(name: str, *, default: bool) -> bool:
    def parse(value: str) -> bool:
        if value.lower() not in TRUE | FALSE:
            raise ValueError
        return value.lower() in TRUE

    return read(name, parse, default, "one of 1, true, yes, on, 0, false, no, off")


def integer(name: str, default: int, *, low: int = 0, high: int = 2**31 - 1) -> int:
    return int(_number(name, int, default, low, high, "a whole number"))


def fraction(name: str, default: float, *, low: float = 0.0, high: float = 1.0) -> float:
    return _number(name, float, default, low, high, "a number")


def _number(  # noqa: PLR0917  # a helper of two
    name: str, kind: Callable[[str], float], default: float, low: float, high: float, what: str
) -> float:
    def parse(value: str) -> float:
        number = kind(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return read(name, parse, default, f"{what} from {low} to {high}")


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError
        return value

    return read(name, parse, default, f"one of {', '.join(allowed)}")


def listing(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Items separated by commas."""
    return [item.strip() for item in text(name).split(",") if item.strip()] or list(default)


def rate(name: str, default: str) -> tuple[int, int] | None:
    """Requests and seconds, as in (30, 60); None for no limit."""

    def parse(value: str) -> tuple[int, int] | None:
        if value == "off":
            return None
        count, _, unit = value.partition("/")
        if not count.isdecimal() or int(count) < 1 or unit not in UNITS:
            raise ValueError
        return int(count), UNITS[unit]

    return read(name, parse, parse(default), f"off, or like 30/min ({', '.join(UNITS)})")


def file(name: str, base: Path) -> str:
    """The path of a file that this process may write, relative to the base; empty if unset."""

    def parse(value: str) -> str:
        path = base / value
        try:
            path.open("a").close()
        except OSError as error:
            raise ValueError from error
        return str(path)

    return read(name, parse, "", "the path of a file that this process may write, in a folder that exists")


def line(name: str, default: str = "") -> str:
    """A text that goes into the header of a mail."""

    def parse(value: str) -> str:
        if not value.isprintable():
            raise ValueError
        return value

    return read(name, parse, default, "one line without control characters")


def address(name: str) -> str:
    """An e-mail address."""

    def parse(value: str) -> str:
        try:
            validate_email(value)
        except ValidationError as error:
            raise ValueError from error
        return value

    return read(name, parse, "", "an e-mail address such as hello@example.com")


def password(name: str) -> str:
    """What people type into a browser: browsers differ in how they send other characters than ASCII."""

    def parse(value: str) -> str:
        if len(value) < PASSWORD_LENGTH or not (value.isascii() and value.isprintable()):
            raise ValueError
        return value

    return read(name, parse, "", f"at least {PASSWORD_LENGTH} ASCII characters", secret=True)


def origins(name: str) -> list[str]:
    """Schemes with hosts, separated by commas."""

    def parse(value: str) -> list[str]:
        found = [item.strip() for item in value.split(",") if item.strip()]
        for parts in map(urlsplit, found):
            is_one = HOST.fullmatch(parts.netloc) and not (parts.path or parts.query or parts.fragment)
            if parts.scheme not in {"http", "https"} or not is_one:
                raise ValueError
        return found

    return read(name, parse, [], "origins such as https://app.example.com, separated by commas")


def networks(name: str) -> list[str]:
    """Addresses and networks, separated by commas."""

    def parse(value: str) -> list[str]:
        found = [item.strip() for item in value.split(",") if item.strip()]
        for item in found:
            ip_network(item)  # with bits set behind its mask it is none: a server would ignore it
        return found

    return read(name, parse, [], "addresses or networks such as 10.0.0.0/8, separated by commas")


def url(name: str, default: str = "", *, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """With a host. A Unix socket's folder may stand in its place, or behind `?host=`."""

    def parse(value: str) -> str:
        parts = urlsplit(value)
        is_somewhere = parts.hostname or parts.scheme == "unix" or parse_qs(parts.query).get("host")
        if parts.scheme not in schemes or not is_somewhere or parts.port == 0:
            raise ValueError
        return value

    expected = f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)} and has a host"
    return read(name, parse, default, expected, secret=True)  # it may hold a password
