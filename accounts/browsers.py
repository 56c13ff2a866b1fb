"""Sessions of browsers at the console: behind a cookie instead of the API's tokens."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import verification
from accounts.models import Session, User
from accounts.tokens import (
    DECODE_ERRORS,
    LONGEST_TOKEN,
    BrowserToken,
    begin_session,
    claimed_id,
    refuse_token,
)

RENEWED_AFTER = timedelta(days=1)


def log_in(response: HttpResponseBase, user: User, user_agent: str) -> None:
    """Begin a session and put its cookie on the response. Raises as `begin_session`."""
    token = BrowserToken.for_user(user)
    set_cookie(response, token, begin_session(user, user_agent, token))


def log_in_anew(response: HttpResponseBase, user: User, earlier: Session) -> None:
    """Begin a session in place of an earlier one, whose cookie may have been copied.

    Raises AuthenticationFailed if that one has ended, and as `begin_session`.
    """
    if not Session.objects.filter(pk=earlier.pk).revoke():
        refuse_token()
    log_in(response, user, earlier.user_agent)


def session_of(request: HttpRequest | Request) -> Session | None:
    """The live session of the request's cookie, with its user and their settings."""
    raw = request.COOKIES.get(settings.CONSOLE_COOKIE_NAME, "")
    if not raw or len(raw) > LONGEST_TOKEN:
        return None
    try:
        token = BrowserToken(raw.encode())  # type: ignore[arg-type]  # bytes, as simplejwt's own views pass
        session = Session.objects.find_alive(claimed_id(token, "sid"), claimed_id(token, "user_id"))
    except (TokenError, AuthenticationFailed, *DECODE_ERRORS):
        return None
    # That addresses are verified may be demanded only since the log-in.
    return None if session is None or verification.is_missing(session.user) else session


def renew(response: HttpResponseBase, session: Session) -> None:
    """Prolong a session that is in use, once a day, or sooner where it lives for few, so that it goes on."""
    now = timezone.now()
    if now - session.last_used_at < min(RENEWED_AFTER, BrowserToken.lifetime / 2):
        return
    alive = Session.objects.alive().filter(pk=session.pk)
    if alive.update(last_used_at=now, expires_at=now + BrowserToken.lifetime):
        set_cookie(response, BrowserToken.for_user(session.user), session)


def set_cookie(response: HttpResponseBase, token: Token, session: Session) -> None:
    token["sid"] = str(session.pk)
    response.set_cookie(
        settings.CONSOLE_COOKIE_NAME,
        str(token),
        max_age=BrowserToken.lifetime,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def forget(response: HttpResponseBase) -> None:
    """Delete the cookie. The session's row decides whether it is over."""
    response.delete_cookie(settings.CONSOLE_COOKIE_NAME, samesite="Lax")
