from typing import Any, ClassVar, NoReturn, cast

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.generics import CreateAPIView, GenericAPIView, RetrieveAPIView, RetrieveUpdateAPIView
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import tries
from accounts.models import Scope, Session, SessionQuerySet, User, UserSettings
from accounts.serializers import (
    FormLoginSerializer,
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    SignupSerializer,
    TokenPairSerializer,
    UserSerializer,
    UserSettingsSerializer,
)
from accounts.tokens import claimed_id, open_session, read_refresh, rotate
from objectvision.errors import invalid
from objectvision.schema import REFUSED, ClientErrorSerializer
from objectvision.throttles import LoginThrottle, RefreshThrottle, SignupThrottle

PASSWORD_CODES = [
    "password_entirely_numeric", "password_too_common", "password_too_short", "password_too_similar",
]  # fmt: skip  # a list to read at a glance


@extend_validation_errors(["unique"], "email")
@extend_validation_errors(PASSWORD_CODES, "password")
@extend_schema_view(
    post=extend_schema(
        operation_id="signup",
        summary="Sign up",
        description=(
            "Makes an account, and mails a link that verifies the address. The address is compared without "
            "regard to case."
        ),
        responses={201: UserSerializer},
        tags=["auth"],
    )
)
class SignupView(CreateAPIView[User]):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (SignupThrottle,)
    serializer_class = SignupSerializer


class StrangersView(GenericAPIView[Any]):
    """For whoever has no session yet. Refuses by 401, which needs a challenge; without one it became 403."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF's signature
        return "Bearer"


class LoginView(StrangersView):
    throttle_classes = (LoginThrottle,)
    serializer_class = LoginSerializer
    parser_classes = (JSONParser, FormParser)

    @extend_schema(
        operation_id="login",
        summary="Log in",
        description=(
            "Begins a session and answers with its tokens. Takes JSON as shown, or a form with "
            "`username` and `password`. An unknown address and a wrong password answer alike. Where the "
            "server demands verified addresses, 403 says that yours is not."
        ),
        responses={200: TokenPairSerializer, **REFUSED, 403: ClientErrorSerializer},
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
        user = log_in(request, **serializer.validated_data)
        if user is None:
            raise AuthenticationFailed("The e-mail address or the password is wrong.")
        return user


class RefreshView(StrangersView):
    throttle_classes = (RefreshThrottle,)
    serializer_class = RefreshSerializer

    @extend_schema(
        operation_id="refresh_tokens",
        summary="Refresh the tokens",
        description=(
            "Answers with the session's next pair of tokens. A refresh token is good for one use: one that "
            "is used again, also by two requests at once, ends its session."
        ),
        responses={200: TokenPairSerializer, **REFUSED, 403: ClientErrorSerializer},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        pair = rotate(serializer.validated_data["refresh_token"])
        return Response(TokenPairSerializer(pair).data)


class LogoutView(GenericAPIView[Any]):
    serializer_class = LogoutSerializer

    @extend_schema(
        operation_id="logout",
        summary="Log out",
        description=(
            "Ends the session of the access token: both of its tokens are refused at once. With a refresh "
            "token of another session of yours, that one ends as well."
        ),
        responses={204: None},
        tags=["auth"],
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        ending = {request.auth.pk}
        if raw := serializer.validated_data.get("refresh_token"):
            ending.add(claimed_id(read_refresh(raw), "sid"))
        own_sessions(request).filter(pk__in=ending).revoke()
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAllView(APIView):
    @extend_schema(
        operation_id="logout_all",
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
    return Session.objects.filter(user=me(request))


@extend_schema_view(
    get=extend_schema(
        operation_id="get_profile",
        summary="My profile",
        description="Who the access token belongs to.",
        responses={200: UserSerializer},
        tags=["users"],
    )
)
class ProfileView(RetrieveAPIView[User]):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT}
    serializer_class = UserSerializer

    def get_object(self) -> User:
        return me(self.request)


@extend_schema_view(
    get=extend_schema(
        operation_id="get_user", summary="A user", description="You yourself; staff may read everybody."
    ),
    patch=extend_schema(
        operation_id="update_user", summary="Change my name", description="Your own alone, for staff too."
    ),
)
@extend_schema(tags=["users"])
class UserView(RetrieveUpdateAPIView[User]):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT, "PATCH": Scope.ACCOUNT}
    serializer_class = UserSerializer
    queryset = User.objects.none()  # for the API's document, which nobody asks for
    http_method_names: tuple[str, ...] = ("get", "patch", "head", "options")

    def get_queryset(self) -> QuerySet[User]:
        user = me(self.request)
        reads_all = user.is_staff and self.request.method in SAFE_METHODS
        return User.objects.all() if reads_all else User.objects.filter(pk=user.pk)


@extend_validation_errors(["invalid", "max_length", "null"], "default_classes")
@extend_schema_view(
    get=extend_schema(
        operation_id="get_settings",
        summary="My settings",
        description="As they are before you have changed any, they are the defaults.",
    ),
    patch=extend_schema(
        operation_id="update_settings",
        summary="Change my settings",
        description="What is not named stays as it is.",
    ),
)
@extend_schema(tags=["users"])
class SettingsView(RetrieveUpdateAPIView[UserSettings]):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT, "PATCH": Scope.ACCOUNT}
    serializer_class = UserSettingsSerializer
    http_method_names = ("get", "patch", "head", "options")

    def get_object(self) -> UserSettings:
        return me(self.request).preferences


def check_password(request: Request, field: str, password: str) -> User:
    """Whoever asks, who knows the account's password; wrong ones count as wrong tries of a log-in, so that a
    stolen token does not help to find it. Raises ValidationError for the field, Throttled."""
    return log_in(request, me(request).email, password) or refuse_password(field)


def refuse_password(field: str) -> NoReturn:
    raise invalid(field, "The password is wrong.", "wrong_password")


def log_in(request: Request, email: str, password: str) -> User | None:
    """As `tries.log_in`; raises Throttled."""
    try:
        return tries.log_in(request, email, password)
    except tries.TooManyTriesError as error:
        raise Throttled(error.wait, "Too many wrong tries for this account.") from error


def me(request: Request) -> User:
    return cast(User, request.user)  # these views let nobody else in
