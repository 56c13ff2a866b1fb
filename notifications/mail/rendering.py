"""The text and the HTML of a mail, from the template of its kind (`templates/email/<kind>.txt`).

Apps register the kinds that they send; this package does not know what a mail is about.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from notifications.models import Mail

MailContext = Callable[[str], dict[str, Any] | None]
"""What a template needs besides the common values, `link` among it, for the mail to an address.

None if no mail is due any longer: the account is gone, or the mail's purpose is fulfilled.
"""

mail_contexts: dict[str, MailContext] = {}


class NoReaderError(Exception):
    """The mail is not due any longer."""


def register_mail(kind: str, context: MailContext) -> None:
    mail_contexts[kind] = context


def render_mail(mail: Mail) -> EmailMultiAlternatives:
    """Raises NoReaderError."""
    own_context = mail_contexts[mail.kind](mail.to)
    if own_context is None:
        raise NoReaderError
    context = {
        "at": mail.created_at,
        "company": settings.COMPANY_NAME,
        "sender": settings.EMAIL_SENDER,
        **own_context,
        **(mail.data or {}),
    }
    subject, text, html = (
        fill_template(mail, layout, context) for layout in ("subject.txt", "base.txt", "base.html")
    )
    message = EmailMultiAlternatives(" ".join(subject.split()), text.strip() + "\n", to=[mail.to])
    message.attach_alternative(html, "text/html")
    # The same at every attempt, so that mailboxes drop a second copy.
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    message.extra_headers = {"Message-ID": f"<{mail.pk}@{domain}>", "Auto-Submitted": "auto-generated"}
    # Brevo takes no standard headers; by this one it drops a second copy. The attribute is anymail's.
    message.esp_extra = {"headers": {"idempotencyKey": str(mail.pk)}}  # type: ignore[attr-defined]  # see above
    return message


def fill_template(mail: Mail, layout: str, context: dict[str, Any]) -> str:
    """The kind's template extends the layout `form`: subject, text or HTML."""
    return render_to_string(f"email/{mail.kind}.txt", {**context, "form": f"email/{layout}"})
