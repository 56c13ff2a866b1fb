from copy import copy

from django.http import HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts import browsers, keys
from accounts.models import ApiKey, Session, User
from accounts.tokens import (
    DECODE_ERRORS,
    LONGEST_TICKET,
    LONGEST_TOKEN,
    claimed_id,
    redeem_ticket,
    refuse_token,
)
from objectvision.api.origins import is_own_page
from objectvision.api.plain_answers import CSRF_FAILED
from objectvision.api.throttles import CountedFailure, CredentialThrottle

TICKET_REFUSED = "The ticket is invalid, has expired, or was used."
KEY_REFUSED = "The API key is invalid, has expired, or was revoked."


def bearer_token(request: Request) -> str | None:
    scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # The scheme's name is case-insensitive (RFC 9110).
    return raw.strip() if scheme.lower() == "bearer" else None


class SessionTokenAuthentication(JWTAuthentication):
    """An access token whose session's row is alive; one query loads it with its user and their settings.

    The session is the request's `auth`.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:  # type: ignore[override]  # Session
        raw = bearer_token(request)
        if raw is None or raw.startswith(keys.START):
            return None
        if len(raw) > LONGEST_TOKEN:
            refuse_token()
        session = self.session_of(raw)
        return session.user, session

    def session_of(self, raw: str) -> Session:
        try:
            token = self.get_validated_token(raw.encode())
        except (InvalidToken, *DECODE_ERRORS):
            refuse_token()
        sid, user_id = claimed_id(token, "sid"), claimed_id(token, "user_id")
        return Session.objects.find_alive(sid, user_id) or refuse_token()


class ApiKeyAuthentication(BaseAuthentication):
    """A live API key, in `X-API-Key` or as the Bearer. The key's row is the request's `auth`.

    Keys that were valid lately (`keys.is_remembered`) are looked up at once, others within their own rate.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        raw = request.META.get("HTTP_X_API_KEY") or bearer_token(request)
        if not raw:
            return None
        if not keys.looks_like_key(raw):
            raise AuthenticationFailed(KEY_REFUSED)
        key = self.remembered_key(raw) if keys.is_remembered(raw) else self.counted_key(raw, request)
        key.note_use()
        return key.user, key

    def remembered_key(self, raw: str) -> ApiKey:
        key = keys.find_key(raw)
        if key is None:
            keys.forget_key(raw)
            raise AuthenticationFailed(KEY_REFUSED)
        return key

    def counted_key(self, raw: str, request: Request) -> ApiKey:
        """Counts the request before the look-up: made-up keys must not reach the database without limit."""
        throttle = CredentialThrottle()
        if not throttle.admits(request):
            raise Throttled(throttle.wait())
        key = keys.find_key(raw)
        if key is None:
            raise CountedFailure(KEY_REFUSED)
        keys.remember_key(raw)
        return key


class TicketAuthentication(BaseAuthentication):
    """The `ticket` of the query string, which is used by this. Its session is the request's `auth`."""

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        raw = request.query_params.get("ticket")
        if raw is None:
            return None
        session = redeem_ticket(raw) if len(raw) <= LONGEST_TICKET else None
        if session is None:
            raise AuthenticationFailed(TICKET_REFUSED)
        return session.user, session


class BrowserAuthentication(BaseAuthentication):
    """The console's cookie, for its own pages; what changes something needs their CSRF token in a header.

    The session is the request's `auth`.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        if not is_own_page(request):
            return None
        session = browsers.session_of(request)
        if session is None:
            return None
        if request.method not in SAFE_METHODS:
            check_csrf(request)
        return session.user, session


def check_csrf(request: Request) -> None:
    """Raises PermissionDenied."""
    twin = copy(request._request)  # noqa: SLF001  # DRF has no public name for Django's request
    twin.method = "PUT"  # of a POST, the whole form would be read to look for a token in it
    check = CSRFCheck(HttpResponse)
    check.process_request(twin)
    if check.process_view(twin, HttpResponse, (), {}):  # in place of a view: the API's own are exempt
        raise PermissionDenied(CSRF_FAILED, "csrf_failed")
