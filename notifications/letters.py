"""What a mail says: words from templates/email, links with a fresh secret in them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from notifications import proofs
from notifications.models import Mail
from objectvision import links


class NoReaderError(Exception):
    """There is nobody to write this to."""


def write(mail: Mail) -> EmailMultiAlternatives:
    """Raises NoReaderError."""
    context = {
        "name": mail.name,
        "at": mail.created_at,
        "link": LINKS[mail.kind](mail.to) if mail.kind in LINKS else "",
        "company": settings.COMPANY_NAME,
        "sender": settings.EMAIL_SENDER,
        "hours": settings.PASSWORD_RESET_TIMEOUT // 3600,
        "days": settings.VERIFICATION_DAYS,
    }
    subject, text, html = (render(mail, form, context) for form in ("subject.txt", "base.txt", "base.html"))
    letter = EmailMultiAlternatives(" ".join(subject.split()), text.strip() + "\n", to=[mail.to])
    letter.attach_alternative(html, "text/html")
    # The same whenever this mail is sent again, so that it arrives once.
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    letter.extra_headers = {"Message-ID": f"<{mail.pk}@{domain}>", "Auto-Submitted": "auto-generated"}
    # Brevo takes no standard headers, and knows what it has sent by this one. The attribute is anymail's.
    letter.esp_extra = {"headers": {"idempotencyKey": str(mail.pk)}}  # type: ignore[attr-defined]  # see above
    return letter


def render(mail: Mail, form: str, context: dict[str, Any]) -> str:
    """One of the forms of a mail. Its words stand in one file, which fills the blocks of each."""
    return render_to_string(f"email/{mail.kind}.txt", {**context, "form": f"email/{form}"})


def link_to_start(to: str) -> str:  # noqa: ARG001  # as the others
    return settings.FRONTEND_BASE_URL or links.public(reverse("docs"))


def link_to_verify(to: str) -> str:
    user = reader(to)
    if getattr(user, "email_verified_at", None):
        raise NoReaderError
    return with_token(links.public(reverse("verify-email")), proofs.for_verification(user))


def link_to_reset(to: str) -> str:
    base = settings.FRONTEND_BASE_URL.rstrip("/")
    page = f"{base}/reset-password" if base else links.public(reverse("reset-password"))
    return with_token(page, proofs.for_reset(reader(to)))


LINKS: dict[str, Callable[[str], str]] = {
    Mail.Kind.WELCOME: link_to_start,
    Mail.Kind.VERIFY_EMAIL: link_to_verify,
    Mail.Kind.PASSWORD_RESET: link_to_reset,
}


def reader(to: str) -> AbstractBaseUser:
    """The active user with this address. Raises NoReaderError."""
    model = get_user_model()
    user = model.objects.filter(**{model.get_email_field_name(): to}, is_active=True).first()
    if user is None:
        raise NoReaderError
    return user


def with_token(url: str, token: str) -> str:
    return f"{url}?{urlencode({'token': token})}"
