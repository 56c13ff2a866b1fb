"""Sign up, log in, refresh the tokens, log out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import FormParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import login_attempts, verification
from accounts.api.caller import account_locked, current_session
from accounts.api.serializers import (
    PASSWORD_CODES,
    FormLoginSerializer,
    LoginSerializer,
    LogoutSerializer,
    RefreshSerializer,
    SignupSerializer,
    TokenPairSerializer,
    UserSerializer,
)
from accounts.models import User
from accounts.tokens import claimed_id, open_session, read_refresh, rotate
from objectvision.api.errors import invalid
from objectvision.api.parsers import JSONParser
from objectvision.api.schema import REFUSED, ClientErrorSerializer
from objectvision.api.throttles import LoginThrottle, RefreshThrottle, SignupThrottle
from objectvision.api.views import StrictGenericView, StrictView


@extend_validation_errors(["unique"], "email")
@extend_validation_errors(PASSWORD_CODES, "password")
class SignupView(StrictGenericView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (SignupThrottle,)
    serializer_class = SignupSerializer

    @extend_schema(operation_id="signup", responses={201: UserSerializer})
    def post(self, request: Request) -> Response:
        """Sign up.

        Makes an account, and mails a link that verifies the address. The address is compared without regard
        to case.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            user = verification.sign_up(**serializer.validated_data)
        except verification.AddressTakenError as error:
            raise invalid("email", str(error), "unique") from error
        return Response(UserSerializer(user).data, status.HTTP_201_CREATED)


class AnonymousView(StrictGenericView):
    """For clients without a session. Refuses by 401, which needs a challenge: without one DRF answers 403."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, *_: Any, **__: Any) -> str:
        return "Bearer"


class LoginView(AnonymousView):
    throttle_classes = (LoginThrottle,)
    serializer_class = LoginSerializer
    parser_classes = (JSONParser, FormParser)

    @extend_schema(
        operation_id="login", responses={200: TokenPairSerializer, **REFUSED, 403: ClientErrorSerializer}
    )
    def post(self, request: Request) -> Response:
        """Log in.

        Begins a session and answers with its tokens. Takes JSON as shown, or a form with `username` and
        `password`. An unknown address and a wrong password answer alike. Where the server demands verified
        addresses, 403 says that yours is not.
        """
        user = self.authenticated_user(request)
        pair = open_session(user, request.headers.get("User-Agent", ""))
        return Response(TokenPairSerializer(pair).data, status.HTTP_200_OK)

    def authenticated_user(self, request: Request) -> User:
        is_form = (request.content_type or "").lower().startswith("application/x-www-form-urlencoded")
        serializer: Any = (FormLoginSerializer if is_form else LoginSerializer)(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = login_attempts.log_in(request, **serializer.validated_data)
        if user is None:
            raise AuthenticationFailed("The e-mail address or the password is wrong.")
        return user


class RefreshView(AnonymousView):
    throttle_classes = (RefreshThrottle,)
    serializer_class = RefreshSerializer

    @extend_schema(
        operation_id="refresh_tokens",
        responses={200: TokenPairSerializer, **REFUSED, 403: ClientErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        """Refresh the tokens.

        Answers with the session's next pair of tokens. A refresh token is good for one use: one that is used
        again, also by two requests at once, ends its session.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        pair = rotate(serializer.validated_data["refresh_token"])
        return Response(TokenPairSerializer(pair).data)


class LogoutView(StrictGenericView):
    serializer_class = LogoutSerializer

    @extend_schema(operation_id="logout", responses={204: None})
    def post(self, request: Request) -> Response:
        """Log out.

        Ends the session of the access token: both of its tokens are refused at once. With a refresh token of
        another session of yours, that one ends as well.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        ending = {current_session(request).pk}
        if raw := serializer.validated_data.get("refresh_token"):
            ending.add(claimed_id(read_refresh(raw), "sid"))
        with account_locked(request) as user:
            user.sessions.filter(pk__in=ending).revoke()
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAllView(StrictView):
    body_methods = ()

    @extend_schema(operation_id="logout_all", request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Log out everywhere.

        Ends every session of yours, and your log-ins to the admin.
        """
        with account_locked(request) as user:
            User.objects.end_all_sessions(User.objects.filter(pk=user.pk))
        return Response(status=status.HTTP_204_NO_CONTENT)
