from typing import NoReturn
from uuid import UUID

from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import Token

from accounts.models import Session, User

REFUSED = "The token is invalid, has expired, or its session is over."


def claimed_id(token: Token, claim: str) -> UUID:
    """The id in a claim. Claims are whatever somebody signed: a list or a number is refused, not queried."""
    value = token.get(claim)
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        refuse()


def refuse() -> NoReturn:
    raise AuthenticationFailed(REFUSED)


class SessionTokenAuthentication(JWTAuthentication):
    """An access token whose session's row is alive; one query loads the session with its user.

    The session is the request's `auth`.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:  # type: ignore[override]  # Session
        scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":  # the scheme's name is case-insensitive (RFC 9110)
            return None
        session = self.session_of(raw.strip())
        return session.user, session

    def session_of(self, raw: str) -> Session:
        try:
            token = self.get_validated_token(raw.encode())
        except (InvalidToken, UnicodeEncodeError):
            refuse()
        sid, user_id = claimed_id(token, "sid"), claimed_id(token, "user_id")
        try:
            return Session.objects.alive().select_related("user").get(pk=sid, user_id=user_id)
        except Session.DoesNotExist:
            refuse()
