"""What users have published, for everybody."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.dateparse import parse_datetime

from console.pages import Page
from detections.models import Detection
from detections.publication import showing

SHOWN = 24


class PublicPage(Page):
    """`?before=` is the last row of the page before, as `place_of` writes it."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        place = read_place(request.GET.get("before", ""))
        found = showing.public().newest_first()
        if place:
            at, pk = place
            found = found.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=pk))
        rows = list(found[: SHOWN + 1])
        return self.render(
            "public",
            section="public",
            results=[shown_parts(each) for each in showing.kept_page(rows[:SHOWN])],
            older=place_of(rows[SHOWN - 1]) if len(rows) > SHOWN else "",
            is_later_page=place is not None,
            is_moderated=settings.MODERATION_REQUIRED,
        )


def shown_parts(summary: dict[str, Any]) -> dict[str, Any]:
    return {**summary, "created_at": parse_datetime(summary["created_at"])}


def place_of(detection: Detection) -> str:
    return f"{detection.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}_{detection.pk}"


def read_place(text: str) -> tuple[datetime, UUID] | None:
    """The time and id of a row; None for anything else."""
    at, _, pk = text.partition("_")
    try:
        return datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC), UUID(pk)
    except ValueError:
        return None
