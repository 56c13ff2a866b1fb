"""Pages for mailed links where there is no front end. They need no script.

They set a new password, and end the access of another person who signed up with the address.
"""

import math
from typing import Any

from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.core.validators import MaxLengthValidator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views import View
from rest_framework.request import Request

from accounts import link_tokens, passwords
from accounts.api.serializers import PASSWORD_LENGTH
from objectvision.api.throttles import AnonThrottle


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for field in self.fields.values():
            field.help_text = ""  # the page has a sentence for both
            field.validators.append(MaxLengthValidator(PASSWORD_LENGTH))


class ThrottledPage(View):
    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        throttle = AnonThrottle()
        if throttle.admits(request):
            return super().dispatch(request, *args, **options)
        response = self.refuse()
        response["Retry-After"] = str(math.ceil(throttle.wait()))
        return response

    def refuse(self) -> HttpResponse:
        return render_page(self.request, "too_many", status=429)


class ResetPasswordPage(ThrottledPage):
    """The token comes in the link's query, and goes back in the form's body."""

    http_method_names = ("get", "head", "post")

    def get(self, request: HttpRequest) -> HttpResponseBase:
        token = request.GET.get("token", "")
        user = link_tokens.read_reset_token(token)
        if user is None:
            return render_page(request, "reset_refused", status=400)
        return render_page(request, "reset", token=token, form=NewPasswordForm(user))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        token = request.POST.get("token", "")
        user = link_tokens.read_reset_token(token)
        if user is None:
            return render_page(request, "reset_refused", status=400)
        form = NewPasswordForm(user, request.POST)
        if not form.is_valid():
            return render_page(request, "reset", status=400, token=token, form=form)
        if not passwords.reset(token, form.cleaned_data["new_password1"]):
            return render_page(request, "reset_refused", status=400)
        return render_page(request, "reset_done")


class EndAccessPage(ThrottledPage):
    """The target of the form on the page that a verification leads to. The token is in the body alone."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        if passwords.end_all_access(request.POST.get("token", "")):
            return render_page(request, "access_ended")
        return render_page(request, "access_not_ended", status=400)


def render_page(request: HttpRequest | Request, page: str, status: int = 200, **context: Any) -> HttpResponse:
    """The page `templates/accounts/<page>.html`, for requests of Django and of DRF."""
    context["company"] = settings.COMPANY_NAME
    response = render(request, f"accounts/{page}.html", context, status=status)
    return keep_address_secret(response)


def keep_address_secret(response: HttpResponse) -> HttpResponse:
    """For pages whose address contains a token: no other site is told of it, and no cache stores it."""
    # Not no-referrer: with it browsers send the origin "null" for forms, which the CSRF check refuses.
    response["Referrer-Policy"] = "strict-origin"
    response["Cache-Control"] = "no-store"
    return response
