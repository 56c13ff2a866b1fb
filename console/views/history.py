"""The user's detections: searched, selected, changed many at a time."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from uuid_utils.compat import uuid7

from accounts.models import User
from console import formats
from console.history.asked import Asked, ask, page_address
from console.history.cards import cards_of, with_columns
from console.history.menus import chips_of, menus_of
from console.history.words import read_words
from console.pages import PersonalPage, is_htmx
from detections import caching, search
from detections.api.lists import KEPT_SECONDS
from detections.caching import Question
from detections.exports.formats import WITH_PICTURES
from detections.models import Detection
from objectvision.api.fields import number_in

PAGE = 36  # a multiple of each number of columns
MOST_REDRAWN = 100
MOST_IDS = 1000
MOST_DIGITS = 7  # of an offset
VIEWS = ("grid", "table")


class HistoryPage(PersonalPage):
    """Pages of it, as a page of its own or, for htmx, as the next part of the list."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        asked = ask(request, self.user.pk, request.GET.dict())
        if request.GET.get("view") in VIEWS:
            return self.change_view(asked)
        if is_htmx(request):
            return self.render("history/part", **self.rows(asked))
        typed = request.GET.get("q", "").strip()
        return self.search(asked, typed) if typed else self.whole(asked)

    def search(self, asked: Asked, typed: str) -> HttpResponseBase:
        """Words become conditions of the address; one that is not understood leaves all as it was."""
        words = read_words(typed)
        wanted = ask(self.request, self.user.pk, {**asked.conditions, **words.conditions})
        if faults := [*words.faults, *wanted.faults]:
            return self.whole(replace(asked, faults=faults), typed)
        return redirect(page_address(wanted.conditions))

    def change_view(self, asked: Asked) -> HttpResponseBase:
        response = redirect(page_address(asked.conditions))
        response.set_cookie(self.view_cookie, self.request.GET["view"], max_age=365 * 86400, samesite="Lax")
        return response

    @property
    def view_cookie(self) -> str:
        return f"history-{self.user.pk}"

    @property
    def view(self) -> str:
        kept = self.request.COOKIES.get(self.view_cookie, "")
        return kept if kept in VIEWS else VIEWS[0]

    def whole(self, asked: Asked, typed: str = "") -> HttpResponseBase:
        rows = self.rows(asked)
        is_all = not rows["offset"] and not rows["older"]
        return self.render(
            "history/page",
            **rows,
            section="history",
            total=len(rows["cards"]) if is_all else asked.total(),
            is_empty=is_all and not rows["cards"],
            faults=asked.faults,
            typed=typed,
            conditions=asked.conditions,
            conditions_json=json.dumps(asked.conditions),
            chips=chips_of(asked.conditions),
            menus=menus_of(asked.conditions, choices_of(self.user)),
            newest=page_address(asked.conditions),
            now=uuid7(),  # ids of later detections are greater
            view=self.view,
            view_cookie=self.view_cookie,
            formats=[(name, label, name in WITH_PICTURES) for name, label in formats.LABELS.items()],
        )

    def rows(self, asked: Asked) -> dict[str, Any]:
        offset = number_in(self.request.GET.get("offset", ""), MOST_DIGITS)
        page = list(with_columns(asked.detections)[offset : offset + PAGE + 1])
        older = page_address({**asked.conditions, "offset": offset + PAGE}) if len(page) > PAGE else ""
        cards = cards_of(page[:PAGE])
        return {"cards": cards, "offset": offset, "older": older, "page_size": PAGE, "redrawn": False}


class HistoryCards(PersonalPage):
    """The stored state of cards on the page, and how many newer detections fulfil its conditions."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        asked = ask(request, self.user.pk, request.GET.dict())
        ids = ids_of(request.GET.get("ids", ""))[:MOST_REDRAWN]
        found = Detection.objects.owned_by(self.user).filter(pk__in=ids)
        cards = cards_of(list(with_columns(found)))
        gone = set(ids) - {UUID(card["id"]) for card in cards}
        return self.render("history/redrawn", cards=cards, gone=gone, news=self.news(asked))

    def news(self, asked: Asked) -> int:
        newest = ids_of(self.request.GET.get("newer", ""))
        newer = asked.detections.filter(pk__gt=newest[0]) if newest else asked.detections
        return newer.order_by()[:MOST_REDRAWN].count()


class HistoryIds(PersonalPage):
    """Ids of all that fulfil the conditions, newest first: the next 1,000 `before` one of them."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        asked = ask(request, self.user.pk, request.GET.dict())
        if asked.faults:  # a condition that is left out would name more than was asked for
            return JsonResponse({"faults": list(asked.faults)}, status=400)
        detections = asked.detections.order_by("-pk")
        if last := ids_of(request.GET.get("before", "")):
            detections = detections.filter(pk__lt=last[0])
        return JsonResponse({"ids": [str(pk) for pk in detections.values_list("pk", flat=True)[:MOST_IDS]]})


def choices_of(user: User) -> dict[str, list[str]]:
    """The classes and detectors of the user's detections."""

    def read() -> dict[str, list[str]]:
        return {"object_class": search.found_classes(user), "detector": search.used_detectors(user)}

    return caching.kept(user.pk, Question("choices", "", KEPT_SECONDS), read)


def ids_of(text: str) -> list[UUID]:
    """The ids between commas, without what is none."""
    ids = []
    for part in text.split(",", MOST_REDRAWN)[:MOST_REDRAWN]:
        try:
            ids.append(UUID(part))
        except ValueError:
            continue
    return ids
