"""Error pages for browsers, where programs get JSON of the API's form (`handler404` and others)."""

import logging
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import browsers
from accounts.models import UserSettings
from objectvision.api import errors
from objectvision.api.plain_answers import error_body
from objectvision.lib import connections

log = logging.getLogger(__name__)

FOR_PROGRAMS = re.compile(r"/(api|health|openapi\.json|docs|redoc|metrics|ws)(/|$)")
OUT_OF_DATE = (
    "You logged in or out in another tab since, or your browser keeps no cookies. Reload it, and try again."
)


def wants_page(request: HttpRequest) -> bool:
    asked = request.get_preferred_type(["application/json", "text/html"])
    return asked == "text/html" and not FOR_PROGRAMS.match(request.path)


def error_page(
    status: int,
    heading: str,
    text: str,
    action: str = "Go to the start page",
    link: str = "",
    *,
    theme: str = UserSettings.Theme.SYSTEM,
) -> HttpResponse:
    """Made without the request: no session is read where the database may be what has failed."""
    context = {
        "company": settings.COMPANY_NAME,
        "theme": theme,
        "heading": heading,
        "text": text,
        "action": action,
        "link": link or reverse("console:detect"),
    }
    response = HttpResponse(render_to_string("console/error.html", context), status=status)
    patch_vary_headers(response, ("Accept",))
    return response


def theme_of(request: HttpRequest) -> str:
    """The user's; the system's for visitors, and while the database does not answer."""
    try:
        session = browsers.session_of(request)
    except (DatabaseError, InterfaceError):
        return UserSettings.Theme.SYSTEM
    return session.user.preferences.theme if session else UserSettings.Theme.SYSTEM


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    if not wants_page(request):
        return errors.bad_request(request)
    if isinstance(exception, DisallowedHost):
        heading, text = "The server has another name", "Its operator can add this one to ALLOWED_HOSTS."
        return error_page(400, heading, text, "Try again", request.get_full_path())
    return error_page(400, "The server does not understand this", "Go back, reload the page, and try again.")


def not_found(request: HttpRequest, *_: Any, **__: Any) -> HttpResponseBase:
    if not wants_page(request):
        return errors.not_found(request)
    text = "The address is wrong, or what was here is deleted."
    return error_page(404, "There is no such page", text, theme=theme_of(request))


def permission_denied(request: HttpRequest, *_: Any, **__: Any) -> HttpResponseBase:
    if not wants_page(request):
        return errors.permission_denied(request)
    text = "Your account has no right to it."
    return error_page(403, "You may not do this", text, theme=theme_of(request))


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponseBase:  # noqa: ARG001  # Django's signature
    if not wants_page(request):
        return errors.csrf_failed(request)
    heading, action, link = "This page is out of date", "Reload the page", page_before(request)
    return error_page(403, heading, OUT_OF_DATE, action, link, theme=theme_of(request))


def page_before(request: HttpRequest) -> str:
    """The page of this server whose form was sent, or the first page."""
    link = request.headers.get("Referer", "")
    is_own = url_has_allowed_host_and_scheme(link, {request.get_host()}, request.is_secure())
    return link if is_own else ""


def server_error(request: HttpRequest) -> HttpResponseBase:
    if not wants_page(request):
        return errors.server_error(request)
    return error_page(
        500, "Something went wrong here", "It is in the log of the server. Try again in a minute."
    )


def unavailable(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """While the database does not answer, or has closed this connection: as the API's 503."""
    connections.drop_broken()
    log.warning("The database does not answer (%s)", type(error).__name__)
    response = unavailable_page(request) if wants_page(request) else unavailable_answer()
    response.headers["Retry-After"] = str(errors.Unavailable.wait)
    return response


def unavailable_page(request: HttpRequest) -> HttpResponse:
    heading, text = "The service is unavailable for the moment", "Try again in a few seconds."
    return error_page(503, heading, text, "Try again", request.get_full_path())


def unavailable_answer() -> HttpResponse:
    body = error_body("unavailable", errors.Unavailable.default_detail, kind="server_error")
    return JsonResponse(body, status=503)
