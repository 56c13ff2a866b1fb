"""Signing up, logging in and out."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.exceptions import AuthenticationFailed

from accounts import browsers, login_attempts, verification
from accounts.api.serializers import LoginSerializer, SignupSerializer
from accounts.models import Session, User
from console.pages import Page
from objectvision.api.throttles import LoginThrottle, SignupThrottle, Throttle

WRONG = "The e-mail address or the password is wrong."
NO_FAULTS: Mapping[str, Any] = {}


class FormPage(Page):
    """A page with one form. It comes back with what was typed, without passwords."""

    template: ClassVar[str]
    throttle_class: ClassVar[type[Throttle]]
    kept: ClassVar[tuple[str, ...]] = ("email",)
    texts: ClassVar[Mapping[str, str]] = {}

    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.form()

    def post(self, request: HttpRequest) -> HttpResponseBase:
        throttle = self.throttle_class()
        if throttle.admits(request):
            return self.submit(request)
        return self.refuse_for_now("Too many requests from your address.", throttle.wait())

    def submit(self, request: HttpRequest) -> HttpResponseBase:
        raise NotImplementedError

    def form(
        self, fault: str = "", faults: Mapping[str, Any] = NO_FAULTS, status: int = 200, **context: Any
    ) -> HttpResponseBase:
        """`fault` stands above the form, `faults` beside the fields of these names."""
        context |= {
            **self.texts,
            "fault": fault,
            "faults": {name: " ".join(map(str, texts)) for name, texts in faults.items()},
            "focus": next(iter(faults), self.kept[0]),
            "values": fields(self.request, *self.kept),
            "next": next_path(self.request),
            "next_query": next_query(self.request),
        }
        return self.render(self.template, status, **context)

    def refuse_for_now(self, reason: str, wait: float) -> HttpResponseBase:
        response = self.form(f"{reason} Try again in {in_words(wait)}.", status=429)
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response


class EntrancePage(FormPage):
    """Begins a session behind a cookie, and goes on to `next`."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        return HttpResponseRedirect(next_path(request)) if self.session else super().get(request)

    def enter(self, user: User) -> HttpResponseBase:
        """Raises as `browsers.log_in`."""
        response = HttpResponseRedirect(next_path(self.request))  # `redirect` looks for views of this name
        browsers.log_in(response, user, self.request.headers.get("User-Agent", ""))
        rotate_token(self.request)
        if self.session:  # the browser's earlier one, which no cookie leads to any more
            Session.objects.filter(pk=self.session.pk).revoke()
        return response


class LoginPage(EntrancePage):
    template = "entrance/login"
    throttle_class = LoginThrottle

    def submit(self, request: HttpRequest) -> HttpResponseBase:
        serializer = LoginSerializer(data=fields(request, "email", "password"))
        if not serializer.is_valid():
            return self.form(WRONG, status=400)
        try:
            user = login_attempts.log_in(request, **serializer.validated_data)
            return self.enter(user) if user else self.form(WRONG, status=400)
        except login_attempts.TooManyAttempts as error:
            return self.refuse_for_now(str(error), error.retry_after)
        except verification.EmailNotVerified as error:
            return self.form(str(error.detail), status=403, is_unverified=True)
        except AuthenticationFailed:  # the password was replaced while it was checked
            return self.form(WRONG, status=400)


class SignupPage(EntrancePage):
    template = "entrance/signup"
    throttle_class = SignupThrottle
    kept = ("name", "email")

    def submit(self, request: HttpRequest) -> HttpResponseBase:
        serializer = SignupSerializer(data=fields(request, "name", "email", "password"))
        if not serializer.is_valid():
            return self.form(faults=serializer.errors, status=400)
        try:
            user = verification.sign_up(**serializer.validated_data)
        except verification.AddressTakenError as error:
            return self.form(faults={"email": [error]}, status=400)
        try:
            return self.enter(user)
        except verification.EmailNotVerified:
            query = next_query(request)
            return self.render("entrance/look_into_mailbox", email=user.email, next_query=query)


class LogoutPage(Page):
    """Ends the browser's session."""

    http_method_names = ("post",)

    def post(self, _request: HttpRequest) -> HttpResponseBase:
        if self.session:
            Session.objects.filter(pk=self.session.pk).revoke()
            self.session = None  # nothing is left to renew
        response = redirect("console:login")
        browsers.forget(response)
        return response


def fields(request: HttpRequest, *names: str) -> dict[str, str]:
    """The form's values of these names; an absent one is empty."""
    return {name: request.POST.get(name, "") for name in names}


def next_path(request: HttpRequest) -> str:
    """The page to go on with, which is one of this server."""
    path = request.POST.get("next") or request.GET.get("next") or "/"
    is_own = url_has_allowed_host_and_scheme(path, {request.get_host()}, request.is_secure())
    return path if is_own else "/"


def next_query(request: HttpRequest) -> str:
    """What takes `next` along to another page of the entrance."""
    path = next_path(request)
    return "" if path == "/" else f"?{urlencode({'next': path})}"


def in_words(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} seconds" if whole <= 60 else f"{-(-whole // 60)} minutes"  # noqa: PLR2004  # of a minute
