from io import StringIO

from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend as ConsoleBackend


class EmailBackend(ConsoleBackend):
    """Prints what people read, without the HTML that says the same."""

    def write_message(self, message: EmailMessage) -> None:
        """At once: no line of the log gets into a mail."""
        plain = EmailMessage(
            message.subject, message.body, message.from_email, message.to, headers=message.extra_headers
        )
        text = StringIO()
        ConsoleBackend(stream=text).write_message(plain)
        self.stream.write(text.getvalue())
