"""The mails about accounts: their links, and the text that users cannot put into them."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from accounts import link_tokens
from notifications.mail import rendering
from notifications.mail.outbox import Kind
from notifications.models import Mail

ADA = "ada@example.com"


def rendered(kind):
    return rendering.render_mail(Mail(kind=kind, to=ADA, created_at=timezone.now()))


def token(link):
    return parse_qs(urlsplit(link).query)["token"][0]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "http://localhost:8000/reset-password"),
        ("https://app.example/x/", "https://app.example/x/reset-password"),
    ],
)
def test_a_reset_link_leads_to_the_front_end_or_the_built_in_page(user, settings, base, expected):
    settings.FRONTEND_BASE_URL = base
    link = re.search(r"http\S+", rendered(Kind.PASSWORD_RESET).body)[0]
    assert link.partition("?")[0] == expected
    assert link_tokens.read_reset_token(token(link)) == user


def test_a_verification_link_leads_to_the_api(user, settings):
    settings.PUBLIC_URL = "https://api.example/base/"
    link = re.search(r"http\S+", rendered(Kind.VERIFY_EMAIL).body)[0]
    assert link.partition("?")[0] == "https://api.example/base/api/v1/auth/verify-email"
    assert link_tokens.read_verification_token(token(link)) == user


@pytest.mark.parametrize("kind", Kind.values)
def test_no_mail_contains_the_name_of_a_user(user, kind):
    """A stranger who signs up with another's address cannot mail text to it, verified or not."""
    for verified_at in (None, timezone.now()):
        type(user).objects.filter(pk=user.pk).update(
            name="Buy now at evil.example", email_verified_at=verified_at
        )
        try:
            message = rendered(kind)
        except rendering.NoReaderError:
            assert (kind, bool(verified_at)) == (Kind.VERIFY_EMAIL, True)
            continue
        ((html, _),) = message.alternatives
        assert "Hello,\n" in message.body
        assert "Buy now" not in message.body + html
