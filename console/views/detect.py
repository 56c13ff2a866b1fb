"""The page where pictures are uploaded, and what it asks while it is open."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from rest_framework.permissions import SAFE_METHODS

from accounts import verification
from console import cards, service
from console.pages import PersonalPage, is_htmx
from detections.models import Detection, Detector
from detections.uploads.parameters import chosen_confidence

MOST_CARDS = 48
MOST_ASKED = 100
SAMPLE_CLASS = "qr_code"  # which the pictures in `samples` show
SAMPLES = ("parcel", "table", "desk")


class DetectPage(PersonalPage):
    """Where pictures are uploaded."""

    def for_visitors(self) -> HttpResponseBase:
        """What this is, in place of the log-in."""
        if is_htmx(self.request) or self.request.method not in SAFE_METHODS:
            return super().for_visitors()
        return self.render("welcome")

    def get(self, _request: HttpRequest) -> HttpResponseBase:
        detectors = list(Detector.objects.active().order_by("name", "version"))
        return self.render(
            "detect",
            section="detect",
            is_mailed=verification.is_link_mailed(self.user),
            cards=cards.newest_cards(self.user, MOST_CARDS),
            service=service.state_for(self.user),
            detectors=detectors,
            default_confidence=chosen_confidence(None, self.user.preferences),
            default_classes=self.user.preferences.default_classes,
            most_megabytes=settings.MAX_UPLOAD_MB,
            samples=SAMPLES,
            sample_detector=next((each for each in detectors if SAMPLE_CLASS in each.classes), None),
        )


@method_decorator(conditional_page, name="dispatch")
class PersonalData(PersonalPage):
    """What a page asks while it is open: JSON, and 401 instead of a way to the log-in."""

    def to_login(self) -> HttpResponseBase:
        return HttpResponse(status=401)


class CardsData(PersonalData):
    """The cards of the detections in `ids`, without it of the newest ones."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        named = request.GET.get("ids")
        if named is None:
            return answer(cards.newest_cards(self.user, MOST_CARDS))
        try:
            ids = [UUID(each) for each in named.split(",")[:MOST_ASKED]]
        except ValueError:
            return HttpResponse(status=400)
        own = Detection.objects.owned_by(self.user).filter(pk__in=ids).newest_first()
        return answer(cards.cards_of(self.user, own))


class ServiceData(PersonalData):
    """The user's place in the queue, and the service's problems."""

    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return answer(service.state_for(self.user))


def answer(data: Any) -> HttpResponse:
    return JsonResponse(data, safe=False)
