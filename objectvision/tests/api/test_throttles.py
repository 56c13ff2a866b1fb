"""How often one may come, by whom one is and where from."""

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory
from rest_framework.request import Request

from objectvision import throttles
from objectvision.tests import stack as stacks
from objectvision.tests.stack import PASSWORD, photo

PROFILE = "/api/v1/users/get-profile"
MIDDLE_OF_A_WINDOW = "2026-11-25 12:30:00.5"


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(MIDDLE_OF_A_WINDOW, tick=False) as clock:
        yield clock


@pytest.fixture
def rate(settings):
    """Sets the rates by name; the others are off."""

    def set_rates(**rates):
        settings.THROTTLES = {**dict.fromkeys(settings.THROTTLES), **rates}

    return set_rates


def codes(ask, times):
    return [ask().status_code for _ in range(times)]


def test_past_the_rate_the_answer_says_when_to_come_again(api, user, rate, clock):
    rate(read=(3, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 4) == [200, 200, 200, 429]
    refused = client.get(PROFILE)
    assert refused["Retry-After"] == "60"
    assert refused.json()["errors"][0]["code"] == "throttled"
    clock.shift(60)
    assert client.get(PROFILE).status_code == 200


def test_one_users_requests_are_not_anothers(api, user, stranger, rate):
    rate(read=(1, 60))
    first, second = api(user), api(stranger)
    assert codes(lambda: first.get(PROFILE), 2) == [200, 429]
    assert second.get(PROFILE).status_code == 200


def test_a_new_session_is_no_new_user(api, user, rate):
    rate(read=(1, 60))
    assert [api(user).get(PROFILE).status_code for _ in range(2)] == [200, 429]


def test_uploads_are_counted_by_themselves(api, user, detector, rate):
    rate(upload=(1, 60), read=(1, 60))
    client = api(user)

    def send():
        form = {"image": SimpleUploadedFile("bus.jpg", photo())}
        return client.post("/api/v1/detect/image", form, format="multipart")

    assert codes(send, 2) == [202, 429]
    assert codes(lambda: client.get(PROFILE), 2) == [200, 429]


def test_who_is_not_logged_in_is_counted_by_where_they_come_from(client, db, rate):
    rate(anon=(2, 60))
    pages = ["/docs", "/openapi.json", "/redoc"]
    assert [client.get(page, REMOTE_ADDR="192.0.2.1").status_code for page in pages] == [200, 200, 429]
    assert client.get("/docs", REMOTE_ADDR="192.0.2.2").status_code == 200


def test_a_page_says_when_to_come_again_too(client, db, rate):
    rate(anon=(1, 60))
    client.get("/docs")
    assert client.get("/docs")["Retry-After"] == "60"


def test_health_is_asked_by_machines_and_always_answers(client, db, rate):
    rate(anon=(1, 60))
    assert codes(lambda: client.get("/health"), 3) == [200, 200, 200]


def test_log_ins_and_sign_ups_are_counted_by_address_whoever_they_name(api, db, rate):
    rate(login=(2, 60), signup=(2, 3600))
    who = [{"email": f"{name}@example.com", "password": PASSWORD} for name in ("ada", "bob", "cyd")]
    sign_ups = [api().post("/api/v1/auth/signup", account).status_code for account in who]
    log_ins = [api().post("/api/v1/auth/login", account).status_code for account in who]
    assert sign_ups == [201, 201, 429]
    assert log_ins == [200, 200, 429]


def test_refreshes_are_counted_by_address(api, db, rate):
    rate(refresh=(2, 60))
    body = {"refresh_token": "nonsense"}
    assert codes(lambda: api().post("/api/v1/auth/refresh", body), 3) == [401, 401, 429]


def test_who_is_not_let_in_is_counted_by_where_they_come_from(api, user, rate):
    rate(anon=(3, 60))
    bad, missing = {"Authorization": "Bearer nonsense"}, {}
    answers = [api().get(PROFILE, headers=headers) for headers in (bad, missing, bad, missing, bad)]
    assert [response.status_code for response in answers] == [401, 401, 401, 429, 429]
    assert answers[-1]["Retry-After"] == "60"
    assert answers[-1].json()["errors"][0]["code"] == "throttled"
    assert api().get(PROFILE, headers=bad, REMOTE_ADDR="192.0.2.2").status_code == 401
    assert api(user).get(PROFILE).status_code == 200  # whoever has a session is counted as themselves


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"]
)
@pytest.mark.parametrize("path", ["auth/login", "auth/signup", "auth/refresh"])
def test_a_forged_forwarding_header_buys_nothing(api, db, rate, name, path):
    rate(login=(1, 60), signup=(1, 60), refresh=(1, 60))
    forged = [
        api().post(f"/api/v1/{path}", {}, headers={name: f"198.51.100.{number}"}) for number in range(2)
    ]
    assert [response.status_code for response in forged] == [400, 429]


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_a_whole_ipv6_network_is_one_visitor(raw, address):
    assert throttles.address(Request(RequestFactory().get("/", REMOTE_ADDR=raw))) == address


def test_none_is_a_rate_without_limit(api, user, rate):
    rate(read=None)
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 5) == [200] * 5


@pytest.mark.services
def test_in_redis_processes_count_together_and_a_counter_ends(api, user, rate, settings, redis_url, clock):
    import redis

    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}}
    rate(read=(2, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 429]
    (key,) = redis.Redis.from_url(redis_url).keys("*throttle*")
    assert 0 < redis.Redis.from_url(redis_url).ttl(key) <= 60
    redis.Redis.from_url(redis_url).delete(key)


@pytest.mark.services
def test_a_cache_that_is_away_lets_everybody_through(api, user, rate, settings, closed_redis, caplog):
    options = {"IGNORE_EXCEPTIONS": True, "SOCKET_CONNECT_TIMEOUT": 1}
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": closed_redis,
            "OPTIONS": options,
        }
    }
    rate(read=(1, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 200]
    assert "Exception ignored" in caplog.text


@pytest.mark.services
def test_while_the_cache_is_away_the_log_says_so_once_a_minute_and_wrong_passwords_are_counted(
    tmp_path, standin_folder
):
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
