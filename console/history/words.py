"""The words of the history's search: `class:person conf>0.5 after:2026-11-01 street`."""

import re
from dataclasses import dataclass, field

from console.history.cards import BADGES

WORD = re.compile(r'([^\W\d_]+)(:|>=|>|<=|<|=)("[^"]*"?|\S*)|("[^"]*"?|\S+)')
PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
# The API's name of each key's condition.
KEYS = {
    "class": "object_class",
    "conf": "min_confidence",
    "confidence": "min_confidence",
    "status": "status",
    "detector": "detector",
    "after": "created_after",
    "before": "created_before",
    "name": "search",
    "sort": "ordering",
}
# The words of the badges, beside the API's.
STATUSES = {label.lower(): status for status, (label, _) in BADGES.items()}
AT_LEAST = {">", ">=", ":", "="}
UNKNOWN = (
    "There is no filter “{key}{sign}”. Filters are class:, conf>, status:, detector:, after: and before:; "
    "put a text with such a sign into quotes."
)


@dataclass
class Wanted:
    """The conditions by the API's names, as texts, and the faults of the other words."""

    conditions: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, key: str, sign: str, value: str) -> None:
        name = KEYS.get(key.lower())
        if name is None:
            self.faults.append(UNKNOWN.format(key=key, sign=sign))
        elif not value:
            self.faults.append(f"“{key}{sign}” has no value.")
        elif sign not in (AT_LEAST if name == "min_confidence" else {":", "="}):
            self.faults.append(sign_fault(key, sign, name))
        else:
            self.conditions[name] = value_of(name, value)


def sign_fault(key: str, sign: str, name: str) -> str:
    if name == "min_confidence":
        return "Only a lowest confidence can be asked for, as in conf>0.5."
    return f"Write {key}: instead of {key}{sign}."


def value_of(name: str, value: str) -> str:
    """As the API takes it."""
    if name == "status":
        return STATUSES.get(value.lower(), value)
    return share_of(value) if name == "min_confidence" else value


def share_of(value: str) -> str:
    """`0.5` of `50%`; other texts as they are."""
    percent = PERCENT.fullmatch(value)
    return f"{float(percent[1]) / 100:g}" if percent else value


def read_words(typed: str) -> Wanted:
    """Words without a key are one text, which is looked for in names."""
    wanted, texts = Wanted(), []
    for key, sign, value, text in WORD.findall(typed):
        if key:
            wanted.add(key, sign, value.strip('"'))
        else:
            texts.append(text.strip('"'))
    if text := " ".join(filter(None, texts)):
        wanted.conditions["search"] = text
    return wanted
