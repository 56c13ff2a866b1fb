"""Which detections a history's address asks for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from console.history.cards import BADGES
from detections import caching
from detections.api.filters import DetectionFilter
from detections.api.lists import KEPT_SECONDS
from detections.caching import Question
from detections.models import Detection, DetectionQuerySet

# Beside the conditions: the typed search, and what only the page's scripts send.
OWN_PARAMETERS = {"q", "view", "offset", "ids", "newer", "before"}
HELP = {
    "status": f"A status is one of {', '.join(label.lower() for label, _ in BADGES.values())}.",
    "min_confidence": "A confidence is a number from 0 to 1, such as 0.5, or 50%.",
    "created_after": "A time is a day such as 2026-11-01, or 2026-11-01T09:30Z.",
    "created_before": "A time is a day such as 2026-11-01, or 2026-11-01T09:30Z.",
    "ordering": "Sort by created_at, finished_at, name or total; with - before it, the last comes first.",
    "search": "A text has up to 200 letters.",
    "object_class": "A class has up to 100 letters.",
    "detector": "A detector's name has up to 100 letters.",
}


@dataclass(frozen=True)
class Asked:
    """The conditions of a history, by the API's names."""

    request: HttpRequest
    owner: UUID
    conditions: Mapping[str, str]
    faults: Collection[str]

    @cached_property
    def detections(self) -> DetectionQuerySet:
        own = Detection.objects.owned_by(self.request.user).newest_first()
        return DetectionFilter(self.conditions, queryset=own, request=self.request).qs  # type: ignore[no-any-return]  # untyped library

    @property
    def filters(self) -> dict[str, str]:
        """Without the order."""
        return {name: value for name, value in self.conditions.items() if name != "ordering"}

    def total(self) -> int:
        """Kept until one of the user's detections changes."""
        question = Question("total", f"console?{urlencode(sorted(self.filters.items()))}", KEPT_SECONDS)
        return caching.kept(self.owner, question, self.detections.count)


def ask(request: HttpRequest, owner: UUID, parameters: Mapping[str, str]) -> Asked:
    """A value that the API refuses is a fault, and no condition."""
    known = DetectionFilter.base_filters
    given = {name: value for name, raw in parameters.items() if name in known and (value := raw.strip())}
    errors = DetectionFilter(given, request=request).form.errors
    faults = [f"“{given[name][:100]}” is not understood. {HELP[name]}" for name in errors]
    unknown = [name for name in parameters if name not in known and name not in OWN_PARAMETERS]
    faults += [f"There is no filter “{name[:100]}”." for name in unknown[:1]]
    valid = {name: value for name, value in given.items() if name not in errors}
    return Asked(request, owner, valid, faults)


def page_address(conditions: Mapping[str, Any]) -> str:
    path = reverse("console:history")
    return f"{path}?{urlencode(conditions)}" if conditions else path
