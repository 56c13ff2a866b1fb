"""The mails about accounts: what their templates need, and whether they are still due as they are sent."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from accounts import link_tokens
from accounts.models import User
from notifications.mail import rendering
from notifications.mail.outbox import Kind
from objectvision.lib import links


def register_account_mails() -> None:
    rendering.register_mail(Kind.WELCOME, welcome_context)
    rendering.register_mail(Kind.VERIFY_EMAIL, verification_context)
    rendering.register_mail(Kind.PASSWORD_RESET, reset_context)
    rendering.register_mail(Kind.WEBHOOK_DISABLED, webhook_disabled_context)
    for kind in (Kind.PASSWORD_CHANGED, Kind.ACCOUNT_DELETED):
        rendering.register_mail(kind, empty_context)


def empty_context(_to: str) -> dict[str, Any]:
    return {}


def welcome_context(_to: str) -> dict[str, Any]:
    return {"link": settings.FRONTEND_BASE_URL or links.public(reverse("console:detect"))}


def verification_context(to: str) -> dict[str, Any] | None:
    """None if no active user has this address, or if it is verified."""
    user = active_user(to)
    if user is None or user.email_verified_at:
        return None
    page = links.public(reverse("verify-email"))
    link = link_with_token(page, link_tokens.make_verification_token(user))
    return {"link": link, "days": settings.VERIFICATION_DAYS}


def reset_context(to: str) -> dict[str, Any] | None:
    """None if no active user has this address."""
    user = active_user(to)
    if user is None:
        return None
    frontend = settings.FRONTEND_BASE_URL.rstrip("/")
    page = f"{frontend}/reset-password" if frontend else links.public(reverse("reset-password"))
    link = link_with_token(page, link_tokens.make_reset_token(user))
    hours = settings.PASSWORD_RESET_TIMEOUT // 3600
    return {"link": link, "lifetime": "the next hour" if hours == 1 else f"{hours} hours"}


def webhook_disabled_context(to: str) -> dict[str, Any] | None:
    """None if no active user has this address, or if they want no such mails."""
    user = active_user(to)
    if user is None or not user.preferences.notifications:
        return None
    return {"link": settings.FRONTEND_BASE_URL or links.public(reverse("console:account") + "#webhooks")}


def active_user(email: str) -> User | None:
    return User.objects.filter(email=email, is_active=True).first()


def link_with_token(page: str, token: str) -> str:
    return f"{page}?{urlencode({'token': token})}"
