"""The pages of public and shared results, for people. They need no script."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from csp.constants import NONE
from csp.decorators import csp_replace
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt

from accounts.api.pages import ThrottledPage
from detections.models import Detection
from detections.publication import moderation, shares, showing
from detections.publication.models import REASON_LENGTH
from objectvision.api.fields import is_storable, number_in
from objectvision.api.negotiation import conditional_headers, not_modified
from objectvision.api.throttles import address
from objectvision.lib.links import absolute

MOST_DIGITS = 9


# Nobody is logged in here, so that nothing could be forged; a cookie would not reach a page in a frame.
@method_decorator(csrf_exempt, name="dispatch")
class VisitorPage(ThrottledPage):
    """A detection's page. `?image=` is the number of its picture, from 1."""

    http_method_names: Sequence[str] = ("get", "head")
    is_shared = False
    own_headers: ClassVar[Mapping[str, str]] = {}

    def find(self) -> Detection | None:
        """The detection that the path shows to everybody."""
        raise NotImplementedError

    def links(self) -> tuple[str, str]:
        """The paths of the page and of its picture."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        origins = settings.EMBED_ALLOWED_ORIGINS
        answer = csp_replace({"frame-ancestors": origins or [NONE]})(super().dispatch)
        response: HttpResponseBase = answer(request, *args, **options)
        response.xframe_options_exempt = bool(origins)  # type: ignore[attr-defined]  # read by Django's middleware
        for name, value in self.own_headers.items():
            response.headers[name] = value
        return response

    def refuse(self) -> HttpResponse:
        return self.page("too_many", status=429)

    def get(self, _request: HttpRequest, **_names: Any) -> HttpResponseBase:
        detection = self.find()
        return self.gone() if detection is None else self.result(detection)

    def result(self, detection: Detection, **context: Any) -> HttpResponseBase:
        number = request_number(self.request)
        shown = showing.kept_image(detection, number)
        if not shown:
            return self.gone()
        page, picture = self.links()
        query = f"?image_id={shown['image']['id']}"
        page_url = absolute(self.request, page)
        headers = conditional_headers(
            showing.version_of(detection), page_url, self.request.get_full_path(), settings.COMPANY_NAME
        )
        if self.request.method in {"GET", "HEAD"} and (same := not_modified(self.request, headers)):
            return same
        context = {
            **shown,
            **context,
            "created_at": parse_datetime(shown["created_at"]),
            "page_url": page_url if number == 1 else f"{page_url}?image={number}",
            "picture_path": picture + query,
            "picture_url": absolute(self.request, picture) + query,
            "reported": "reported" in self.request.GET,
        }
        response = self.page("result", **context)
        for name, value in headers.items():
            response.headers[name] = value
        return response

    def gone(self) -> HttpResponse:
        return self.page("gone", status=404)

    def page(self, name: str, status: int = 200, **context: Any) -> HttpResponse:
        context |= {"company": settings.COMPANY_NAME, "is_shared": self.is_shared}
        return render(self.request, f"detections/{name}.html", context, status=status)


def request_number(request: HttpRequest) -> int:
    """The number of the picture that is asked for; 0 for one that there cannot be."""
    return number_in(request.GET.get("image", "1"), MOST_DIGITS)


class PublicPage(VisitorPage):
    http_method_names = ("get", "head", "post")

    def find(self) -> Detection | None:
        try:
            pk = UUID(self.kwargs["pk"])
        except ValueError:
            return None
        return showing.public().filter(pk=pk).first()

    def links(self) -> tuple[str, str]:
        names = [UUID(self.kwargs["pk"])]
        return reverse("public-page", args=names), reverse("public-image", args=names)

    def post(self, request: HttpRequest, **_names: Any) -> HttpResponseBase:
        """A report. Other sites cannot let their visitors send one unasked."""
        detection = self.find()
        if detection is None or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return self.gone()
        # Browsers send a line's end as two characters, and count it as one.
        reason = request.POST.get("reason", "").strip().replace("\r\n", "\n")
        if not reason or len(reason) > REASON_LENGTH or not is_storable(reason):
            fault = f"Write 1 to {REASON_LENGTH} characters."
            response = self.result(detection, reason=reason, fault=fault)
            response.status_code = 400
            return response
        try:
            moderation.report(detection, reason, address(request))
        except Detection.DoesNotExist:
            return self.gone()
        return redirect(f"{self.links()[0]}?reported")


class SharedPage(VisitorPage):
    """Its address holds a token: no other site is told of it."""

    is_shared = True
    own_headers: ClassVar = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}

    def find(self) -> Detection | None:
        detection = showing.shared_by(self.kwargs["token"]).first()
        if detection and "image" not in self.request.GET:  # turning the pages is no new use
            shares.count_use(self.kwargs["token"])
        return detection

    def links(self) -> tuple[str, str]:
        names = [self.kwargs["token"]]
        return reverse("shared-page", args=names), reverse("shared-image", args=names)
