"""Change a password; reset one that is forgotten."""

from typing import NoReturn

from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import browsers, link_tokens, passwords
from accounts.api.authentication import BrowserAuthentication
from accounts.api.caller import confirm_password, current_session, refuse_password
from accounts.api.login import AnonymousView
from accounts.api.serializers import (
    PASSWORD_CODES,
    AddressSerializer,
    PasswordChangeSerializer,
    PasswordResetSerializer,
)
from accounts.models import User
from notifications.mail import outbox
from objectvision.api.errors import invalid
from objectvision.api.throttles import LoginThrottle, ReadThrottle, ResetThrottle
from objectvision.api.views import StrictGenericView


def check_strength(password: str, user: User) -> None:
    """Raises ValidationError."""
    if weaknesses := passwords.password_weaknesses(password, user):
        raise ValidationError({"new_password": weaknesses})


@extend_validation_errors(PASSWORD_CODES, "new_password")
@extend_validation_errors(["wrong_password"], "current_password")
class PasswordChangeView(StrictGenericView):
    serializer_class = PasswordChangeSerializer
    throttle_classes = (ReadThrottle, LoginThrottle)  # it hashes passwords, as log-ins do

    @extend_schema(operation_id="update_password", responses={204: None})
    def post(self, request: Request) -> Response:
        """Change my password.

        Ends your other sessions; this one goes on, and API keys stay. A browser at the console gets another
        cookie. A wrong current password counts as a wrong attempt to log in.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password = serializer.validated_data["new_password"]
        user = confirm_password(request, "current_password", serializer.validated_data["current_password"])
        check_strength(password, user)
        session, response = current_session(request), Response(status=status.HTTP_204_NO_CONTENT)
        if not passwords.change(user, password, by=session):
            refuse_password("current_password")
        if isinstance(request.successful_authenticator, BrowserAuthentication):
            browsers.log_in_anew(response, user, session)
        return response


class RequestMailView(AnonymousView):
    """Mails a link to an address. The answer does not tell whether the address has an account."""

    serializer_class = AddressSerializer
    kind: outbox.Kind

    def queue_link(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        outbox.queue_requested_mail(self.kind, serializer.validated_data["email"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(RequestMailView):
    throttle_classes = (ResetThrottle,)
    kind = outbox.Kind.PASSWORD_RESET

    @extend_schema(operation_id="create_password_reset", responses={204: None})
    def post(self, request: Request) -> Response:
        """Ask for a link to reset a password.

        Mails the link to the address if there is an account with it. The answer is the same if there is none.
        The link works once, within an hour.
        """
        return self.queue_link(request)


@extend_validation_errors(PASSWORD_CODES, "new_password")
class PasswordResetConfirmView(AnonymousView):
    serializer_class = PasswordResetSerializer

    @extend_schema(operation_id="confirm_password_reset", responses={204: None})
    def post(self, request: Request) -> Response:
        """Reset a password.

        Sets the password of the account that the link was mailed to, by the token in it, and ends all of its
        sessions. The address counts as verified from then on. If it did not before, API keys are revoked, for
        another person may have signed up with it; otherwise they stay.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        token, password = serializer.validated_data["token"], serializer.validated_data["new_password"]
        user = link_tokens.read_reset_token(token)
        if user is None:
            refuse_token()
        check_strength(password, user)
        if not passwords.reset(token, password):
            refuse_token()
        return Response(status=status.HTTP_204_NO_CONTENT)


def refuse_token() -> NoReturn:
    raise invalid("token", "The link is not valid, has expired or was used before.", "invalid")
