from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts import keys
from accounts.models import ApiKey, Session, User
from accounts.tokens import NO_TOKEN, claimed_id, refuse


def bearer(request: Request) -> str | None:
    scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # The scheme's name is case-insensitive (RFC 9110).
    return raw.strip() if scheme.lower() == "bearer" else None


class SessionTokenAuthentication(JWTAuthentication):
    """An access token whose session's row is alive; one query loads it with its user and their settings.

    The session is the request's `auth`.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:  # type: ignore[override]  # Session
        raw = bearer(request)
        if raw is None or raw.startswith(keys.START):
            return None
        session = self.session_of(raw)
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


class ApiKeyAuthentication(BaseAuthentication):
    """A live API key, in `X-API-Key` or as the Bearer. The key's row is the request's `auth`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        raw = request.META.get("HTTP_X_API_KEY") or bearer(request)
        if not raw:
            return None
        key = keys.find(raw)
        if key is None:
            raise AuthenticationFailed("The API key is invalid, has expired, or was revoked.")
        key.note_use()
        return key.user, key
