"""Refreshing, listing and ending sessions."""

from datetime import timedelta

import jwt
import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from accounts.models import Session
from accounts.tokens import AccessToken, keyring, open_session

SESSIONS = "/api/v1/auth/sessions"
PROFILE, REFRESH, LOGOUT, LOGOUT_ALL = (
    f"/api/v1/{path}" for path in ("users/get-profile", "auth/refresh", "auth/logout", "auth/logout-all")
)


@pytest.fixture
def pair(user):
    return open_session(user, "pytest")


def bearer(api, token):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def works(api, token):
    return bearer(api, token).get(PROFILE).status_code == 200


def refresh(api, token):
    return api().post(REFRESH, {"refresh_token": token})


def test_a_refresh_answers_with_a_new_pair_of_the_same_session(api, pair):
    response = refresh(api, pair.refresh_token)
    assert response.status_code == 200
    fresh = response.json()
    assert set(fresh) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert fresh["refresh_token"] != pair.refresh_token
    assert works(api, fresh["access_token"])
    assert works(api, pair.access_token)
    assert Session.objects.count() == 1


def test_each_refresh_prolongs_the_session(api, pair):
    Session.objects.update(expires_at=timezone.now() + timedelta(hours=1), last_used_at=timezone.now())
    before = Session.objects.get()
    assert refresh(api, pair.refresh_token).status_code == 200
    after = Session.objects.get()
    assert after.expires_at > before.expires_at + timedelta(days=6)
    assert after.last_used_at > before.last_used_at


def test_a_refresh_token_used_twice_ends_its_session(api, pair):
    fresh = refresh(api, pair.refresh_token).json()
    again = refresh(api, pair.refresh_token)
    assert (again.status_code, again["WWW-Authenticate"]) == (401, "Bearer")
    assert not works(api, fresh["access_token"])
    assert refresh(api, fresh["refresh_token"]).status_code == 401
    assert Session.objects.get().revoked_at is not None


def test_a_refresh_token_used_twice_ends_no_other_session(api, user, pair):
    other = open_session(user, "phone")
    refresh(api, pair.refresh_token)
    refresh(api, pair.refresh_token)
    assert works(api, other.access_token)


def test_of_twenty_concurrent_refreshes_at_most_one_succeeds(api, pair, at_once):
    statuses = [
        response.status_code for response in at_once(*[lambda: refresh(api, pair.refresh_token)] * 20)
    ]
    assert statuses.count(200) <= 1
    assert set(statuses) <= {200, 401}
    assert Session.objects.get().revoked_at is not None


def test_an_access_token_refreshes_nothing(api, pair):
    assert refresh(api, pair.access_token).status_code == 401
    assert works(api, pair.access_token)


def test_the_session_of_an_inactive_user_is_not_refreshed(api, user, pair):
    user.is_active = False
    user.save()
    assert refresh(api, pair.refresh_token).status_code == 401


def test_an_expired_session_is_not_refreshed(api, pair):
    Session.objects.update(expires_at=timezone.now())
    assert refresh(api, pair.refresh_token).status_code == 401


@pytest.mark.parametrize(
    "changed", [{"sid": ["a"]}, {"sid": 1}, {"user_id": {}}, {"jti": ["a"]}, {"jti": None}]
)
def test_odd_claims_in_a_refresh_token_are_refused(api, pair, changed):
    claims = jwt.decode(pair.refresh_token, options={"verify_signature": False})
    token = jwt.encode({**claims, **changed}, settings.JWT_SECRET_KEY, "HS256")
    assert refresh(api, token).status_code == 401


def test_a_refresh_token_with_another_users_id_is_refused(api, pair, stranger):
    claims = jwt.decode(pair.refresh_token, options={"verify_signature": False})
    token = jwt.encode({**claims, "user_id": str(stranger.pk)}, settings.JWT_SECRET_KEY, "HS256")
    assert refresh(api, token).status_code == 401
    assert works(api, pair.access_token)


@pytest.mark.parametrize(
    "body", [{}, {"refresh_token": ""}, {"refresh_token": None}, {"refresh_token": ["a"]}]
)
def test_a_refresh_without_a_token_names_the_field(api, db, body):
    response = api().post(REFRESH, body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "refresh_token"


def test_after_log_out_both_tokens_are_refused_at_once(api, user, pair):
    other = open_session(user, "phone")
    assert bearer(api, pair.access_token).post(LOGOUT).status_code == 204
    assert not works(api, pair.access_token)
    assert refresh(api, pair.refresh_token).status_code == 401
    assert works(api, other.access_token)


def test_a_log_out_may_end_another_session_of_the_same_user(api, user, pair):
    other = open_session(user, "phone")
    response = bearer(api, pair.access_token).post(LOGOUT, {"refresh_token": other.refresh_token})
    assert response.status_code == 204
    assert not works(api, pair.access_token)
    assert not works(api, other.access_token)


def test_a_log_out_ends_no_session_of_a_stranger(api, pair, stranger):
    theirs = open_session(stranger, "phone")
    bearer(api, pair.access_token).post(LOGOUT, {"refresh_token": theirs.refresh_token})
    assert works(api, theirs.access_token)


def test_log_out_everywhere_ends_every_session_of_this_user_only(api, user, pair, stranger):
    other, theirs = open_session(user, "phone"), open_session(stranger, "phone")
    assert bearer(api, pair.access_token).post(LOGOUT_ALL).status_code == 204
    assert not works(api, pair.access_token)
    assert not works(api, other.access_token)
    assert refresh(api, other.refresh_token).status_code == 401
    assert works(api, theirs.access_token)


@pytest.mark.parametrize("path", [LOGOUT, LOGOUT_ALL])
def test_a_log_out_needs_a_session(api, db, path):
    assert api().post(path).status_code == 401


# The list


def test_the_list_shows_own_live_sessions_and_marks_the_current_one(api, user, stranger, pair):
    open_session(stranger, "Another user's")
    Session.objects.filter(pk=session_of(open_session(user, "Over"))).revoke()
    current = open_session(user, "Firefox")
    answer = bearer(api, current.access_token).get(SESSIONS).json()
    assert answer["total"] == 2
    assert [(item["user_agent"], item["is_current"]) for item in answer["items"]] == [
        ("Firefox", True),
        ("pytest", False),
    ]
    assert set(answer["items"][0]) == {
        "id", "user_agent", "is_current", "created_at", "last_used_at", "expires_at",
    }  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3])
def test_listing_sessions_takes_two_queries(api, user, rows, django_assert_num_queries):
    pairs = [open_session(user, "pytest") for _ in range(rows)]
    client = bearer(api, pairs[0].access_token)
    with django_assert_num_queries(2):  # the session, the page
        assert len(client.get(SESSIONS).json()["items"]) == rows


def test_a_session_can_be_ended_from_another_session(api, user, pair):
    current = open_session(user, "Firefox")
    client = bearer(api, current.access_token)
    assert client.delete(f"{SESSIONS}/{session_of(pair)}").status_code == 204
    assert not works(api, pair.access_token)
    assert refresh(api, pair.refresh_token).status_code == 401
    assert client.delete(f"{SESSIONS}/{session_of(pair)}").status_code == 404
    assert works(api, current.access_token)


def test_a_session_can_end_itself(api, pair):
    assert bearer(api, pair.access_token).delete(f"{SESSIONS}/{session_of(pair)}").status_code == 204
    assert not works(api, pair.access_token)


def test_a_user_has_no_more_than_the_most_sessions(api, user, stranger, monkeypatch):
    """Without a bound, one who has the password could begin so many that ending them takes too long."""
    monkeypatch.setattr(Session, "MOST_OF_USER", 3)
    theirs, ended = open_session(stranger, "phone"), open_session(user, "ended")
    user.sessions.revoke()
    first, second, third, fourth = (open_session(user, str(number)) for number in range(4))
    assert works(api, theirs.access_token)
    assert [works(api, pair.access_token) for pair in (first, second, third, fourth)] == [False, *[True] * 3]
    assert not user.sessions.filter(pk=session_of(ended)).exists()
    refresh(api, second.refresh_token)
    fifth = open_session(user, "5")
    assert [works(api, pair.access_token) for pair in (second, third, fourth, fifth)] == [
        True, False, True, True,
    ]  # fmt: skip  # as above


def session_of(pair):
    return AccessToken(pair.access_token)["sid"]


# Changing the keys


@pytest.fixture
def keys_are(settings):
    def change(present, *previous):
        settings.JWT_SECRET_KEY, settings.JWT_PREVIOUS_SECRET_KEYS = present, list(previous)
        keyring.cache_clear()

    yield change
    keyring.cache_clear()


def test_signing_keys_can_be_changed_without_ending_sessions(api, keys_are, user):
    keys_are("o" * 32)
    old = open_session(user, "pytest")
    keys_are("n" * 32, "x" * 32, "o" * 32)
    assert works(api, old.access_token)
    fresh = refresh(api, old.refresh_token).json()
    keys_are("n" * 32)  # the overlap is over
    assert works(api, fresh["access_token"])
    assert not works(api, old.access_token)
    assert refresh(api, old.refresh_token).status_code == 401


def test_a_previous_signing_key_does_not_extend_tokens(api, keys_are, user):
    keys_are("o" * 32)
    old = open_session(user, "pytest")
    keys_are("n" * 32, "o" * 32)
    with time_machine.travel(timezone.now() + timedelta(minutes=31), tick=False):
        assert not works(api, old.access_token)
