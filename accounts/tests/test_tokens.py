"""An access token is worth what its session's row says, and nothing else opens the door."""

import base64
import json
import time
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Session
from accounts.tokens import open_session

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


def test_a_token_signed_by_us_opens_the_door(api, user, claims):
    assert ask(api, signed(claims)).json()["id"] == str(user.pk)


def test_without_a_token_nobody_gets_in(api, db):
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


def unsigned(claims):
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + "."
    )


def without(claims, *names):
    return {name: value for name, value in claims.items() if name not in names}


BAD = {
    "empty": lambda _: "",
    "no token": lambda _: "nonsense",
    "three dots": lambda _: "a.b.c",
    "not ASCII": lambda _: "é",
    "two tokens": lambda claims: f"{signed(claims)} {signed(claims)}",
    "unsigned": unsigned,
    "another key": lambda claims: signed(claims, "another key of more than 32 characters"),
    "another algorithm": lambda claims: signed(claims, settings.JWT_SECRET_KEY, "HS384"),
    "expired": lambda claims: signed({**claims, "exp": int(time.time()) - 1}),
    "never expires": lambda claims: signed(without(claims, "exp")),
    "expiry is text": lambda claims: signed({**claims, "exp": "soon"}),
    "another issuer": lambda claims: signed({**claims, "iss": "somebody"}),
    "another audience": lambda claims: signed({**claims, "aud": "somebody"}),
    "no type": lambda claims: signed(without(claims, "token_type")),
    "no jti": lambda claims: signed(without(claims, "jti")),
    "no sid": lambda claims: signed(without(claims, "sid")),
    "no user": lambda claims: signed(without(claims, "user_id")),
    "claims are a list": lambda _: jwt.api_jws.encode(b"[]", settings.JWT_SECRET_KEY, "HS256"),
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
        }.items()
    },
}


@pytest.mark.parametrize("forge", BAD.values(), ids=BAD)
def test_a_token_that_is_not_ours_is_refused(api, claims, forge):
    assert_refused(ask(api, forge(claims)))


def test_a_refresh_token_is_no_access_token(api, pair):
    assert_refused(ask(api, pair.refresh_token))


def test_somebody_elses_session_is_not_ours(api, claims, stranger):
    open_session(stranger, "pytest")
    theirs = Session.objects.get(user=stranger)
    assert_refused(ask(api, signed({**claims, "sid": str(theirs.pk)})))
    assert_refused(ask(api, signed({**claims, "user_id": str(stranger.pk)})))


def test_a_revoked_session_is_over_at_once(api, pair):
    assert ask(api, pair.access_token).status_code == 200
    Session.objects.update(revoked_at=timezone.now())
    assert_refused(ask(api, pair.access_token))


def test_a_session_that_has_expired_is_over(api, pair):
    Session.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(ask(api, pair.access_token))


def test_a_session_whose_row_is_gone_is_over(api, pair):
    Session.objects.all().delete()
    assert_refused(ask(api, pair.access_token))


def test_somebody_made_inactive_is_out_at_once(api, user, pair):
    user.is_active = False
    user.save(update_fields=["is_active"])
    assert_refused(ask(api, pair.access_token))


def test_ending_one_session_leaves_the_others(api, user, pair):
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
