from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend as ConsoleBackend


class EmailBackend(ConsoleBackend):
    """Prints what people read, without the HTML that says the same."""

    def write_message(self, message: EmailMessage) -> None:
        super().write_message(
            EmailMessage(
                message.subject, message.body, message.from_email, message.to, headers=message.extra_headers
            )
        )
