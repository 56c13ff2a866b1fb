"""The list of public results, and what visitors see at the first page."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import UserSettings
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionResult
from testing.api import content_of
from testing.files.pictures import photo

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unthrottled")]


@pytest.fixture
def publish(submit):
    """Finished public detections of this user, newest last: `publish(user, 3)`."""

    def make(user, count=1, **values):
        made = [submit(user, photo()) for _ in range(count)]
        process_waiting()
        for number, detection in enumerate(made):
            detection.refresh_from_db()
            at = timezone.now() - timedelta(hours=count - number)
            Detection.objects.filter(pk=detection.pk).update(created_at=at)
            detection.change(**{"is_public": True, "moderation": "approved", **values})
        return made

    return make


def listed(response):
    return re.findall(r'href="/p/([^"]+)"', response.content.decode())


def older(response):
    return re.search(r'rel="next" href="([^"]+)"', response.content.decode())


def test_only_what_staff_have_approved_is_listed_newest_first_for_everybody(console, user, stranger, publish):
    first, second = publish(user, 2)
    publish(user, is_public=False)
    publish(stranger, moderation="pending")
    for viewer in (None, user, stranger):
        assert listed(console(viewer).get("/public")) == [str(second.pk), str(first.pk)]


def test_nothing_of_the_owner_is_shown_but_a_name_that_they_want_shown(console, user, publish):
    (detection,) = publish(user)
    detection.change(name="Holiday at Lake Como")
    user.rename("Countess Lovelace")
    for shows in (False, True):
        UserSettings.objects.update_or_create(user=user, defaults={"show_name": shows})
        content = console().get("/public").content.decode()
        assert ("Countess Lovelace" in content) == shows
        assert user.email not in content
        assert "Holiday" not in content
        assert "photo-1.jpg" not in content


def test_class_names_are_text(console, user, publish):
    (detection,) = publish(user)
    hostile = '"><img src=x onerror=alert(1)>'
    DetectionResult.objects.filter(detection=detection).update(review="accepted", reviewed_class=hostile)
    content = console().get("/public").content.decode()
    assert "<img src=x" not in content
    assert "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;" in content


def test_older_results_are_on_further_pages_each_once(console, user, publish, monkeypatch):
    from console.views import public

    monkeypatch.setattr(public, "SHOWN", 2)
    made = publish(user, 5)
    Detection.objects.filter(pk__in=[each.pk for each in made[:2]]).update(created_at=made[0].created_at)
    seen, page = [], console().get("/public")
    for _ in range(3):
        seen += listed(page)
        link = older(page)
        page = console().get(f"/public{link[1]}") if link else page
    assert len(seen) == 5
    assert sorted(seen) == sorted(str(each.pk) for each in made)
    assert older(page) is None
    assert '<a class="button" href="/public">' in page.content.decode()
    Detection.objects.filter(user=user).update(is_public=False)
    assert (
        "There are no older results"
        in console()
        .get(
            f"/public{link[1] if link else '?before='}",
            {"before": f"2026-01-01T00:00:00.000000Z_{made[0].pk}"},
        )
        .content.decode()
    )


@pytest.mark.parametrize(
    "place", ["x", "_", "2026-01-01T00:00:00.000000Z_x", "9999-99-99T00:00:00.000000Z_", "\0", "1e999_1"]
)
def test_a_made_up_place_is_the_first_page(console, user, publish, place):
    (detection,) = publish(user)
    assert listed(console().get("/public", {"before": place})) == [str(detection.pk)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_list_costs_as_many_queries_for_three_as_for_one(
    console, user, publish, count, django_assert_num_queries
):
    publish(user, count)
    with django_assert_num_queries(2):
        assert len(listed(console().get("/public"))) == count
    with django_assert_num_queries(1):  # the classes are kept
        console().get("/public")


def test_an_empty_list_teaches_what_will_be_there(console, user, settings):
    for required in (True, False):
        settings.MODERATION_REQUIRED = required
        content = console().get("/public").content.decode()
        assert "Nothing is public yet" in content
        assert ("once staff have approved them" in content) == required
        assert 'href="/signup">Sign up' in content
    assert "Detect objects in a picture" in console(user).get("/public").content.decode()


def test_a_thumbnail_is_a_small_webp_that_browsers_ask_for_again(api, user, publish):
    (detection,) = publish(user)
    path = f"/api/v1/detect/public/{detection.pk}/thumbnail"
    response = api().get(path)
    content = content_of(response)
    assert (content[:4], content[8:12], response["Content-Type"]) == (b"RIFF", b"WEBP", "image/webp")
    assert api().get(path, headers={"If-None-Match": response["ETag"]}).status_code == 304
    detection.change(is_public=False)
    assert api(user).get(path, headers={"If-None-Match": response["ETag"]}).status_code == 404


def test_visitors_see_at_the_first_page_what_this_is(console, user):
    content = console().get("/").content.decode()
    for link in ('href="/signup"', 'href="/login"', 'href="/public"', "welcome.svg"):
        assert link in content
    assert "noindex" not in content
    assert "welcome.svg" not in console(user).get("/").content.decode()


@pytest.mark.parametrize(("method", "status"), [("head", 200), ("post", 302), ("options", 200)])
def test_visitors_cannot_send_anything_to_the_first_page(console, method, status):
    response = getattr(console(), method)("/")
    assert response.status_code == status
    assert status == 200 or response["Location"].startswith("/login")
