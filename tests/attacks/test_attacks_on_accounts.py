"""Attacks on accounts in the running system, in both ways to run it."""

import http.client
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.conf import settings

from testing import stacks
from testing.clients import PASSWORD
from testing.waiting import until
from tests.attacks.fortress import ATTACKER

NEW = "another-passphrase"
SPELLINGS = [
    "{}@example.com",
    "{}@EXAMPLE.com",
    "{}@\uff45xample.com",
    "{}@example\u3002com",
    "{}@exampl\u24d4.com",
]
INVISIBLE = ["{}@exam\xadple.com", "{}@exam\u200bple.com", "{}@example.com\u2060", '"{}"@example.com']


def ask(stack, method, path, body=None, headers=None):
    """Status, body and headers of a request from the attacker's address."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, 20, source_address=(ATTACKER, 0))
    try:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, f"/api/v1/{path}", content, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def link_token(stack, email, kind):
    """The token that is mailed to the owner of the address."""
    code = (
        "from accounts.models import User; from accounts import link_tokens;"
        f"print(link_tokens.{kind}(User.objects.get(email={email!r})))"
    )
    return stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1]


def reset_revokes_keys_made_meanwhile(stack):
    """Eve signed up with another's address and makes keys while its owner verifies it and resets."""
    eve = stack.client().sign_up()
    email = eve.get("users/get-profile").json()["email"]
    verify, reset = (link_token(stack, email, f"make_{kind}_token") for kind in ("verification", "reset"))
    made, done = [], Event()

    def make(_):
        client = eve.another()
        while not done.is_set():
            answer = client.post("users/api-keys", json={"name": "Eve's", "scopes": ["account", "detect"]})
            if answer.status_code == 201:
                made.append(answer.json()["key"])
            client.http.patch(f"{client.api}/users/settings", json={"theme": "dark"}, timeout=20)

    owner = stack.client()
    with ThreadPoolExecutor(6) as threads:
        makers = [threads.submit(make, number) for number in range(6)]
        try:
            until(lambda: len(made) > 3, 20)
            assert owner.get("auth/verify-email", params={"token": verify}).status_code == 200
            confirmed = owner.post("auth/password/reset/confirm", json={"token": reset, "new_password": NEW})
            assert confirmed.status_code == 204
        finally:
            done.set()
        for maker in makers:
            maker.result(30)
    answers = [owner.get("users/get-profile", headers={"X-API-Key": raw}).status_code for raw in made]
    assert set(answers) == {401}
    assert eve.get("users/get-profile").status_code == 401
    token = owner.post("auth/login", json={"email": email, "password": NEW}).json()["access_token"]
    owner.http.headers["Authorization"] = f"Bearer {token}"
    assert owner.get("users/api-keys").json()["total"] == 0
    assert owner.get("users/settings").json()["theme"] == "system"


@pytest.mark.services
def test_api_keys_made_during_a_password_reset_are_revoked(fortress):
    with fortress.attacked():
        reset_revokes_keys_made_meanwhile(fortress.stack)


def spellings_of_one_address_make_one_account(stack, name):
    fields = [{"email": spelling.format(name), "password": PASSWORD} for spelling in SPELLINGS + INVISIBLE]
    with ThreadPoolExecutor(len(fields)) as threads:
        answers = list(threads.map(lambda body: ask(stack, "POST", "auth/signup", body), fields))
    assert sorted(status for status, *_ in answers) == [201] + [400] * (len(fields) - 1)
    asked = [ask(stack, "POST", "auth/password/reset", {"email": body["email"]})[0] for body in fields]
    assert asked == [204, 204, 204, 429, 429, 400, 400, 400, 400]


@pytest.mark.services
def test_concurrent_sign_ups_with_spellings_of_one_address_make_one_account(fortress):
    with fortress.attacked():
        spellings_of_one_address_make_one_account(fortress.stack, "spelled")
    mails = fortress.stack.rows(
        'SELECT "to", count(*) FROM notifications_mail WHERE "to" LIKE %s GROUP BY 1', "spelled%"
    )
    assert mails == [("spelled@example.com", 4)]  # one of the sign-up, three that were asked for


@pytest.mark.services
def test_a_flood_of_made_up_api_keys_is_throttled_and_real_keys_are_served(fortress):
    stack = fortress.stack
    made = fortress.other.post("users/api-keys", json={"name": "Camera", "scopes": ["account"]}).json()
    camera = {"X-API-Key": made["key"]}
    assert ask(stack, "GET", "users/get-profile", headers=camera)[0] == 200

    def try_key(number):
        raw = f"ov_{number:012d}_{'x' * 43}"
        return ask(stack, "GET", "users/get-profile", headers={"X-API-Key": raw})[0]

    with fortress.attacked(), ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(try_key, range(600)))
        served = [ask(stack, "GET", "users/get-profile", headers=camera)[0] for _ in range(5)]
    assert served == [200] * 5
    assert statuses.count(401) <= 240  # 120 a minute; the flood may lie across two of them
    assert statuses.count(401) + statuses.count(429) == 600


@pytest.mark.services
def test_credentials_that_are_too_long_are_refused_at_once(fortress):
    with fortress.attacked(), ThreadPoolExecutor(8) as threads:
        headers = [{"X-API-Key": "ov_" + "a" * 30_000}, {"Authorization": "Bearer " + "a" * 30_000}] * 50
        answers = list(
            threads.map(
                lambda each: ask(fortress.stack, "GET", "users/get-profile", headers=each)[0], headers
            )
        )
    assert set(answers) <= {400, 401, 429, 431}


@pytest.fixture
def one_process(tmp_path, standin_folder):
    with stacks.running("embedded", tmp_path, standin_folder, **stacks.SLOW_PASSWORDS) as stack:
        yield stack


def test_the_embedded_server_withstands_the_same_attacks_on_accounts(one_process):
    spellings_of_one_address_make_one_account(one_process, "ada")
    reset_revokes_keys_made_meanwhile(one_process)


def test_the_embedded_server_enables_its_schedule_again_at_a_restart(one_process):
    def rows(query):
        with sqlite3.connect(one_process.folder / "data" / "objectvision.sqlite3", timeout=20) as database:
            return database.execute(query).fetchall()

    tasks = "django_celery_beat_periodictask"
    own_and_celerys = len(settings.CELERY_BEAT_SCHEDULE) + 1
    until(lambda: len(rows(f"SELECT 1 FROM {tasks}")) == own_and_celerys, 20)
    one_process.stop("serve")
    rows(f"UPDATE {tasks} SET enabled = 0, total_run_count = 0, one_off = 1, expires = '2020-01-01'")
    one_process.serve()
    off = f"SELECT name FROM {tasks} WHERE NOT enabled OR one_off OR expires IS NOT NULL"
    until(lambda: rows(off) == [("celery.backend_cleanup",)], 20)  # correctness does not depend on it
