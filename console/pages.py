"""The bases of the console's pages."""

import math
from typing import Any, cast
from urllib.parse import urlencode

from csp.constants import NONCE, SELF
from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views import View

from accounts import browsers
from accounts.models import Session, User, UserSettings
from console import errors
from objectvision.api.throttles import AnonThrottle, ReadThrottle
from objectvision.lib import logs
from objectvision.lib.links import absolute

# Scripts are files of this server; htmx acts only on elements that carry the page's nonce (hx-csp).
POLICY = {"script-src": [SELF, NONCE], "img-src": ["blob:"]}


@method_decorator(csp_update(POLICY), name="dispatch")
class Page(View):
    """A page for visitors and users. `session` is the browser's log-in; None for visitors."""

    session: Session | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return self.answer(request, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            return errors.unavailable(request, error)

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.session = browsers.session_of(request)
        # Not the admin's user, whose log-in is another one.
        request.user = self.session.user if self.session else AnonymousUser()
        try:
            response = self.refusal() or super().dispatch(request, *args, **kwargs)
        except Http404:
            response = self.render("missing", status=404)
        if self.session:
            logs.note(user=str(self.session.user_id))
            browsers.renew(response, self.session)
        # Not `no-store`: Back shows the page as it was left.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        # But no page of before a log-out, and no fragment.
        patch_vary_headers(response, ("Cookie", "HX-Request"))
        return response

    def refusal(self) -> HttpResponseBase | None:
        """The answer to a request that the page does not take."""
        for throttle in (AnonThrottle(), ReadThrottle()):
            if not throttle.admits(self.request):
                response = self.render("too_many", status=429)
                response.headers["Retry-After"] = str(math.ceil(throttle.wait()))
                return response
        return None

    def render(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        """The page or fragment `templates/console/<template>.html`."""
        user = self.session.user if self.session else None
        context |= {
            "company": settings.COMPANY_NAME,
            "api_url": absolute(self.request, "/api/v1"),
            "account": user,
            "theme": user.preferences.theme if user else UserSettings.Theme.SYSTEM,
        }
        return render(self.request, f"console/{template}.html", context, status=status)


class PersonalPage(Page):
    """A page for users: visitors are led to the log-in, and back."""

    def refusal(self) -> HttpResponseBase | None:
        return super().refusal() or (None if self.session else self.for_visitors())

    def for_visitors(self) -> HttpResponseBase:
        return self.to_login()

    @property
    def user(self) -> User:
        return cast(User, self.request.user)

    def to_login(self) -> HttpResponseBase:
        is_fragment = is_htmx(self.request)
        seen = (
            self.request.headers.get("HX-Current-URL", "/") if is_fragment else self.request.get_full_path()
        )
        login = f"{reverse('console:login')}?{urlencode({'next': seen})}"
        return HttpResponse(status=204, headers={"HX-Redirect": login}) if is_fragment else redirect(login)


def is_htmx(request: HttpRequest) -> bool:
    """Whether htmx asks for a fragment, not the browser for a page."""
    return request.headers.get("HX-Request") == "true"
