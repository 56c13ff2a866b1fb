"""A session's two tokens: signed, short-lived carriers of its row's id."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt import tokens as jwt
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.settings import api_settings

from accounts import verification
from accounts.models import USER_AGENT_LENGTH, Session, User

# What simplejwt lets through beside its own: text that is no ASCII, a time beyond all calendars.
NO_TOKEN = (UnicodeEncodeError, OverflowError)
REFUSED = "The token is invalid, has expired, or its session is over."


class Keyring(TokenBackend):
    """Signs with the present key, and believes what previous ones signed as well."""

    def __init__(self, present: str, previous: list[str]) -> None:
        about = {"audience": api_settings.AUDIENCE, "issuer": api_settings.ISSUER}
        super().__init__(api_settings.ALGORITHM, present, **about)
        self.previous = [TokenBackend(api_settings.ALGORITHM, key, **about) for key in previous]

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


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds that the access token lives."""
    token_type: str = "bearer"  # noqa: S105  # a scheme's name


def open_session(user: User, user_agent: str) -> TokenPair:
    """Begin a session for somebody who has proved who they are.

    Raises AuthenticationFailed, EmailNotVerified.
    """
    verification.check(user)
    refresh = RefreshToken.for_user(user)
    with transaction.atomic():
        # A password that is replaced meanwhile ends the sessions that are there: this one must be among them,
        # or must not begin (`passwords.replace`).
        as_proved = User.objects.select_for_update(no_key=True).filter(pk=user.pk, password=user.password)
        if as_proved.first() is None:
            refuse()
        session = Session.objects.create(
            user=user,
            refresh_jti=refresh["jti"],
            expires_at=timezone.now() + refresh.lifetime,
            user_agent=user_agent[:USER_AGENT_LENGTH],
        )
    return pair_of(refresh, session.pk)


def rotate(raw: str) -> TokenPair:
    """The next pair of a session, for its present refresh token; an earlier one ends the session.

    Raises AuthenticationFailed, EmailNotVerified.
    """
    old = read_refresh(raw)
    sid, user_id = claimed_id(old, "sid"), claimed_id(old, "user_id")
    user = User.objects.filter(pk=user_id, is_active=True).first() or refuse()
    verification.check(user)
    fresh = RefreshToken.for_user(user)
    now = timezone.now()
    alive = Session.objects.filter(pk=sid, user_id=user_id, revoked_at=None, expires_at__gt=now)
    # One statement on the row's own columns decides a race: whoever comes second holds a used token.
    rotated = alive.filter(refresh_jti=old["jti"]).update(
        refresh_jti=fresh["jti"], last_used_at=now, expires_at=now + fresh.lifetime
    )
    if not rotated:
        alive.revoke()
        refuse()
    return pair_of(fresh, sid)


def read_refresh(raw: str) -> RefreshToken:
    try:
        return RefreshToken(raw.encode())  # type: ignore[arg-type]  # bytes, as its own views pass
    except (TokenError, *NO_TOKEN):
        refuse()


def pair_of(refresh: jwt.RefreshToken, sid: UUID) -> TokenPair:
    refresh["sid"] = str(sid)
    access = refresh.access_token
    return TokenPair(str(access), str(refresh), int(access.lifetime.total_seconds()))


def claimed_id(token: jwt.Token, claim: str) -> UUID:
    """The id in a claim. Claims are whatever somebody signed: a list or a number is refused, not queried."""
    value = token.get(claim)
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        refuse()


def refuse() -> NoReturn:
    raise AuthenticationFailed(REFUSED)
