"""Where visitors ask for a mail with a link."""

from typing import ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.api.serializers import AddressSerializer
from console.views.entrance import FormPage, fields
from notifications.mail import outbox
from objectvision.api.throttles import ResetThrottle, VerifyThrottle


class LinkPage(FormPage):
    """Its answer does not tell whether the address has an account."""

    template = "entrance/ask_for_link"
    kind: ClassVar[outbox.Kind]

    def submit(self, request: HttpRequest) -> HttpResponseBase:
        serializer = AddressSerializer(data=fields(request, "email"))
        if not serializer.is_valid():
            return self.form(faults=serializer.errors, status=400)
        try:
            outbox.queue_requested_mail(self.kind, serializer.validated_data["email"])
        except outbox.TooManyMails as error:
            return self.refuse_for_now(str(error), error.retry_after)
        return redirect(f"{request.path}?sent")


class ForgotPasswordPage(LinkPage):
    throttle_class = ResetThrottle
    kind = outbox.Kind.PASSWORD_RESET
    texts: ClassVar = {
        "heading": "Forgot your password?",
        "text": "We mail you a link to choose a new one.",
        "sent": "If there is an account with this address, a link that works for an hour is on its way.",
    }


class VerifyEmailPage(LinkPage):
    throttle_class = VerifyThrottle
    kind = outbox.Kind.VERIFY_EMAIL
    texts: ClassVar = {
        "heading": "Verify your address",
        "text": "We mail you another link, which shows that the address is yours.",
        "sent": "If there is an account with this address that is not verified, a link is on its way.",
    }
