"""Runs checks one after the other: each tells what it found, and what to do."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.conf import settings

from objectvision.lib.redis import shared_client
from objectvision.lib.threads import run_in_thread

SECONDS = 5
SHORTEST_SECRET = 8  # shorter ones would blot out parts of words
# Of a URL: user and password, and a password among its options.
IN_URLS = re.compile(r"(?<=://)[^/\s]*(?=@)|(?<=password=)[^&\s]+")
NOT_USED = "not used: everything runs in one process"


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """An empty hint stands for the check's own."""

    status: Status
    found: str
    hint: str = ""


def ok(found: str) -> Finding:
    return Finding(Status.OK, found)


def warning(found: str, hint: str = "") -> Finding:
    return Finding(Status.WARNING, found, hint)


def error(found: str, hint: str = "") -> Finding:
    return Finding(Status.ERROR, found, hint)


@dataclass(frozen=True, slots=True)
class Check:
    """`hint` says what to do if it fails. It is left out if one of `needs`, names of checks, is in error."""

    name: str
    look: Callable[[], Finding]
    hint: str
    needs: tuple[str, ...] = ()
    seconds: float = SECONDS


def examine(checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Each check's name and finding, without secrets. Each check has its time and hinders no other one."""
    failed: set[str] = set()
    for check in checks:
        away = [name for name in check.needs if name in failed]
        finding = left_out(away[0]) if away else attempt(check)
        if finding.status == Status.ERROR:
            failed.add(check.name)
        hint = finding.hint or ("" if finding.status == Status.OK else check.hint)
        yield check.name, replace(finding, found=without_secrets(finding.found), hint=without_secrets(hint))


def left_out(missing: str) -> Finding:
    return warning("not checked", f"Mend this first: {missing}.")


def attempt(check: Check) -> Finding:
    running = run_in_thread(check.look, f"doctor {check.name}")
    try:
        return running.result(check.seconds)
    except Exception as reason:  # noqa: BLE001  # a broken part must not hide the others
        if not running.done():
            return error(f"It did not answer within {check.seconds:.0f} s.")
        return error(f"{type(reason).__name__}: {first_line(reason)}")


def first_line(reason: BaseException) -> str:
    return str(reason).strip().partition("\n")[0]


def without_secrets(text: str) -> str:
    text = IN_URLS.sub("***", text)
    for secret in known_secrets():
        text = text.replace(secret, "***")
    return text


def known_secrets() -> set[str]:
    database: dict[str, Any] = settings.DATABASES["default"]
    client = shared_client()
    names = {database.get(name) for name in ("HOST", "NAME", "USER")}
    values = {
        settings.SECRET_KEY,
        settings.JWT_SECRET_KEY,
        *settings.SECRET_KEY_FALLBACKS,
        *settings.JWT_PREVIOUS_SECRET_KEYS,
        settings.BREVO_API_KEY,
        database.get("PASSWORD") or "",
        database.get("OPTIONS", {}).get("password") or "",
        client.connection_pool.connection_kwargs.get("password") or "" if client else "",
    }
    return {value for value in values - names if len(value) >= SHORTEST_SECRET}
