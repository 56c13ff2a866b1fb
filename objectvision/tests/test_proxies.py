"""Who is believed about where a request came from and how, by the servers as they run."""

import pytest

from objectvision.tests import stack as stacks


@pytest.fixture(scope="module")
def stack(tmp_path_factory, standin_folder):
    with stacks.embedded(tmp_path_factory.mktemp("proxies"), standin_folder) as stack:
        stack.environment["THROTTLE_LOGIN"] = "2/day"  # the client's own is one of this address's two
        yield stack


@pytest.mark.parametrize("server", ["web", "serve"])
@pytest.mark.parametrize(
    ("trusted", "believed"),
    [("", False), ("127.0.0.1", True), ("127.0.0.0/8", True), ("192.0.2.1,10.0.0.0/8", False)],
)
def test_forwarded_addresses_and_schemes_are_believed_from_named_proxies_alone(
    stack, server, trusted, believed
):
    stack.environment["TRUSTED_PROXIES"] = trusted
    getattr(stack, server)()
    try:
        client = stack.client().sign_up()
        client.http.headers["X-Forwarded-Proto"] = "https"
        scheme = client.upload(stacks.photo()).json()["job_url"].partition(":")[0]
        assert scheme == ("https" if believed else "http")
        tries = [log_in_from(client, f"203.0.113.{number}") for number in (1, 2, 3)]
        assert tries == ([400, 400, 400] if believed else [400, 429, 429])
    finally:
        stack.stop(server)


def log_in_from(client, address):
    return client.post("auth/login", json={}, headers={"X-Forwarded-For": address}).status_code
