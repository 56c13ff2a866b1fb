"""Passwords changed and reset, addresses verified."""

from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import passwords, verification
from accounts.models import User
from accounts.recovery_serializers import (
    AddressSerializer,
    PasswordChangeSerializer,
    PasswordResetSerializer,
)
from accounts.views import PASSWORD_CODES, StrangersView, check_password, refuse_password
from notifications import mail, proofs
from objectvision.errors import invalid
from objectvision.negotiation import OneAnswer
from objectvision.throttles import LoginThrottle, ReadThrottle, ResetThrottle, VerifyThrottle

NOTHING = status.HTTP_204_NO_CONTENT


def check_strength(password: str, user: User) -> None:
    if faults := passwords.faults(password, user):
        raise ValidationError({"new_password": faults})


@extend_validation_errors(PASSWORD_CODES, "new_password")
@extend_validation_errors(["wrong_password"], "current_password")
class PasswordChangeView(GenericAPIView[Any]):
    serializer_class = PasswordChangeSerializer
    throttle_classes = (ReadThrottle, LoginThrottle)  # it hashes passwords, as log-ins do

    @extend_schema(
        operation_id="update_password",
        summary="Change my password",
        description=(
            "Ends your other sessions; this one goes on, and API keys stay. A wrong current password counts "
            "as a wrong try to log in."
        ),
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password = serializer.validated_data["new_password"]
        user = check_password(request, "current_password", serializer.validated_data["current_password"])
        check_strength(password, user)
        if not passwords.change(user, password, keep=request.auth):
            refuse_password("current_password")
        return Response(status=NOTHING)


class AskingView(StrangersView):
    """Mails something to an address, and tells nobody whether it did."""

    serializer_class = AddressSerializer
    kind: mail.Kind

    def ask(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            mail.ask(self.kind, serializer.validated_data["email"])
        except mail.TooManyMailsError as error:
            raise Throttled(error.wait, "Too many mails to this address.") from error
        return Response(status=NOTHING)


class PasswordResetView(AskingView):
    throttle_classes = (ResetThrottle,)
    kind = mail.Kind.PASSWORD_RESET

    @extend_schema(
        operation_id="create_password_reset",
        summary="Ask for a link to reset a password",
        description=(
            "Mails the link to the address if there is an account with it. The answer is the same if there "
            "is none. The link works once, within an hour."
        ),
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        return self.ask(request)


@extend_validation_errors(PASSWORD_CODES, "new_password")
class PasswordResetConfirmView(StrangersView):
    serializer_class = PasswordResetSerializer

    @extend_schema(
        operation_id="confirm_password_reset",
        summary="Reset a password",
        description=(
            "Sets the password of the account that the link was mailed to, by the token in it, and ends all "
            "of its sessions. The address counts as verified from then on. If it did not before, API keys "
            "are revoked, for somebody else may have signed up with it; otherwise they stay."
        ),
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        proof, password = serializer.validated_data["token"], serializer.validated_data["new_password"]
        user = proofs.read_reset(proof)
        if not isinstance(user, User):
            refuse_proof()
        check_strength(password, user)
        if not passwords.reset(proof, password):
            refuse_proof()
        return Response(status=NOTHING)


def refuse_proof() -> NoReturn:
    raise invalid("token", "The link is not valid, has expired or was used before.", "invalid")


class VerifyEmailView(AskingView):
    content_negotiation_class = OneAnswer  # browsers follow the link
    throttle_classes = (VerifyThrottle,)
    kind = mail.Kind.VERIFY_EMAIL

    def get_throttles(self) -> list[Any]:
        """Mails cost more than links: following one is counted with all else that strangers do."""
        asks = self.request.method == "POST"
        return super().get_throttles() if asks else [each() for each in StrangersView.throttle_classes]

    @extend_schema(
        operation_id="create_verification",
        summary="Ask for a link to verify an address",
        description=(
            "Mails the link to the address, if there is an account with it that is not verified. The answer "
            "is the same if there is none. The link works for 3 days."
        ),
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        return self.ask(request)

    @extend_schema(
        operation_id="verify_email",
        summary="Verify an address",
        description=(
            "Where the mailed link leads. Redirects to the front end's page for success or failure, or shows "
            "a page where there is none."
        ),
        parameters=[OpenApiParameter("token", str, description="From the mailed link.")],
        responses={
            302: None,
            (200, "text/html"): OpenApiTypes.STR,
            (400, "text/html"): OpenApiTypes.STR,
        },
        tags=["auth"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        if verification.verify(request.query_params.get("token", "")):
            return leads_to(settings.FRONTEND_SUCCESS_URL) or show(request, "verified")
        return leads_to(settings.FRONTEND_ERROR_URL) or show(request, "unverified", status=400)


def leads_to(url: str) -> HttpResponse | None:
    return secretive(HttpResponseRedirect(url)) if url else None


def show(request: Any, page: str, status: int = 200, **context: Any) -> HttpResponse:
    """A page of ours, for Django's requests and DRF's."""
    context["company"] = settings.COMPANY_NAME
    return secretive(render(request, f"accounts/{page}.html", context, status=status))


def secretive(response: HttpResponse) -> HttpResponse:
    """Of a page in whose address a secret stands: nobody is told of it, and nothing keeps it."""
    # Not no-referrer: with that browsers call the origin of a form "null", which CSRF's check refuses.
    response["Referrer-Policy"] = "strict-origin"
    response["Cache-Control"] = "no-store"
    return response
