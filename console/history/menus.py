"""The menus and chips of the history: each choice is an address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.http import urlencode

from console.history.cards import BADGES

Conditions = Mapping[str, str]

LABELS = {
    "object_class": "class:",
    "min_confidence": "confidence ≥",
    "status": "status:",
    "detector": "detector:",
    "created_after": "after:",
    "created_before": "before:",
    "search": "name:",
}
CONFIDENCES = {share: f"{share} or more" for share in ("0.25", "0.5", "0.75", "0.9")}
STATUSES: Conditions = {status: label for status, (label, _) in BADGES.items()}
ORDERS = {
    "": "Newest first",
    "created_at": "Oldest first",
    "-finished_at": "Finished last",
    "name": "Name, A to Z",
    "-name": "Name, Z to A",
    "-total": "Most pictures",
    "total": "Fewest pictures",
}
PERIODS = {"Today": 0, "Last 7 days": 6, "Last 30 days": 29}


@dataclass(frozen=True)
class Choice:
    label: str
    address: str
    is_chosen: bool = False


@dataclass(frozen=True)
class Menu:
    name: str
    label: str
    choices: list[Choice]
    is_set: bool = False


def query_of(conditions: Conditions) -> str:
    """`?` and the conditions, as the page's own links have them."""
    return f"?{urlencode(conditions)}" if conditions else "?"


def chips_of(conditions: Conditions) -> list[Choice]:
    """Each condition but the order, and the address without it."""
    return [
        Choice(f"{LABELS[name]} {in_words(name, value)}", query_of(without(conditions, name)))
        for name, value in conditions.items()
        if name in LABELS
    ]


def in_words(name: str, value: str) -> str:
    """A status as its badge has it; other values as they are."""
    return STATUSES.get(value, value).lower() if name == "status" else value


def without(conditions: Conditions, name: str) -> dict[str, str]:
    return {key: value for key, value in conditions.items() if key != name}


def menu_of(name: str, label: str, options: Mapping[str, str], conditions: Conditions) -> Menu:
    """A second choice of the same value takes it back."""
    now = conditions.get(name, "")
    others = without(conditions, name)
    choices = [
        Choice(text, query_of(others | ({name: value} if value and value != now else {})), value == now)
        for value, text in options.items()
    ]
    return Menu(name, label, choices, is_set=bool(now))


def period_menu(conditions: Conditions) -> Menu:
    others = {key: value for key, value in conditions.items() if not key.startswith("created_")}
    today = timezone.now().date()
    choices = []
    for label, days in PERIODS.items():
        since = str(today - timedelta(days=days))
        is_chosen = conditions.get("created_after") == since and "created_before" not in conditions
        choices.append(Choice(label, query_of(others | {"created_after": since}), is_chosen))
    return Menu("created", "Date", choices, is_set=len(others) < len(conditions))


def menus_of(conditions: Conditions, own: Mapping[str, list[str]]) -> list[Menu]:
    """`own` are the names of the user's classes and detectors."""
    classes, detectors = ({name: name for name in own[key]} for key in ("object_class", "detector"))
    return [
        menu_of("object_class", "Class", classes, conditions),
        menu_of("min_confidence", "Confidence", CONFIDENCES, conditions),
        menu_of("status", "Status", STATUSES, conditions),
        menu_of("detector", "Detector", detectors, conditions),
        period_menu(conditions),
        menu_of("ordering", "Sort", ORDERS, conditions),
    ]
