"""Rate limits by user, by address and by API key."""

import logging

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework.test import APIClient

from accounts import browsers, keys
from accounts.models import ApiKey
from objectvision.api import throttles
from testing.clients import PASSWORD
from testing.files.pictures import photo

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


def test_a_request_over_the_rate_answers_429_with_retry_after(api, user, rate, clock):
    rate(read=(3, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 4) == [200, 200, 200, 429]
    refused = client.get(PROFILE)
    assert refused["Retry-After"] == "60"
    assert refused.json()["errors"][0]["code"] == "throttled"
    clock.shift(60)
    assert client.get(PROFILE).status_code == 200


def test_each_user_has_their_own_rate(api, user, stranger, rate):
    rate(read=(1, 60))
    first, second = api(user), api(stranger)
    assert codes(lambda: first.get(PROFILE), 2) == [200, 429]
    assert second.get(PROFILE).status_code == 200


def test_sessions_of_one_user_share_a_rate(api, user, rate):
    rate(read=(1, 60))
    assert [api(user).get(PROFILE).status_code for _ in range(2)] == [200, 429]


def test_a_flood_by_a_stolen_key_leaves_its_owner_the_console(api, client, user, rate):
    rate(read=(5, 60))
    key, raw = keys.issue(user, "Camera", ["account"], None)
    _, second = keys.issue(user, "Gate", ["account"], None)
    assert codes(lambda: with_key(raw), 6) == [200] * 5 + [429]
    assert with_key(second).status_code == 429
    response = HttpResponse()
    browsers.log_in(response, user, "pytest")
    client.cookies.update(response.cookies)
    assert client.get("/account").status_code == 200
    assert client.delete(f"/api/v1/users/api-keys/{key.pk}").status_code == 204
    assert with_key(raw).status_code == 401
    assert codes(lambda: client.get("/account"), 4) == [200] * 3 + [429]


def test_uploads_have_their_own_rate(api, user, detector, rate):
    rate(upload=(1, 60), read=(1, 60))
    client = api(user)

    def send():
        form = {"image": SimpleUploadedFile("bus.jpg", photo())}
        return client.post("/api/v1/detect/image", form, format="multipart")

    assert codes(send, 2) == [202, 429]
    assert codes(lambda: client.get(PROFILE), 2) == [200, 429]


def test_anonymous_requests_are_counted_by_address(client, db, rate):
    rate(anon=(2, 60))
    pages = ["/docs", "/openapi.json", "/redoc"]
    assert [client.get(page, REMOTE_ADDR="192.0.2.1").status_code for page in pages] == [200, 200, 429]
    assert client.get("/docs", REMOTE_ADDR="192.0.2.2").status_code == 200


def test_a_page_over_the_rate_answers_with_retry_after(client, db, rate):
    rate(anon=(1, 60))
    client.get("/docs")
    assert client.get("/docs")["Retry-After"] == "60"


def test_health_is_not_throttled(client, db, rate):
    rate(anon=(1, 60))
    assert codes(lambda: client.get("/health"), 3) == [200, 200, 200]


def test_log_ins_and_sign_ups_are_counted_by_address_not_by_account(api, db, rate):
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


def test_requests_refused_with_401_are_counted_by_address(api, user, rate):
    rate(anon=(3, 60))
    bad, missing = {"Authorization": "Bearer nonsense"}, {}
    answers = [api().get(PROFILE, headers=headers) for headers in (bad, missing, bad, missing, bad)]
    assert [response.status_code for response in answers] == [401, 401, 401, 429, 429]
    assert answers[-1]["Retry-After"] == "60"
    assert answers[-1].json()["errors"][0]["code"] == "throttled"
    assert api().get(PROFILE, headers=bad, REMOTE_ADDR="192.0.2.2").status_code == 401
    assert api(user).get(PROFILE).status_code == 200  # a user with a session is counted as a user


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"]
)
@pytest.mark.parametrize("path", ["auth/login", "auth/signup", "auth/refresh"])
def test_a_forged_forwarding_header_does_not_evade_the_rate(api, db, rate, name, path):
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
def test_an_ipv6_network_of_64_bits_is_counted_as_one_address(raw, address):
    assert throttles.address(Request(RequestFactory().get("/", REMOTE_ADDR=raw))) == address


def test_a_rate_of_none_is_unlimited(api, user, rate):
    rate(read=None)
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 5) == [200] * 5


KEY_OF_VALID_FORM = "ov_k3v9x0q7m2ta_" + "x" * 43


def with_key(raw, **extra):
    return APIClient().get(PROFILE, headers={"X-API-Key": raw}, **extra)


def made_up(number):
    return f"ov_{number:012d}_{'x' * 43}"


def test_made_up_keys_over_the_anonymous_rate_reach_no_database(user, rate, django_assert_num_queries):
    rate(anon=(3, 60))
    _, raw = keys.issue(user, "Camera", ["account"], None)
    assert with_key(raw).status_code == 200  # counts once, as the key is not known yet
    assert [with_key(made_up(number)).status_code for number in range(2)] == [401, 401]
    with django_assert_num_queries(0):
        for number in range(10):
            refused = with_key(made_up(number))
            assert (refused.status_code, refused["Retry-After"]) == (429, "60")
            assert refused.json()["errors"][0]["code"] == "throttled"
    assert [with_key(raw).status_code for _ in range(5)] == [200] * 5
    assert with_key(made_up(1), REMOTE_ADDR="192.0.2.2").status_code == 401


def test_each_request_with_a_made_up_key_counts_in_either_header(db, rate):
    rate(anon=(4, 60))
    bearer = {"Authorization": f"Bearer {KEY_OF_VALID_FORM}"}
    answers = [
        with_key(KEY_OF_VALID_FORM), APIClient().get(PROFILE, headers=bearer), with_key(KEY_OF_VALID_FORM),
        with_key("nonsense"), APIClient().get(PROFILE, headers=bearer), APIClient().get(PROFILE),
    ]  # fmt: skip  # a list to read at a glance
    assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 2


def test_a_key_unused_for_an_hour_counts_as_anonymous_once(user, rate, clock):
    rate(anon=(1, 60))
    _, raw = keys.issue(user, "Camera", ["account"], None)
    assert codes(lambda: with_key(raw), 3) == [200] * 3
    clock.shift(3601)
    assert with_key(made_up(1)).status_code == 401
    assert with_key(raw).status_code == 429
    clock.shift(60)
    assert codes(lambda: with_key(raw), 3) == [200] * 3


def test_a_revoked_key_counts_as_anonymous(user, rate, django_assert_num_queries):
    rate(anon=(2, 60))
    key, raw = keys.issue(user, "Camera", ["account"], None)
    assert with_key(raw).status_code == 200
    ApiKey.objects.filter(pk=key.pk).revoke()
    assert with_key(raw).status_code == 401
    with django_assert_num_queries(0):
        assert codes(lambda: with_key(raw), 3) == [429] * 3


@pytest.mark.parametrize("length", [5_000, 60_000])
def test_overlong_credentials_are_refused_without_a_query(db, length, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert with_key("ov_" + "a" * length).status_code == 401
        for start in ("ov_", "", "x.y."):
            bearer = {"Authorization": f"Bearer {start}{'a' * length}"}
            assert APIClient().get(PROFILE, headers=bearer).status_code == 401


@pytest.mark.services
def test_counters_in_redis_expire(api, user, rate, settings, redis_url, clock):
    import redis

    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}}
    rate(read=(2, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 429]
    (key,) = redis.Redis.from_url(redis_url).keys(f"*throttle*{user.pk}*")
    assert 0 < redis.Redis.from_url(redis_url).ttl(key) <= 60
    redis.Redis.from_url(redis_url).delete(key)


@pytest.mark.services
def test_requests_are_not_throttled_without_the_cache(
    api, user, rate, settings, closed_redis, caplog, monkeypatch
):
    for once_a_minute in logging.getLogger("django_redis.cache").filters:
        monkeypatch.setattr(once_a_minute, "silent_until", 0)  # another test may have had this minute's line
    options = {"IGNORE_EXCEPTIONS": True, "SOCKET_CONNECT_TIMEOUT": 1}
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": closed_redis,
            "OPTIONS": options,
        }
    }
    rate(read=(1, 60), anon=(1, 60))
    client = api(user)
    assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 200]
    assert codes(lambda: with_key(made_up(1)), 3) == [401, 401, 401]
    _, raw = keys.issue(user, "Camera", ["account"], None)
    assert codes(lambda: with_key(raw), 3) == [200, 200, 200]
    assert "Exception ignored" in caplog.text


@pytest.mark.services
def test_requests_are_not_throttled_by_a_redis_that_refuses_writes(
    api, user, rate, read_settings, settings, redis_url
):
    import redis

    settings.CACHES = read_settings(REDIS_URL=redis_url)["CACHES"]
    rate(read=(2, 60))
    client = api(user)
    with redis.Redis.from_url(redis_url) as server:
        server.replicaof("127.0.0.1", "1")
        try:
            assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 200]
        finally:
            server.replicaof("NO", "ONE")
    assert codes(lambda: client.get(PROFILE), 3) == [200, 200, 429]
