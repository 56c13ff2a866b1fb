"""Text and HTML of mails."""

import re
from html.parser import HTMLParser

import pytest
from django.core import mail as outgoing
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from notifications.mail import rendering
from notifications.mail.outbox import Kind
from notifications.models import Mail

ADA = "ada@example.com"
SUBJECTS = {
    "welcome": "Welcome to ObjectVision",
    "verify_email": "Confirm your e-mail address for ObjectVision",
    "password_reset": "Reset your password for ObjectVision",
    "password_changed": "Your password for ObjectVision was changed",
    "webhook_disabled": "A webhook of yours at ObjectVision was disabled",
    "account_deleted": "Your account at ObjectVision is deleted",
    "detection_approved": "Your results at ObjectVision are public",
    "detection_rejected": "Your results at ObjectVision are not public",
}
LINKED = {
    "webhook_disabled", "welcome", "verify_email", "password_reset", "detection_approved",
    "detection_rejected",
}  # fmt: skip  # a list to read at a glance
DATA = {
    "detection_approved": {"count": 1},
    "detection_rejected": {"count": 2, "reason": "It shows <a face> & a name"},
}


class Page(HTMLParser):
    """The tags, links and text of an HTML page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.hidden = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.links += [values[name] for name in ("href", "src") if name in values]

    def handle_data(self, data):
        self.text += data


def rendered(kind, to=ADA):
    return rendering.render_mail(Mail(kind=kind, to=to, created_at=timezone.now(), data=DATA.get(kind)))


def parts(message):
    ((html, media_type),) = message.alternatives
    assert media_type == "text/html"
    return message.body, html


@pytest.mark.parametrize("kind", Kind)
def test_each_mail_says_the_same_in_text_and_html(user, settings, kind):
    settings.COMPANY_NAME, settings.EMAIL_SENDER = "Acme", "hello@acme.example"
    message = rendered(kind)
    text, html = parts(message)
    page = Page(html)
    assert message.subject == SUBJECTS[kind].replace("ObjectVision", "Acme")
    assert "Acme · hello@acme.example" in text
    assert "Acme · hello@acme.example" in page.text
    sentences = [line for line in text.splitlines() if line.endswith(".")]
    assert len(sentences) == 3
    for sentence in sentences:
        assert sentence in " ".join(page.text.split())
    links = re.findall(r"^http\S+$", text, re.MULTILINE)
    assert len(links) == (kind in LINKED)
    assert page.links == links * 2
    assert {"script", "img", "link", "form", "iframe"} & set(page.tags) == set()


def test_the_mail_of_a_disabled_webhook_leads_to_the_users_webhooks(user):
    assert "\nhttp://localhost:8000/account#webhooks\n" in rendered(Kind.WEBHOOK_DISABLED).body


def test_the_preview_of_a_mail_shows_no_link(user):
    _, html = parts(rendered(Kind.PASSWORD_RESET))
    preheader = re.search(r"display: none.*?>(.*?)</div>", html, re.DOTALL)[1]
    assert preheader.startswith("The link works once, within the next hour.")


def test_a_mail_has_only_the_expected_headers_and_one_recipient(user, settings, transactional_db, eager):
    from notifications.mail import outbox

    outbox.queue_mail(Kind.WELCOME, ADA)
    (sent,) = outgoing.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert set(sent.message().keys()) == {
        "Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted",
    }  # fmt: skip  # a list to read at a glance
    assert sent.recipients() == [ADA]


def test_a_company_name_is_escaped_in_html_only(user, settings):
    settings.COMPANY_NAME = "Smith & <Sons>"
    message = rendered(Kind.WELCOME)
    text, html = parts(message)
    assert message.subject == "Welcome to Smith & <Sons>"
    assert "your account at Smith & <Sons> is ready" in text
    assert "your account at Smith & <Sons> is ready" in Page(html).text


def test_a_mail_has_the_same_message_id_at_every_attempt(user, settings):
    settings.DEFAULT_FROM_EMAIL = '"Acme, Inc." <hello@acme.example>'
    row = Mail(kind=Kind.PASSWORD_RESET, to=ADA)
    names = {rendering.render_mail(row).extra_headers["Message-ID"] for _ in range(2)}
    assert names == {f"<{row.pk}@acme.example>"}


def test_the_console_backend_prints_only_the_text(user, settings, capsys):
    settings.EMAIL_BACKEND = "notifications.mail.console.EmailBackend"
    rendered(Kind.PASSWORD_RESET).send()
    printed = capsys.readouterr().out
    assert "\nhttp://localhost:8000/reset-password?token=" in printed
    assert "<html" not in printed


def test_an_app_registers_the_context_and_the_readers_of_a_mail(monkeypatch):
    monkeypatch.setattr(rendering, "mail_contexts", {})
    due = {ADA: {"link": "https://acme.example/start"}}
    rendering.register_mail(Kind.WELCOME, due.get)
    assert "\nhttps://acme.example/start\n" in rendered(Kind.WELCOME).body
    with pytest.raises(rendering.NoReaderError):
        rendered(Kind.WELCOME, to="eve@example.com")
