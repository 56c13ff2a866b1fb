"""Throttles of a running system while Redis is down."""

import pytest

from testing import stacks
from testing.clients import PASSWORD


@pytest.mark.services
def test_without_redis_wrong_passwords_are_throttled_and_one_log_line_is_written(tmp_path, standin_folder):
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.stop("redis")
        stack.web()
        client = stack.client()
        account = {"email": "ada@example.com", "password": PASSWORD}
        assert client.post("auth/signup", json=account).status_code == 201
        wrong = [
            client.post("auth/login", json={**account, "password": "wrong"}).status_code for _ in range(11)
        ]
        assert wrong == [401] * 10 + [429]
        assert [client.get("users/get-profile").status_code for _ in range(20)] == [401] * 20
        assert stack.log("web").count("Exception ignored") == 1
