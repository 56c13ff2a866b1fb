"""Settings and mail."""

from collections.abc import Callable

from anymail.exceptions import AnymailError, AnymailRequestsAPIError
from django.conf import settings
from django.core import checks
from django.core.mail import send_mail

from notifications.mail.delivery import code_and_message
from objectvision.doctor.findings import Finding, Status, error, first_line, ok, warning

SAID_BY_MAIL = "objectvision.W003"
MAIL_HINT = "Set BREVO_API_KEY and EMAIL_SENDER."


def check_settings() -> Finding:
    """What `check --deploy` says; the deployment's part only where this is one."""
    messages = [
        message
        for message in checks.run_checks(include_deployment_checks=settings.DEPLOYED)
        if message.level >= checks.WARNING and not message.is_silenced() and message.id != SAID_BY_MAIL
    ]
    if not messages:
        return ok(f"{settings.ENVIRONMENT}; secrets and addresses are set")
    worst = Status.ERROR if max(message.level for message in messages) >= checks.ERROR else Status.WARNING
    found = " ".join(f"{message.msg} ({message.id})" for message in messages)
    return Finding(worst, found, " ".join(message.hint for message in messages if message.hint))


def check_mail(recipient: str | None) -> Callable[[], Finding]:
    """Sends a mail to the recipient; without one it reaches nothing outside."""

    def check() -> Finding:
        if settings.BREVO_API_KEY:
            return send_test_mail(recipient) if recipient else ok(f"Brevo, from {settings.EMAIL_SENDER}")
        found = "BREVO_API_KEY is not set: mails, and the secret links in them, are printed"
        return warning(found) if settings.DEPLOYED or recipient else ok("mails are printed: development")

    return check


def send_test_mail(recipient: str) -> Finding:
    sender = settings.EMAIL_SENDER
    try:
        send_mail(f"Test mail of {settings.COMPANY_NAME}", "Mails arrive.", None, [recipient])
    except AnymailRequestsAPIError as reason:
        if reason.response is None:
            url = settings.ANYMAIL["BREVO_API_URL"]
            return error(f"{url} does not answer", "See that this machine reaches it, or set BREVO_API_URL.")
        code, message = code_and_message(reason.response)
        found = f"Brevo refuses it: {reason.response.status_code} {code} {message}"
        return error(found, f"Check BREVO_API_KEY, and that Brevo knows {sender} (EMAIL_SENDER) as a sender.")
    except (AnymailError, UnicodeError) as reason:
        return error(f"it cannot be sent: {first_line(reason)}", "Check EMAIL_SENDER and the address.")
    return ok(f"Brevo has taken a mail from {sender} to {recipient}")
