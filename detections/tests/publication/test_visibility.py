"""Who sees a detection in which state: its owner, another user, a visitor, a moderator."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts.closing import close
from accounts.models import User, UserSettings
from detections import erasure
from detections.jobs.processing import process_waiting
from detections.jobs.reprocessing import Reprocessing
from detections.models import Detection, DetectionResult
from detections.publication import moderation, shares
from detections.publication.models import ShareLink
from detections.tests.publication.conftest import SECRET_FILE, SECRET_NAME
from testing.api import content_of
from testing.files.pictures import photo

PUBLIC = "/api/v1/detect/public"
SHARED = "/api/v1/detect/shared"


def paths_of(detection):
    one = f"{PUBLIC}/{detection.pk}"
    return [one, f"{one}/image", f"{one}/thumbnail", f"/p/{detection.pk}"]


def paths_by(token):
    return [f"{SHARED}/{token}", f"{SHARED}/{token}/image", f"/s/{token}"]


@pytest.fixture
def people(api, user, stranger):
    """Clients of everybody who may ask. What visitors see depends on nobody's rights."""
    root = User.objects.create_superuser("root@example.com", "a-long-passphrase")
    moderator = Client()
    moderator.force_login(root)
    return [api(user), api(stranger), api(), moderator]


@pytest.fixture
def seen(people):
    """Whether all people see these paths; a mixture fails."""

    def look(paths):
        codes = set()
        for client in people:
            for path in paths:
                codes.add(client.get(path).status_code)
        assert len(codes) == 1, codes
        return codes == {200}

    return look


@pytest.fixture
def listed(api):
    def ids():
        return [row["id"] for row in api().get(PUBLIC).json()["items"]]

    return ids


def withdraw(detection):
    detection.change(is_public=False)


def deactivate_owner(detection):
    User.objects.filter(pk=detection.user_id).update(is_active=False)


def hide(detection):
    moderation.hide([detection.pk])


def reject(detection):
    moderation.reject([detection.pk], "It shows a face.")


def delete(detection):
    erasure.delete_detections([detection.pk])


def close_account(detection):
    close(detection.user)


def make_pending(detection):
    detection.change(moderation="pending")


ENDS = [withdraw, make_pending, hide, reject, delete, deactivate_owner, close_account]


@pytest.mark.parametrize("end", ENDS)
def test_what_is_public_is_gone_for_everybody_at_once(published, api, seen, listed, end):
    assert seen(paths_of(published))
    assert listed() == [str(published.pk)]
    tags = [api().get(path)["ETag"] for path in paths_of(published)]
    end(published)
    assert not seen(paths_of(published))
    assert listed() == []
    for path, tag in zip(paths_of(published), tags, strict=True):
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}, {"Range": "bytes=0-99"}):
            assert api().get(path, headers=headers).status_code == 404


def test_what_is_gone_looks_as_what_there_never_was(published, finished, api, submit, stranger):
    """A private id tells nothing: not by its answer, and not by its headers."""
    private = submit(stranger, photo())
    for known, unknown in zip(paths_of(private), paths_of(Detection(pk=uuid4())), strict=True):
        answers = [api().get(path) for path in (known, unknown)]
        assert {answer.status_code for answer in answers} == {404}
        assert answers[0].content == answers[1].content
        assert answers[0].headers == answers[1].headers


def test_a_shown_answer_is_not_sent_twice_to_who_has_it(published, api):
    for path in paths_of(published):
        tag = api().get(path)["ETag"]
        assert api().get(path, headers={"If-None-Match": tag}).status_code == 304
        assert "no-cache" in api().get(path)["Cache-Control"]


def test_a_part_of_a_picture_is_answered_with_the_whole(published, api):
    whole, part = (
        api().get(f"{PUBLIC}/{published.pk}/image", headers=headers)
        for headers in ({}, {"Range": "bytes=0-9"})
    )
    assert part.status_code == 200
    assert content_of(part) == content_of(whole)


def test_only_finished_detections_are_shown(published, seen, listed, submit, user):
    waiting = submit(user, photo())
    waiting.change(is_public=True, moderation="approved")
    assert not seen(paths_of(waiting))
    assert listed() == [str(published.pk)]
    process_waiting()
    assert seen(paths_of(waiting))
    assert listed() == [str(waiting.pk), str(published.pk)]
    waiting.change(status="processing")  # with results of some images
    assert not seen(paths_of(waiting))
    assert listed() == [str(published.pk)]


def test_a_reprocessed_detection_comes_back_without_a_new_approval(published, api):
    path = f"{PUBLIC}/{published.pk}"
    before = api().get(path)
    again = Reprocessing(Detection.objects.all(), before=timezone.now())
    for ids in again.batches():
        again.put_back(ids)
    assert api().get(path).status_code == 404
    process_waiting()
    after = api().get(path)
    assert (after.status_code, after.json()) == (200, before.json())
    assert after["ETag"] != before["ETag"]


def test_shown_results_follow_the_owners_review(published, api):
    def names():
        shown = api().get(f"{PUBLIC}/{published.pk}").json()
        (image,) = shown["images"]
        return [result["object_class"] for result in image["results"]], shown["objects"]

    found = list(DetectionResult.objects.most_confident_first())
    assert len(found) >= 2
    before, _ = names()
    DetectionResult.objects.filter(pk=found[0].pk).update(review="rejected")
    DetectionResult.objects.filter(pk=found[1].pk).update(review="accepted", reviewed_class="tram")
    published.change()
    after, objects = names()
    assert after == ["tram", *before[2:]]
    assert {"object_class": "tram", "objects": 1} in objects
    assert sum(each["objects"] for each in objects) == len(found) - 1
    page = api().get(f"/p/{published.pk}").content.decode()
    assert "tram" in page
    assert before[0] not in page


# Links.


@pytest.fixture
def link(finished):
    return shares.create_share(finished, 3600)


def revoke(share):
    ShareLink.objects.filter(pk=share.pk).revoke()


def expire(share):
    ShareLink.objects.filter(pk=share.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    "end",
    [
        revoke,
        expire,
        lambda share: delete(share.detection),
        lambda share: deactivate_owner(share.detection),
        lambda share: close_account(share.detection),
    ],
    ids=["revoked", "expired", "deleted", "deactivated", "closed"],
)
def test_a_link_that_has_ended_is_as_one_that_there_never_was(link, api, seen, end):
    share, token = link
    assert seen(paths_by(token))
    tags = [api().get(path)["ETag"] for path in paths_by(token)]
    end(share)
    assert not seen(paths_by(token))
    unknown = paths_by(shares.secrets.token_urlsafe(32))
    for path, tag, other in zip(paths_by(token), tags, unknown, strict=True):
        for headers in ({"If-None-Match": tag}, {"If-None-Match": "*"}, {"Range": "bytes=0-99"}):
            answer = api().get(path, headers=headers)
            assert (answer.status_code, answer.content) == (404, api().get(other).content)


def test_a_link_shows_only_its_detection_and_makes_nothing_public(link, api, submit, user, listed):
    _, token = link
    other = submit(user, photo())
    process_waiting()
    image = other.images.get().pk
    assert api().get(f"{SHARED}/{token}/image?image_id={image}").status_code == 404
    assert listed() == []
    assert api().get(f"{PUBLIC}/{api().get(f'{SHARED}/{token}').json()['id']}").status_code == 404


def test_the_hash_of_a_token_opens_nothing(link, api):
    share, _ = link
    assert api().get(f"{SHARED}/{share.token_hash}").status_code == 404


@pytest.mark.parametrize("token", ["x", "é" * 50, "a" * 5000, "%00", "..", "' OR 1=1 --"])
def test_odd_tokens_are_404(api, db, token):
    for path in (f"{SHARED}/{token}", f"/s/{token}"):
        assert api().get(path).status_code == 404


# What is in the answers.


def texts(value):
    match value:
        case dict():
            for name, inner in value.items():
                yield name
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)
        case _:
            yield str(value)


def test_no_answer_tells_more_than_visitors_may_know(published, link, api, user):
    """The contents of every public answer, its headers included."""
    _, token = link
    secrets = [SECRET_NAME, SECRET_FILE, user.email, user.name, str(user.pk), "standin", "users/"]
    for path in [PUBLIC, *paths_of(published), *paths_by(token)]:
        response = api().get(path)
        content = content_of(response) if response.streaming else response.content
        told = content + json.dumps(dict(response.headers)).encode()
        for secret in secrets:
            assert secret.encode() not in told, (path, secret)
    names = set(texts(api().get(f"{PUBLIC}/{published.pk}").json()))
    assert not names & {
        "name",
        "email",
        "original_name",
        "parameters",
        "detector",
        "error",
        "user",
        "request_id",
    }


def test_the_owners_name_is_shown_only_if_the_owner_wants_it(published, link, api, user):
    _, token = link

    def shown():
        names = [
            api().get(path).json()["owner_name"] for path in (f"{PUBLIC}/{published.pk}", f"{SHARED}/{token}")
        ]
        (row,) = api().get(PUBLIC).json()["items"]
        in_pages = [
            "By Ada" in api().get(path).content.decode() for path in (f"/p/{published.pk}", f"/s/{token}")
        ]
        return {*names, row["owner_name"]}, in_pages

    assert shown() == ({None}, [False, False])
    assert api(user).patch("/api/v1/users/settings", {"show_name": True}).status_code == 200
    assert shown() == ({"Ada"}, [True, True])
    UserSettings.objects.update(show_name=False)
    assert shown() == ({None}, [False, False])


@pytest.mark.parametrize("count", [1, 3])
def test_the_list_takes_the_same_number_of_queries_for_any_number(
    published, api, submit, user, count, django_assert_num_queries
):
    for _ in range(count - 1):
        submit(user, photo()).change(is_public=True, moderation="approved")
    process_waiting()
    client = api()
    with django_assert_num_queries(2):
        assert len(client.get(PUBLIC).json()["items"]) == count
    with django_assert_num_queries(1):  # what it shows is kept
        assert len(client.get(PUBLIC).json()["items"]) == count


def test_kept_answers_cost_one_query_and_are_as_new(published, api, django_assert_num_queries):
    path = f"{PUBLIC}/{published.pk}"
    first = api().get(path)
    with django_assert_num_queries(1):
        assert api().get(path).json() == first.json()
