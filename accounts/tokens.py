"""A session's two tokens: signed, short-lived carriers of its row's id."""

from dataclasses import dataclass

from django.utils import timezone
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import USER_AGENT_LENGTH, Session, User


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds that the access token lives."""
    token_type: str = "bearer"  # noqa: S105  # a scheme's name


def open_session(user: User, user_agent: str) -> TokenPair:
    """Begin a session for somebody who has proved who they are."""
    refresh = RefreshToken.for_user(user)
    session = Session.objects.create(
        user=user,
        refresh_jti=refresh["jti"],
        expires_at=timezone.now() + refresh.lifetime,
        user_agent=user_agent[:USER_AGENT_LENGTH],
    )
    refresh["sid"] = str(session.pk)
    access = refresh.access_token
    return TokenPair(str(access), str(refresh), int(access.lifetime.total_seconds()))
