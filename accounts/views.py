from typing import Any, cast

from django.contrib.auth import authenticate
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import CreateAPIView, RetrieveAPIView
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Session, SessionQuerySet, User
from accounts.serializers import (
    FormLoginSerializer,
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    SignupSerializer,
    TokenPairSerializer,
    UserSerializer,
)
from accounts.tokens import claimed_id, open_session, read_refresh, rotate

CREDENTIALS = {"email": "ada@example.com", "password": "a-long-passphrase"}


@extend_schema(
    summary="Sign up",
    description="Makes an account. The address is compared without regard to case.",
    responses={201: UserSerializer},
    examples=[OpenApiExample("Sign up", {**CREDENTIALS, "name": "Ada"}, request_only=True)],
    tags=["auth"],
)
class SignupView(CreateAPIView[User]):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    serializer_class = SignupSerializer


class StrangersView(APIView):
    """For whoever has no session yet. Refuses by 401, which needs a challenge; without one it became 403."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF's signature
        return "Bearer"


class LoginView(StrangersView):
    parser_classes = (JSONParser, FormParser)

    @extend_schema(
        summary="Log in",
        description=(
            "Begins a session and answers with its tokens. Takes JSON as shown, or a form with "
            "`username` and `password`. An unknown address and a wrong password answer alike."
        ),
        request=LoginSerializer,
        responses={200: TokenPairSerializer},
        examples=[OpenApiExample("Log in", CREDENTIALS, request_only=True)],
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        user = self.who(request)
        pair = open_session(user, request.headers.get("User-Agent", ""))
        return Response(TokenPairSerializer(pair).data, status.HTTP_200_OK)

    def who(self, request: Request) -> User:
        is_form = (request.content_type or "").lower().startswith("application/x-www-form-urlencoded")
        serializer: Any = (FormLoginSerializer if is_form else LoginSerializer)(data=request.data)
        serializer.is_valid(raise_exception=True)
        # Hashes for an unknown address too, so that the time tells nothing.
        user = authenticate(request, **serializer.validated_data)
        if not isinstance(user, User):
            raise AuthenticationFailed("The e-mail address or the password is wrong.")
        return user


class RefreshView(StrangersView):
    @extend_schema(
        summary="Refresh the tokens",
        description=(
            "Answers with the session's next pair of tokens. A refresh token is good for one use: one that "
            "is used again, also by two requests at once, ends its session."
        ),
        request=RefreshSerializer,
        responses={200: TokenPairSerializer},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = RefreshSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        pair = rotate(serializer.validated_data["refresh_token"])
        return Response(TokenPairSerializer(pair).data)


class LogoutView(APIView):
    @extend_schema(
        summary="Log out",
        description=(
            "Ends the session of the access token: both of its tokens are refused at once. With a refresh "
            "token of another session of yours, that one ends as well."
        ),
        request=LogoutSerializer,
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = LogoutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        ending = {request.auth.pk}
        if raw := serializer.validated_data.get("refresh_token"):
            ending.add(claimed_id(read_refresh(raw), "sid"))
        own_sessions(request).filter(pk__in=ending).revoke()
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAllView(APIView):
    @extend_schema(
        summary="Log out everywhere",
        description="Ends every session of yours.",
        request=None,
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        own_sessions(request).revoke()
        return Response(status=status.HTTP_204_NO_CONTENT)


def own_sessions(request: Request) -> SessionQuerySet:
    return Session.objects.filter(user=cast(User, request.user))


@extend_schema(summary="My profile", responses={200: UserSerializer}, tags=["users"])
class ProfileView(RetrieveAPIView[User]):
    """Who the access token belongs to."""

    serializer_class = UserSerializer

    def get_object(self) -> User:
        return self.request.user  # type: ignore[return-value]  # the view lets nobody else in
