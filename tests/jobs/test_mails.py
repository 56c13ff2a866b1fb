"""Mails from the running system to a server that speaks Brevo's API, and what their links do."""

import re
import signal

import pytest

from testing import stacks
from testing.clients import PASSWORD
from testing.peers import brevo as brevos
from testing.waiting import until

NEW = "another-passphrase"
LINK = re.compile(r"^(https?://\S+?)(/\S+\?token=(\S+))$", re.MULTILINE)


@pytest.fixture
def brevo():
    with brevos.running() as server:
        yield server


def environment(brevo):
    return {
        "BREVO_API_KEY": brevos.KEY,
        "BREVO_API_URL": f"{brevo.url}/smtp/email",
        "EMAIL_SENDER": "hello@acme.example",
        "REQUIRE_VERIFIED_EMAIL": "true",
    }


@pytest.fixture(params=stacks.WAYS)
def mailing(request, tmp_path, standin_folder, brevo):
    with stacks.running(request.param, tmp_path, standin_folder, **environment(brevo)) as stack:
        yield stack


def mailed(brevo, to, subject):
    """The text of the mail to this address."""

    def look():
        found = [body for body in brevo.mails(to) if body["subject"].startswith(subject)]
        return found[0]["textContent"] if found else None

    return until(look, 20)


def link_in(text, stack):
    base, path, token = LINK.search(text).groups()
    deployed = stack.environment["ENVIRONMENT"] == "production"
    assert base == ("https://127.0.0.1" if deployed else f"http://localhost:{stack.port}")
    return stack.url + path, token


def test_mailed_links_verify_and_reset_and_no_log_contains_a_secret(mailing, brevo):
    client = mailing.client()
    ada = {"email": "ada@example.com", "password": PASSWORD}
    client.post("auth/signup", json={**ada, "name": "Ada"}).raise_for_status()
    assert client.post("auth/login", json=ada).status_code == 403
    link, first = link_in(mailed(brevo, ada["email"], "Confirm"), mailing)
    assert client.http.get(link, timeout=30).status_code == 200
    assert mailed(brevo, ada["email"], "Welcome").startswith("Hello,\n")
    pair = client.post("auth/login", json=ada).json()

    client.post("auth/password/reset", json={"email": "nobody@example.com"}).raise_for_status()
    client.post("auth/password/reset", json={"email": ada["email"]}).raise_for_status()
    link, second = link_in(mailed(brevo, ada["email"], "Reset"), mailing)
    assert client.http.get(link, timeout=30).status_code == 200
    reset = {"token": second, "new_password": NEW}
    assert client.post("auth/password/reset/confirm", json=reset).status_code == 204
    assert client.post("auth/password/reset/confirm", json=reset).status_code == 400
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    assert client.get("users/get-profile", headers=bearer).status_code == 401
    assert client.post("auth/login", json=ada).status_code == 401
    assert client.post("auth/login", json={**ada, "password": NEW}).status_code == 200
    mailed(brevo, ada["email"], "Your password")
    assert len(brevo.asked) == len(brevo.accepted) == 4
    assert brevo.mails("nobody@example.com") == []

    names = list(mailing.processes)
    written = "".join(mailing.log(name) for name in names)
    for name in names:
        assert mailing.log(name), name
    for secret in (first, second, PASSWORD, NEW, brevos.KEY, *pair.values()):
        assert str(secret) not in written or str(secret) in {"bearer", "1800"}


@pytest.mark.services
def test_a_worker_killed_while_brevo_answers_sends_no_mail_twice(tmp_path, standin_folder, brevo):
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.environment.update(environment(brevo), REQUIRE_VERIFIED_EMAIL="false")
        stack.background()
        stack.web()
        taken = brevo.answer

        def slowly(asked):
            return taken(asked)._replace(delay=3)

        brevo.answer = slowly
        ada = {"email": "ada@example.com", "password": PASSWORD}
        stack.client().post("auth/signup", json=ada).raise_for_status()
        until(lambda: brevo.accepted, 20)
        stack.send("default", signal.SIGKILL)
        stack.processes.pop("default").wait()
        brevo.answer = taken
        state = "SELECT state, attempts FROM notifications_mail"
        assert stack.rows(state) == [("sending", 1)]
        # As two minutes later.
        stack.connection.execute("UPDATE notifications_mail SET claimed_at = now() - interval '2 minutes'")
        stack.worker("again", "default")
        until(lambda: stack.rows(state) == [("sent", 2)], 30)
        assert (len(brevo.asked), len(brevo.mails("ada@example.com"))) == (2, 1)
