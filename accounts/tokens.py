"""A session's two tokens: signed, short-lived carriers of its row's id. And its tickets, each a row."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any, NoReturn, cast
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt import tokens as jwt
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.settings import api_settings

from accounts import verification
from accounts.models import USER_AGENT_LENGTH, Session, Ticket, User

MAX_CLOCK_SKEW = 10  # seconds, at most, between hosts that issue tokens and hosts that read them
# Errors that simplejwt does not convert: of text that is not ASCII, of a time beyond all calendars.
DECODE_ERRORS = (UnicodeEncodeError, OverflowError)
LONGEST_TOKEN = 4096
LONGEST_TICKET = 200
REFUSED = "The token is invalid, has expired, or its session is over."

ticket_signer = TimestampSigner(salt="accounts.tickets")


class Keyring(TokenBackend):
    """Signs with the present key, and also accepts signatures of previous keys."""

    def __init__(self, present: str, previous: list[str]) -> None:
        options = {
            "audience": api_settings.AUDIENCE,
            "issuer": api_settings.ISSUER,
            "leeway": MAX_CLOCK_SKEW,
        }
        super().__init__(api_settings.ALGORITHM, present, **options)
        self.previous = [TokenBackend(api_settings.ALGORITHM, key, **options) for key in previous]

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:  # as the library calls it
        try:
            return super().decode(token, verify)
        except TokenBackendError:
            for backend in self.previous:
                with suppress(TokenBackendError):
                    return backend.decode(token, verify)
            raise


@cache
def keyring() -> Keyring:
    return Keyring(settings.JWT_SECRET_KEY, settings.JWT_PREVIOUS_SECRET_KEYS)


class AccessToken(jwt.AccessToken):
    def get_token_backend(self) -> Keyring:
        return keyring()


class RefreshToken(jwt.RefreshToken):
    access_token_class = AccessToken

    def get_token_backend(self) -> Keyring:
        return keyring()


class BrowserToken(jwt.Token):
    """The value of the console's cookie. The API takes none as an access or a refresh token."""

    token_type = "browser"  # noqa: S105  # a kind's name
    lifetime = api_settings.REFRESH_TOKEN_LIFETIME

    def get_token_backend(self) -> Keyring:
        return keyring()


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds until the access token expires."""
    token_type: str = "bearer"  # noqa: S105  # a scheme's name


def open_session(user: User, user_agent: str) -> TokenPair:
    """Begin a session of the API. Raises as `begin_session`."""
    refresh = cast(RefreshToken, RefreshToken.for_user(user))
    return pair_of(refresh, begin_session(user, user_agent, refresh).pk)


def begin_session(user: User, user_agent: str, token: jwt.Token) -> Session:
    """The new session of a user whose password was checked, which lasts as long as the token.

    Raises AuthenticationFailed if the password was replaced since, EmailNotVerified.
    """
    verification.require_verified(user)
    with transaction.atomic():
        # Replacing the password ends the sessions that exist: this one must be among them, or must not begin
        # (`passwords.replace_password`).
        unchanged = User.objects.select_for_update(no_key=True).filter(pk=user.pk, password=user.password)
        if unchanged.first() is None:
            refuse_token()
        session = Session.objects.create(
            user=user,
            refresh_jti=token["jti"],
            expires_at=timezone.now() + cast(timedelta, token.lifetime),
            user_agent=user_agent[:USER_AGENT_LENGTH],
        )
        # A new password ends all of them in one statement, which must not take long.
        Session.objects.delete_surplus(user)
        return session


def rotate(raw: str) -> TokenPair:
    """The next pair of a session, for its present refresh token; an earlier one ends the session.

    Raises AuthenticationFailed, EmailNotVerified.
    """
    old = read_refresh(raw)
    sid, user_id = claimed_id(old, "sid"), claimed_id(old, "user_id")
    user = User.objects.filter(pk=user_id, is_active=True).first() or refuse_token()
    verification.require_verified(user)
    fresh = RefreshToken.for_user(user)
    now = timezone.now()
    alive = Session.objects.filter(pk=sid, user_id=user_id, revoked_at=None, expires_at__gt=now)
    # One statement on the row's own columns decides a race: the second request has a used token.
    rotated = alive.filter(refresh_jti=old["jti"]).update(
        refresh_jti=fresh["jti"], last_used_at=now, expires_at=now + fresh.lifetime
    )
    if not rotated:
        alive.revoke()
        refuse_token()
    return pair_of(fresh, sid)


def read_refresh(raw: str) -> RefreshToken:
    try:
        return RefreshToken(raw.encode())  # type: ignore[arg-type]  # bytes, as its own views pass
    except (TokenError, *DECODE_ERRORS):
        refuse_token()


def pair_of(refresh: jwt.RefreshToken, sid: UUID) -> TokenPair:
    refresh["sid"] = str(sid)
    access = refresh.access_token
    return TokenPair(str(access), str(refresh), int(access.lifetime.total_seconds()))


def issue_ticket(session: Session) -> str:
    """A text that opens one stream of the session's user within `Ticket.LASTS`."""
    raw = ticket_signer.sign(secrets.token_urlsafe(16))
    Ticket.objects.create(hash=hash_of(raw), session=session, expires_at=timezone.now() + Ticket.LASTS)
    return raw


def redeem_ticket(raw: str) -> Session | None:
    """The live session of an unused ticket, with its user and their settings. The ticket is used by this.

    None for others. Made-up and old tickets cost no query.
    """
    try:
        ticket_signer.unsign(raw, max_age=Ticket.LASTS)
    except BadSignature:
        return None
    tickets = Ticket.objects.filter(hash=hash_of(raw))
    session = Session.objects.alive().filter(tickets__in=tickets).select_related("user__settings").first()
    # Of two requests at once, one deletes it.
    return session if session and tickets.delete()[0] else None


def hash_of(ticket: str) -> str:
    return sha256(ticket.encode()).hexdigest()


def claimed_id(token: jwt.Token, claim: str) -> UUID:
    """The UUID in a claim. Raises AuthenticationFailed if it is of another type, before any query."""
    value = token.get(claim)
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        refuse_token()


def refuse_token() -> NoReturn:
    raise AuthenticationFailed(REFUSED)
