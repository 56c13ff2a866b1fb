"""Verify an address: by the mailed link, or ask for the link again."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import link_tokens, verification
from accounts.api.login import AnonymousView
from accounts.api.pages import keep_address_secret, render_page
from accounts.api.passwords import RequestMailView
from accounts.models import User, UserSettings
from notifications.mail import outbox
from objectvision.api.negotiation import OneAnswer
from objectvision.api.throttles import VerifyThrottle

MOST_SHOWN = 20


class VerifyEmailView(RequestMailView):
    content_negotiation_class = OneAnswer  # browsers follow the link
    throttle_classes = (VerifyThrottle,)
    lenient_methods = SAFE_METHODS  # mail programs add parameters to links
    kind = outbox.Kind.VERIFY_EMAIL

    def get_throttles(self) -> list[Any]:
        """Mails cost more than links: following a link counts with the other anonymous requests."""
        if self.request.method == "POST":
            return super().get_throttles()
        return [throttle() for throttle in AnonymousView.throttle_classes]

    @extend_schema(operation_id="create_verification", responses={204: None})
    def post(self, request: Request) -> Response:
        """Ask for a link to verify an address.

        Mails the link to the address, if there is an account with it that is not verified. The answer is the
        same if there is none. The link works for 3 days.
        """
        return self.queue_link(request)

    @extend_schema(
        operation_id="verify_email",
        parameters=[OpenApiParameter("token", str, description="From the mailed link.")],
        responses={
            302: None,
            (200, "text/html"): OpenApiTypes.STR,
            (400, "text/html"): OpenApiTypes.STR,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Verify an address.

        Where the mailed link leads. Redirects to the front end's page for success or failure, or shows a page
        where there is none: it lists the account's sessions and API keys, and can end them.
        """
        if user := verification.verify_address(request.query_params.get("token", "")):
            return redirect_to(settings.FRONTEND_SUCCESS_URL) or verified_page(request, user)
        return redirect_to(settings.FRONTEND_ERROR_URL) or render_page(request, "unverified", status=400)


def redirect_to(url: str) -> HttpResponse | None:
    return keep_address_secret(HttpResponseRedirect(url)) if url else None


def verified_page(request: Request, user: User) -> HttpResponse:
    """Lists what opens the account: another person may have signed up with the address."""
    access: dict[str, Any] = {
        "sessions": user.sessions.alive().order_by("-created_at")[:MOST_SHOWN],
        "keys": user.api_keys.alive().order_by("-created_at")[:MOST_SHOWN],
        "has_settings": UserSettings.objects.filter(user=user).exists(),
        "token": link_tokens.make_end_access_token(user) if user.has_usable_password() else "",
    }
    return render_page(request, "verified", **access)
