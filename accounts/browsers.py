"""Sessions of browsers at the console: behind a cookie instead of the API's tokens."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError

from accounts.models import Session, User
from accounts.tokens import DECODE_ERRORS, LONGEST_TOKEN, BrowserToken, begin_session, claimed_id

RENEWED_AFTER = timedelta(days=1)


def log_in(response: HttpResponseBase, user: User, user_agent: str) -> Session:
    """Begin a session and put its cookie on the response. Raises as `begin_session`."""
    token = BrowserToken.for_user(user)
    session = begin_session(user, user_agent, token)
    set_cookie(response, session)
    return session


def session_of(request: HttpRequest | Request) -> Session | None:
    """The live session of the request's cookie, with its user and their settings."""
    raw = request.COOKIES.get(settings.CONSOLE_COOKIE_NAME, "")
    if not raw or len(raw) > LONGEST_TOKEN:
        return None
    try:
        token = BrowserToken(raw.encode())  # type: ignore[arg-type]  # bytes, as simplejwt's own views pass
        return Session.objects.find_alive(claimed_id(token, "sid"), claimed_id(token, "user_id"))
    except (TokenError, AuthenticationFailed, *DECODE_ERRORS):
        return None


def renew(response: HttpResponseBase, session: Session) -> None:
    """Prolong a session that is in use, once a day, so that it ends a while after the last visit."""
    now = timezone.now()
    if now - session.last_used_at < RENEWED_AFTER:
        return
    alive = Session.objects.alive().filter(pk=session.pk)
    if alive.update(last_used_at=now, expires_at=now + BrowserToken.lifetime):
        set_cookie(response, session)


def set_cookie(response: HttpResponseBase, session: Session) -> None:
    token = BrowserToken.for_user(session.user)
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
