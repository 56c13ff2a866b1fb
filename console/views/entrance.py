"""Signing up, logging in and out."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.exceptions import AuthenticationFailed

from accounts import browsers, login_attempts, verification
from accounts.api.serializers import LoginSerializer
from accounts.models import Session
from console.pages import Page
from objectvision.api.throttles import LoginThrottle

WRONG = "The e-mail address or the password is wrong."


class LoginPage(Page):
    """Begins a session behind a cookie."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        if self.session:
            return redirect(next_path(request))
        return self.form()

    def post(self, request: HttpRequest) -> HttpResponseBase:
        if not LoginThrottle().admits(request):
            return self.form("Too many log-ins from your address. Try again in a minute.", status=429)
        serializer = LoginSerializer(data=fields(request, "email", "password"))
        if not serializer.is_valid():
            return self.form(WRONG, status=400)
        try:
            user = login_attempts.log_in(request, **serializer.validated_data)
            if user is None:
                return self.form(WRONG, status=400)
            response = redirect(next_path(request))
            browsers.log_in(response, user, request.headers.get("User-Agent", ""))
        except login_attempts.TooManyAttempts as error:
            return self.form(f"{error} Try again in {error.retry_after:.0f} seconds.", status=429)
        except (verification.EmailNotVerified, AuthenticationFailed) as error:
            return self.form(str(error.detail), status=403)
        rotate_token(request)
        if self.session:  # the browser's earlier one, which no cookie leads to any more
            Session.objects.filter(pk=self.session.pk).revoke()
        return response

    def form(self, fault: str = "", status: int = 200) -> HttpResponseBase:
        values = {"email": self.request.POST.get("email", ""), "next": next_path(self.request)}
        return self.render("entrance/login", status, fault=fault, **values)


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
