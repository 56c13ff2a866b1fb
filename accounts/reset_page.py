"""A page to choose a new password on, for mailed links where there is no front end. It needs no script."""

import math
from typing import Any

from django.contrib.auth.forms import SetPasswordForm
from django.core.validators import MaxLengthValidator
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from accounts import passwords
from accounts.models import User
from accounts.recovery_views import show
from accounts.serializers import PASSWORD_LENGTH
from notifications import proofs
from objectvision.throttles import AnonThrottle


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for field in self.fields.values():
            field.help_text = ""  # the page has a sentence for both
            field.validators.append(MaxLengthValidator(PASSWORD_LENGTH))


class ResetPasswordPage(View):
    """The secret comes in the link's query, and goes back in the form's body."""

    http_method_names = ("get", "head", "post")

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        throttle = AnonThrottle()
        if throttle.admits(request):
            return super().dispatch(request, *args, **options)
        answer = show(request, "too_many", status=429)
        answer["Retry-After"] = str(math.ceil(throttle.wait()))
        return answer

    def get(self, request: HttpRequest) -> HttpResponseBase:
        proof = request.GET.get("token", "")
        user = proofs.read_reset(proof)
        if not isinstance(user, User):
            return show(request, "no_reset", status=400)
        return show(request, "reset", proof=proof, form=NewPasswordForm(user))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        proof = request.POST.get("token", "")
        user = proofs.read_reset(proof)
        if not isinstance(user, User):
            return show(request, "no_reset", status=400)
        form = NewPasswordForm(user, request.POST)
        if not form.is_valid():
            return show(request, "reset", status=400, proof=proof, form=form)
        done = passwords.reset(proof, form.cleaned_data["new_password1"])
        return show(request, "was_reset") if done else show(request, "no_reset", status=400)
