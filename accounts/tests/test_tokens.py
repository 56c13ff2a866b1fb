"""Access tokens are valid while the row of their session is; forged tokens are refused."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from accounts.models import Session
from accounts.tokens import MAX_CLOCK_SKEW, open_session

URL = "/api/v1/users/get-profile"
REFUSED = {
    "type": "client_error",
    "errors": [
        {
            "code": "authentication_failed",
            "detail": "The token is invalid, has expired, or its session is over.",
            "attr": None,
        }
    ],
}


@pytest.fixture
def pair(user):
    return open_session(user, "pytest")


@pytest.fixture
def claims(pair):
    return jwt.decode(
        pair.access_token, settings.JWT_SECRET_KEY, ["HS256"], audience="objectvision", issuer="objectvision"
    )


def signed(claims, key=None, algorithm="HS256"):
    return jwt.encode(claims, key or settings.JWT_SECRET_KEY, algorithm)


def ask(api, token, scheme="Bearer"):
    return api().get(URL, headers={"Authorization": f"{scheme} {token}"})


def assert_refused(response):
    assert response.status_code == 401
    assert response.json() == REFUSED
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_rightly_signed_token_is_accepted(api, user, claims):
    assert ask(api, signed(claims)).json()["id"] == str(user.pk)


def test_a_request_without_a_token_is_refused(api, db):
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        {"Authorization": "Token x"},
    ):
        response = api().get(URL, headers=headers)
        assert response.status_code == 401
        assert response.json()["errors"][0]["code"] == "not_authenticated"
        assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_schemes_name_is_compared_without_regard_to_case(api, user, pair, scheme):
    assert ask(api, pair.access_token, scheme).status_code == 200


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(claims, name="none", signature=""):
    return f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims)}.{signature}"


def with_header(claims, **header):
    """Signed with our own key; only the additions to the header are under test."""
    return jwt.encode(claims, settings.JWT_SECRET_KEY, "HS256", headers=header)


def changed(claims, **changes):
    """A token with changed claims and the old signature."""
    head, _, signature = signed(claims).split(".")
    return f"{head}.{part({**claims, **changes})}.{signature}"


def cut(claims, *, by):
    return signed(claims)[:-by]


def own_key():
    return settings.JWT_SECRET_KEY.encode()


# A key that a server that checks RSA might use as a shared secret.
PUBLIC_KEY = b"-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK==\n-----END PUBLIC KEY-----\n"


def signed_with(claims, key, name="HS256"):
    head = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.new(key, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def of_bytes(payload):
    """Any bytes with a right signature."""
    return jwt.api_jws.encode(payload, settings.JWT_SECRET_KEY, "HS256")


def without(claims, *names):
    return {name: value for name, value in claims.items() if name not in names}


BAD = {
    "empty": lambda _: "",
    "no token": lambda _: "nonsense",
    "three dots": lambda _: "a.b.c",
    "not ASCII": lambda _: "é",
    "two tokens": lambda claims: f"{signed(claims)} {signed(claims)}",
    **{
        f"unsigned, as {name!r}": lambda claims, name=name: unsigned(claims, name)
        for name in ("none", "None", "NONE", "nOnE", "none ", "", None, 0, [], ["HS256"], {"a": 1}, "HS256")
    },
    "unsigned, with a signature": lambda claims: unsigned(claims, signature=signed(claims).split(".")[2]),
    **{
        f"said to be signed by {name}": lambda claims, name=name: signed_with(claims, own_key(), name)
        for name in ("RS256", "PS256", "ES256", "EdDSA", "HS512", "hs256", "HS256 ", "HMAC")
    },
    "signed with a public key": lambda claims: signed_with(claims, PUBLIC_KEY),
    "signed with nothing": lambda claims: signed_with(claims, b""),
    "signed with the other secret": lambda claims: signed(claims, settings.SECRET_KEY),
    "the claims changed": lambda claims: changed(claims, user_id=str(uuid4())),
    "the expiry changed": lambda claims: changed(claims, exp=2**33),
    "the signature cut": lambda claims: cut(claims, by=4),
    "a part too many": lambda claims: f"{signed(claims)}.{part({})}",
    "encrypted": lambda _: ".".join([part({"alg": "dir", "enc": "A256GCM"}), "", "a", "b", "c"]),
    "what it calls critical is unknown": lambda claims: with_header(claims, crit=["exp"], exp=1),
    "unencoded": lambda claims: with_header(claims, b64=False, crit=["b64"]),
    "critical is no list": lambda claims: with_header(claims, crit="exp"),
    "not yet valid": lambda claims: signed({**claims, "nbf": int(time.time()) + 3600}),
    "begins at a text": lambda claims: signed({**claims, "nbf": "soon"}),
    "issued in the future": lambda claims: signed({**claims, "iat": int(time.time()) + 3600}),
    "issued at a text": lambda claims: signed({**claims, "iat": "now"}),
    "no issuer": lambda claims: signed(without(claims, "iss")),
    "no audience": lambda claims: signed(without(claims, "aud")),
    "expiry beyond all numbers": lambda claims: signed({**claims, "exp": 10**400}),
    "expiry is infinite": lambda claims: signed({**claims, "exp": float("inf")}),
    "expiry is a list": lambda claims: signed({**claims, "exp": [2**33]}),
    "type is a list": lambda claims: signed({**claims, "token_type": ["access"]}),
    "type is of another kind": lambda claims: signed({**claims, "token_type": "sliding"}),
    "claims are deep": lambda _: of_bytes(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "claims are no JSON": lambda _: of_bytes(b"\xff\xfe"),
    "claims are a number": lambda _: of_bytes(b"1"),
    "claims are null": lambda _: of_bytes(b"null"),
    "another key": lambda claims: signed(claims, "another key of more than 32 characters"),
    "another algorithm": lambda claims: signed(claims, settings.JWT_SECRET_KEY, "HS384"),
    "expired": lambda claims: signed({**claims, "exp": int(time.time()) - MAX_CLOCK_SKEW - 1}),
    "never expires": lambda claims: signed(without(claims, "exp")),
    "expiry is text": lambda claims: signed({**claims, "exp": "soon"}),
    "another issuer": lambda claims: signed({**claims, "iss": "other"}),
    "another audience": lambda claims: signed({**claims, "aud": "other"}),
    "no type": lambda claims: signed(without(claims, "token_type")),
    "no jti": lambda claims: signed(without(claims, "jti")),
    "no sid": lambda claims: signed(without(claims, "sid")),
    "no user": lambda claims: signed(without(claims, "user_id")),
    "claims are a list": lambda _: of_bytes(b"[]"),
    **{
        f"{name} is {kind}": lambda claims, name=name, value=value: signed({**claims, name: value})
        for name in ("sid", "user_id")
        for kind, value in {
            "a list": [str(uuid4())],
            "a number": 1,
            "null": None,
            "an object": {"a": 1},
            "a flag": True,
            "text": "ada",
            "another id": str(uuid4()),
            "long": "1" * 10_000,
            "a quote": "' OR 1=1 --",
            "nulls": "\0" * 36,
            "surrogates": "\ud800" * 36,
        }.items()
    },
}


@pytest.mark.parametrize("forge", BAD.values(), ids=BAD)
def test_a_forged_token_is_refused(api, claims, forge):
    assert_refused(ask(api, forge(claims)))


def test_a_token_issued_a_few_seconds_in_the_future_is_accepted(api, claims):
    ahead = int(time.time()) + MAX_CLOCK_SKEW - 2
    assert ask(api, signed({**claims, "iat": ahead})).status_code == 200


@pytest.mark.parametrize("forge", BAD.values(), ids=BAD)
def test_a_forged_token_neither_refreshes_nor_ends_a_session(api, claims, pair, forge):
    refresh = {**claims, "token_type": "refresh", "jti": claims_of(pair.refresh_token)["jti"]}
    response = api().post("/api/v1/auth/refresh", {"refresh_token": forge(refresh)})
    assert response.status_code in {400, 401}  # values that are empty, too long or no text are 400
    if response.status_code == 401:
        assert response.json() == REFUSED
    assert ask(api, pair.access_token).status_code == 200


TRICKS = {
    "a path": {"kid": "../../../../dev/null"},
    "a query": {"kid": "x' UNION SELECT 'key"},
    "an address of keys": {"jku": "http://127.0.0.1:9/keys.json"},
    "an address of certificates": {"x5u": "http://127.0.0.1:9/keys.pem"},
    "a key": {"jwk": {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode()}},
    "certificates": {"x5c": ["MIIB"]},
    "another content": {"cty": "text/xml"},
}


@pytest.mark.parametrize("header", TRICKS.values(), ids=TRICKS)
def test_headers_of_a_token_do_not_choose_the_key(api, claims, header):
    forged = jwt.encode(claims, "k" * 32, "HS256", headers=header)
    assert_refused(ask(api, forged))
    assert ask(api, with_header(claims, **header)).status_code == 200  # ignored, not followed


HEADERS = {
    "two tokens": "Bearer {0}, Bearer {0}",
    "two schemes": "Bearer Bearer {0}",
    "a tab": "Bearer\t{0}",
    "quotes": 'Bearer "{0}"',
    "a parameter": "Bearer {0}; q=1",
    "a space within": "Bearer {0[0]} {0}",
    "a space that is none": "Bearer\u00a0{0}",
    "full width": "\uff22earer {0}",
    "another scheme": "Token {0}",
    "no scheme": "{0}",
    "no space": "Bearer{0}",
    "very long": "Bearer {0}" + "A" * 60_000,
    "padding": "Bearer {0}==",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_malformed_authorization_header_is_refused(api, pair, header):
    given = header.format(pair.access_token).encode("utf-8").decode("latin-1")
    response = api().get(URL, HTTP_AUTHORIZATION=given)
    assert response.status_code == 401
    assert response.json()["errors"][0]["code"] in {"authentication_failed", "not_authenticated"}


def test_a_token_outside_the_authorization_header_is_ignored(api, pair):
    token = pair.access_token
    client = api()
    client.cookies["access_token"] = client.cookies["Authorization"] = token
    headers = {
        "X-Authorization": f"Bearer {token}",
        "Proxy-Authorization": f"Bearer {token}",
        "X-Auth-Token": token,
    }
    response = client.get(f"{URL}?access_token={token}&token={token}", headers=headers)
    assert response.status_code == 401


def test_after_a_log_out_both_tokens_are_refused(api, user, pair):
    assert ask(api, pair.access_token).status_code == 200
    bearer = {"Authorization": f"Bearer {pair.access_token}"}
    assert api().post("/api/v1/auth/logout", {}, headers=bearer).status_code == 204
    assert_refused(ask(api, pair.access_token))
    assert_refused(api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token}))


@pytest.mark.services
def test_emptying_redis_does_not_revive_a_session(api, user, pair, settings, redis_url):
    settings.THROTTLES = dict.fromkeys(settings.THROTTLES)  # leaves no counters to other tests
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}}
    another = open_session(user, "pytest")
    assert ask(api, another.access_token).status_code == 200
    bearer = {"Authorization": f"Bearer {pair.access_token}"}
    assert api().post("/api/v1/auth/logout", {}, headers=bearer).status_code == 204
    redis.Redis.from_url(redis_url).flushall()
    assert_refused(ask(api, pair.access_token))
    assert_refused(api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token}))
    assert ask(api, another.access_token).status_code == 200


def test_the_refresh_token_of_an_inactive_user_is_refused(api, user, pair):
    user.is_active = False
    user.save(update_fields=["is_active"])
    assert_refused(api().post("/api/v1/auth/refresh", {"refresh_token": pair.refresh_token}))
    user.is_active = True
    user.save(update_fields=["is_active"])
    assert ask(api, pair.access_token).status_code == 200


def test_a_refresh_token_is_refused_as_an_access_token(api, pair):
    assert_refused(ask(api, pair.refresh_token))


def test_a_token_with_another_users_session_is_refused(api, claims, stranger):
    open_session(stranger, "pytest")
    theirs = Session.objects.get(user=stranger)
    assert_refused(ask(api, signed({**claims, "sid": str(theirs.pk)})))
    assert_refused(ask(api, signed({**claims, "user_id": str(stranger.pk)})))


def test_a_revoked_session_is_refused_at_once(api, pair):
    assert ask(api, pair.access_token).status_code == 200
    Session.objects.update(revoked_at=timezone.now())
    assert_refused(ask(api, pair.access_token))


def test_an_expired_session_is_refused(api, pair):
    Session.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(ask(api, pair.access_token))


def test_a_session_without_a_row_is_refused(api, pair):
    Session.objects.all().delete()
    assert_refused(ask(api, pair.access_token))


def test_tokens_of_an_inactive_user_are_refused_at_once(api, user, pair):
    user.is_active = False
    user.save(update_fields=["is_active"])
    assert_refused(ask(api, pair.access_token))


def test_ending_one_session_keeps_the_others(api, user, pair):
    another = open_session(user, "pytest")
    Session.objects.filter(refresh_jti=claims_of(pair.refresh_token)["jti"]).update(revoked_at=timezone.now())
    assert_refused(ask(api, pair.access_token))
    assert ask(api, another.access_token).status_code == 200


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_one_query_loads_the_session_with_its_user(api, pair, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert ask(api, pair.access_token).status_code == 200


def test_a_forged_token_costs_no_query(api, claims, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert_refused(ask(api, signed(claims, "another key of more than 32 characters")))
