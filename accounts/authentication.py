from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts.models import Session, User
from accounts.tokens import NO_TOKEN, claimed_id, refuse


class SessionTokenAuthentication(JWTAuthentication):
    """An access token whose session's row is alive; one query loads it with its user and their settings.

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
        except (InvalidToken, *NO_TOKEN):
            refuse()
        sid, user_id = claimed_id(token, "sid"), claimed_id(token, "user_id")
        try:
            return Session.objects.alive().select_related("user__settings").get(pk=sid, user_id=user_id)
        except Session.DoesNotExist:
            refuse()
