"""The links by which owners share private results."""

import time
from datetime import timedelta
from hashlib import sha256

import pytest
import time_machine
from django.utils import timezone

from detections import erasure, tasks
from detections.publication import shares
from detections.publication.models import ShareLink
from testing.api import faults
from testing.files.pictures import photo


@pytest.fixture
def path(finished):
    return f"/api/v1/detect/{finished.pk}/shares"


@pytest.fixture
def mine(api, user):
    return api(user)


def test_a_link_is_shown_once_and_stored_as_a_hash(mine, path):
    response = mine.post(path, {"expires_in": 60})
    link = response.json()
    assert response.status_code == 201
    assert link.keys() == {"id", "url", "token", "expires_at", "created_at", "use_count"}
    assert (len(link["token"]), link["use_count"]) == (43, 0)
    assert link["url"] == f"http://testserver/s/{link['token']}"
    row = ShareLink.objects.get()
    assert row.token_hash == sha256(link["token"].encode()).hexdigest()
    assert link["token"] not in str(ShareLink.objects.values().get())
    (listed,) = mine.get(path).json()["items"]
    assert listed == {name: link[name] for name in ("id", "expires_at", "created_at", "use_count")}


@pytest.mark.parametrize(("body", "days"), [({}, 7), (None, 7), ({"expires_in": 90 * 86_400}, 90)])
def test_a_link_lasts_7_days_or_up_to_90(mine, path, body, days):
    now = timezone.now()
    assert mine.post(path, body).status_code == 201
    left = ShareLink.objects.get().expires_at - now
    assert timedelta(days=days) <= left < timedelta(days=days, seconds=20)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(0, "min_value"), (-1, "min_value"), (90 * 86_400 + 1, "max_value"), ("60", "invalid"), (None, "null")],
)
def test_other_times_are_refused(mine, path, seconds, code):
    assert faults(mine.post(path, {"expires_in": seconds})) == [(code, "expires_in")]


def test_opening_a_link_is_counted_and_looking_at_its_pictures_is_not(mine, path, api):
    token = mine.post(path, {}).json()["token"]
    shown = f"/api/v1/detect/shared/{token}"
    api().get(shown)
    api().get(f"/s/{token}")
    for unseen in (f"{shown}/image", f"/s/{token}?image=1"):
        api().get(unseen)
    (listed,) = mine.get(path).json()["items"]
    assert listed["use_count"] == 2


def test_a_revoked_link_is_not_listed_and_not_revoked_twice(mine, path, api):
    link, kept = mine.post(path, {}).json(), mine.post(path, {}).json()
    assert mine.delete(f"{path}/{link['id']}").status_code == 204
    assert mine.delete(f"{path}/{link['id']}").status_code == 404
    assert [row["id"] for row in mine.get(path).json()["items"]] == [kept["id"]]
    assert api().get(f"/s/{link['token']}").status_code == 404
    assert api().get(f"/s/{kept['token']}").status_code == 200


def test_a_link_is_revoked_under_its_own_detection_only(mine, path, finished, submit, user):
    link, other = mine.post(path, {}).json(), submit(user, photo())
    assert mine.delete(f"/api/v1/detect/{other.pk}/shares/{link['id']}").status_code == 404
    assert ShareLink.objects.alive().exists()


def test_fifty_links_of_a_detection_work_at_a_time(mine, path, finished, monkeypatch):
    assert shares.MOST_SHARES == 50
    monkeypatch.setattr(shares, "MOST_SHARES", 2)
    first = mine.post(path, {}).json()
    mine.post(path, {})
    response = mine.post(path, {})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "too_many_shares")
    mine.delete(f"{path}/{first['id']}")
    assert mine.post(path, {}).status_code == 201


def test_many_requests_at_once_do_not_pass_the_limit(finished, at_once, monkeypatch):
    hash_token = shares.hash_token

    def hash_slowly(token):
        """Between counting and creating: the others come meanwhile."""
        time.sleep(0.2)
        return hash_token(token)

    monkeypatch.setattr(shares, "MOST_SHARES", 2)
    monkeypatch.setattr(shares, "hash_token", hash_slowly)

    def create():
        try:
            return bool(shares.create_share(finished, 60))
        except shares.TooManySharesError:
            return False

    assert sum(at_once(*[create] * 5)) == 2
    assert ShareLink.objects.count() == 2


def test_a_detection_that_is_deleted_meanwhile_is_not_shared(mine, path, finished, monkeypatch):
    def delete_first(_size):
        erasure.delete_detections([finished.pk])
        return "token"

    monkeypatch.setattr(shares.secrets, "token_urlsafe", delete_first)
    assert mine.post(path, {}).status_code == 404
    assert not ShareLink.objects.exists()


def test_a_key_needs_the_scope_detect_to_share(keyed, path):
    assert keyed("read").post(path, {}).status_code == 403
    link = keyed("detect").post(path, {})
    assert link.status_code == 201
    assert keyed("read").get(path).json()["total"] == 1
    assert keyed("detect").delete(f"{path}/{link.json()['id']}").status_code == 204


def test_links_are_deleted_a_day_after_their_end(finished):
    for seconds in (60, 3600):
        shares.create_share(finished, seconds)
    revoked, _ = shares.create_share(finished, 86_400 * 90)
    ShareLink.objects.filter(pk=revoked.pk).revoke()
    kept, _ = shares.create_share(finished, 86_400 * 90)
    tasks.delete_expired()
    assert ShareLink.objects.count() == 4
    with time_machine.travel(timezone.now() + timedelta(days=1, minutes=30)):
        tasks.delete_expired()
        assert ShareLink.objects.count() == 2  # the one of an hour has half an hour left
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        tasks.delete_expired()
        assert ShareLink.objects.get() == kept
