"""What mails say, and what nobody can make them say."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail as outgoing
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from notifications import letters, proofs
from notifications.mail import Kind
from notifications.models import Mail

ADA = "ada@example.com"
SUBJECTS = {
    "welcome": "Welcome to ObjectVision",
    "verify_email": "Confirm your e-mail address for ObjectVision",
    "password_reset": "Reset your password for ObjectVision",
    "password_changed": "Your password for ObjectVision was changed",
    "account_deleted": "Your account at ObjectVision is deleted",
}
LINKED = {"welcome", "verify_email", "password_reset"}


class Page(HTMLParser):
    """What there is to read, to follow and to load."""

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


def letter(kind, to=ADA, name=""):
    return letters.write(Mail(kind=kind, to=to, name=name, created_at=timezone.now()))


def parts(written):
    ((html, media_type),) = written.alternatives
    assert media_type == "text/html"
    return written.body, html


def token(link):
    return parse_qs(urlsplit(link).query)["token"][0]


@pytest.mark.parametrize("kind", Kind)
def test_each_mail_says_the_same_in_text_and_html(user, settings, kind):
    settings.COMPANY_NAME, settings.EMAIL_SENDER = "Acme", "hello@acme.example"
    written = letter(kind)
    text, html = parts(written)
    page = Page(html)
    assert written.subject == SUBJECTS[kind].replace("ObjectVision", "Acme")
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


def test_what_a_list_of_mails_shows_beside_the_subject_is_no_link(user):
    _, html = parts(letter(Kind.PASSWORD_RESET))
    preheader = re.search(r"display: none.*?>(.*?)</div>", html)[1]
    assert preheader.startswith("The link works once, within the next hour.")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "http://localhost:8000/reset-password"),
        ("https://app.example/x/", "https://app.example/x/reset-password"),
    ],
)
def test_a_reset_leads_to_the_front_end_or_to_a_page_of_ours(user, settings, base, expected):
    settings.FRONTEND_BASE_URL = base
    link = re.search(r"http\S+", letter(Kind.PASSWORD_RESET).body)[0]
    assert link.partition("?")[0] == expected
    assert proofs.read_reset(token(link)) == user


def test_a_verification_leads_to_the_api(user, settings):
    settings.PUBLIC_URL = "https://api.example/base/"
    link = re.search(r"http\S+", letter(Kind.VERIFY_EMAIL).body)[0]
    assert link.partition("?")[0] == "https://api.example/base/api/v1/auth/verify-email"
    assert proofs.read_verification(token(link)) == user


def test_a_name_is_text_and_nothing_else(user):
    name = '<b>Ada</b> & "Co" {{ link }} <script>alert(1)</script>'
    text, html = parts(letter(Kind.WELCOME, name=name))
    assert text.startswith(f"Hello {name},\n")
    assert f"Hello {name}," in Page(html).text
    assert {"b", "script"} & set(Page(html).tags) == set()


@pytest.mark.parametrize("name", ["Ada\r\nBcc: eve@example.com", "Ada\n\nVisit us", "Ada\x85\u2028Bcc: x"])
def test_a_name_with_line_breaks_adds_no_header_and_no_line(user, name, settings, transactional_db, eager):
    from notifications import mail

    mail.send(Kind.WELCOME, ADA, name)
    (sent,) = outgoing.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert set(sent.message().keys()) == {
        "Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted",
    }  # fmt: skip  # a list to read at a glance
    assert sent.recipients() == [ADA]
    assert sent.body.splitlines()[0] == f"Hello {' '.join(name.split())},"


def test_a_company_that_needs_quoting_is_quoted(user, settings):
    settings.COMPANY_NAME = "Smith & <Sons>"
    written = letter(Kind.WELCOME)
    text, html = parts(written)
    assert written.subject == "Welcome to Smith & <Sons>"
    assert "your account at Smith & <Sons> is ready" in text
    assert "your account at Smith & <Sons> is ready" in Page(html).text


def test_a_mail_has_the_same_name_whenever_it_is_sent(user, settings):
    settings.DEFAULT_FROM_EMAIL = '"Acme, Inc." <hello@acme.example>'
    row = Mail(kind=Kind.PASSWORD_RESET, to=ADA)
    names = {letters.write(row).extra_headers["Message-ID"] for _ in range(2)}
    assert names == {f"<{row.pk}@acme.example>"}


def test_the_console_prints_the_text_alone(user, settings, capsys):
    settings.EMAIL_BACKEND = "notifications.console.EmailBackend"
    letter(Kind.PASSWORD_RESET).send()
    printed = capsys.readouterr().out
    assert "\nhttp://localhost:8000/reset-password?token=" in printed
    assert "<html" not in printed
