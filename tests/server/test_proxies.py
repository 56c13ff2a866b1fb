"""Forwarded addresses and schemes are believed from trusted proxies only, by both servers."""

import contextlib
import http.client

import pytest

from testing import stacks
from testing.files.pictures import photo


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, standin_folder):
    with stacks.embedded(tmp_path_factory.mktemp("proxies"), standin_folder) as stack:
        stack.environment["THROTTLE_LOGIN"] = "2/day"  # the client's own log-in is one of the two
        yield stack


@pytest.mark.parametrize("server", ["web", "serve"])
@pytest.mark.parametrize(
    ("trusted", "believed"),
    [("", False), ("127.0.0.1", True), ("127.0.0.0/8", True), ("192.0.2.1,10.0.0.0/8", False)],
)
def test_forwarded_addresses_and_schemes_are_believed_only_from_trusted_proxies(
    proxied, server, trusted, believed
):
    proxied.environment["TRUSTED_PROXIES"] = trusted
    getattr(proxied, server)()
    try:
        client = proxied.client().sign_up()
        client.http.headers["X-Forwarded-Proto"] = "https"
        scheme = client.upload(photo()).json()["job_url"].partition(":")[0]
        assert scheme == ("https" if believed else "http")
        tries = [log_in_from(client, f"203.0.113.{number}") for number in (1, 2, 3)]
        assert tries == ([400, 400, 400] if believed else [400, 429, 429])
    finally:
        proxied.stop(server)


# Header lines from a proxy on this machine: {c} is the client, {n} a value that it varies each time.
CHAINS = {
    "one proxy": ["203.0.113.{c}"],
    "a client that claims an address": ["198.51.100.{n}, 203.0.113.{c}"],
    "a client that claims to be one of the proxies": ["10.0.0.{n}, 203.0.113.{c}"],
    "two proxies": ["203.0.113.{c}, 10.0.0.5"],
    "two proxies behind a claim": ["198.51.100.{n}, 203.0.113.{c}, 10.0.0.5"],
    "a line of each proxy's": ["198.51.100.{n}", "203.0.113.{c}", "10.0.0.5"],
    "a port that changes": ["203.0.113.{c}:5{n}"],
    "nonsense in front": ["unknown, ;{n}, <script>, 203.0.113.{c}"],
    "many lines": [*["198.51.100.{n}"] * 50, "203.0.113.{c}"],
    "IPv6, each time another address of its network": ["2001:db8:1:{c}::{n}, 10.0.0.5"],
    "IPv6 behind a claim": ["2001:db8:{n}::1, 2001:db8:1:{c}::{n}"],
    "IPv6 with a port": ["[2001:db8:1:{c}::{n}]:4{n}"],
}


@pytest.mark.parametrize("server", ["web", "serve"])
def test_clients_behind_proxies_cannot_evade_throttles_with_forged_addresses(proxied, server):
    proxied.environment |= {
        "TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8",
        **{f"THROTTLE_{name}": "2/day" for name in ("LOGIN", "SIGNUP", "REFRESH")},
    }
    paths = ["auth/login", "auth/signup", "auth/refresh"]
    getattr(proxied, server)()
    try:
        for client, lines in enumerate(CHAINS.values(), 1):
            chains = [[line.format(c=client, n=n) for line in lines] for n in (1, 2, 3)]
            tries = {path: [ask(proxied, path, chain) for chain in chains] for path in paths}
            assert list(tries.values()) == [[400, 400, 429]] * 3, lines
    finally:
        proxied.stop(server)


def ask(stack, path, lines):
    """The status of a request with separate header lines, which client libraries would join."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("POST", f"/api/v1/{path}")
        for line in lines:
            connection.putheader("X-Forwarded-For", line)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"{}")
        return connection.getresponse().status


def log_in_from(client, address):
    return client.post("auth/login", json={}, headers={"X-Forwarded-For": address}).status_code
