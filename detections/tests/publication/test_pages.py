"""The pages of public and shared results, as what chat programs, search engines and browsers read in them."""

import re
from contextlib import ExitStack
from html import unescape
from html.parser import HTMLParser
from threading import Timer

import pytest
from django.test import Client

from detections import rendering
from detections.jobs.processing import process_waiting
from detections.models import DetectionResult
from detections.publication import pictures, shares
from objectvision.lib import fair_slots
from testing.files.pictures import photo

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ company }}{% csrf_token %}",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
]


@pytest.fixture
def batch(user, submit):
    detection = submit(user, *(photo(colour=(60 * number,) * 3) for number in (1, 2, 3)))
    process_waiting()
    detection.refresh_from_db()
    detection.change(is_public=True, moderation="approved")
    return detection


@pytest.fixture
def shared(finished):
    return f"/s/{shares.create_share(finished, 60)[1]}"


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))


def elements_of(page):
    """The elements of a page, with the names of their attributes."""
    parser = Elements()
    parser.feed(page)
    return parser.found


def meta_of(page):
    found = re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', page)
    return {name: unescape(content) for name, content in found}


def test_chat_programs_get_title_text_and_picture(published, client):
    meta = meta_of(client.get(f"/p/{published.pk}").content.decode())
    assert meta["og:title"] == "2 objects"
    assert meta["og:description"] == "1 alpha, 1 beta"
    assert meta["og:url"] == f"http://testserver/p/{published.pk}"
    picture = meta["og:image"]
    assert picture.startswith(f"http://testserver/api/v1/detect/public/{published.pk}/image?image_id=")
    assert client.get(picture.removeprefix("http://testserver"))["Content-Type"] == "image/jpeg"


def test_links_of_pages_begin_with_the_configured_address(published, client, settings):
    settings.API_BASE_URL = "https://detect.example.com/"
    meta = meta_of(client.get(f"/p/{published.pk}").content.decode())
    assert meta["og:url"] == f"https://detect.example.com/p/{published.pk}"
    assert meta["og:image"].startswith("https://detect.example.com/api/v1/detect/public/")


def test_search_engines_leave_shared_and_missing_pages_out(published, shared, client):
    public, private, missing = (client.get(path) for path in (f"/p/{published.pk}", shared, "/p/unknown"))
    assert "noindex" not in public.content.decode()
    assert "X-Robots-Tag" not in public
    for response in (private, missing):
        assert "noindex" in meta_of(response.content.decode())["robots"]
    assert "noindex" in private["X-Robots-Tag"]


def test_the_address_of_a_shared_page_is_told_to_no_other_site(shared, client):
    for path in (shared, "/s/unknown"):
        assert client.get(path)["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("token", ["live", "unknown"])
def test_shared_pages_take_nothing_and_say_so(shared, token):
    visitor = Client(enforce_csrf_checks=True)
    response = visitor.post(shared if token == "live" else "/s/unknown", {"reason": "Spam"})
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert response["Referrer-Policy"] == "no-referrer"


def test_pages_are_framed_by_the_configured_sites_only(published, shared, client, settings):
    paths = [f"/p/{published.pk}", shared, "/s/unknown"]
    for path in paths:
        response = client.get(path)
        assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
        assert response["X-Frame-Options"] == "DENY"
    settings.EMBED_ALLOWED_ORIGINS = ["https://blog.example.com", "https://news.example.com"]
    for path in paths:
        response = client.get(path)
        policy = "frame-ancestors https://blog.example.com https://news.example.com"
        assert policy in response["Content-Security-Policy"]
        assert "X-Frame-Options" not in response
    assert client.get("/admin/login/")["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("attack", ATTACKS)
def test_class_names_are_text_in_pages(published, shared, client, attack):
    paths = (f"/p/{published.pk}", shared)
    DetectionResult.objects.update(object_class="alpha")
    published.change()
    plain = {path: elements_of(client.get(path).content.decode()) for path in paths}
    DetectionResult.objects.update(object_class=attack)
    published.change()
    for path in paths:
        response = client.get(path)
        page = response.content.decode()
        assert attack in unescape(page)
        assert elements_of(page) == plain[path]
        assert meta_of(page)["og:description"] == f"2 {attack}"
        assert "unsafe-inline" not in response["Content-Security-Policy"]


def test_pages_need_no_script_and_no_style_of_their_own(published, client):
    page = client.get(f"/p/{published.pk}").content.decode()
    assert "<script" not in page
    assert "style=" not in page


def test_a_batch_shows_its_pictures_one_by_one(batch, client):
    pictures = set()
    for number in (1, 2, 3):
        page = client.get(f"/p/{batch.pk}?image={number}").content.decode()
        assert f"{number} of 3" in page
        assert (f"?image={number - 1}" in page, f'"?image={number + 1}"' in page) == (number > 1, number < 3)
        pictures.add(meta_of(page)["og:image"])
    assert len(pictures) == 3
    assert "1 of 3" in client.get(f"/p/{batch.pk}").content.decode()


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "", "1" * 30, "\u0661", "1.0"])
def test_a_picture_that_there_is_not_is_404(batch, client, number):
    assert client.get(f"/p/{batch.pk}", {"image": number}).status_code == 404


def test_images_that_failed_are_not_shown(user, submit, client):
    detection = submit(user, photo(), photo())
    process_waiting()
    detection.refresh_from_db()
    first = detection.images.order_by("pk").first()
    first.results.all().delete()
    first.fail("corrupt_image", "SecretReason")
    first.save()
    detection.change(is_public=True, moderation="approved", processed=1, failed=1)
    page = client.get(f"/p/{detection.pk}").content.decode()
    shown = client.get(f"/api/v1/detect/public/{detection.pk}").json()
    assert (len(shown["images"]), shown["total"]) == (1, 1)
    assert "of 2" not in page
    assert "SecretReason" not in page + str(shown)
    assert client.get(f"/api/v1/detect/public/{detection.pk}/image?image_id={first.pk}").status_code == 404


def test_a_picture_without_objects_says_so(published, client):
    DetectionResult.objects.all().delete()
    published.change()
    page = client.get(f"/p/{published.pk}").content.decode()
    assert "Nothing was found in this picture." in page
    assert meta_of(page)["og:title"] == "No objects"


def test_confidences_are_written_as_everywhere(published, client):
    page = client.get(f"/p/{published.pk}").content.decode()
    most = DetectionResult.objects.most_confident_first().first()
    assert f"</svg>{most.confidence:.2f}</td>" in page
    assert " %" not in page


def test_of_very_many_objects_a_page_says_which_are_drawn(published, client):
    image = published.images.get()
    assert "are drawn" not in client.get(f"/p/{published.pk}").content.decode()
    DetectionResult.objects.bulk_create(
        DetectionResult(
            detection=published, image=image, user=published.user, class_id=0, object_class="alpha",
            confidence=0.3, bbox_x=0, bbox_y=0, bbox_width=0.1, bbox_height=0.1,
        ) for _ in range(1000)
    )  # fmt: skip
    published.change()
    page = client.get(f"/p/{published.pk}").content.decode()
    assert meta_of(page)["og:title"] == f"{DetectionResult.objects.count():,} objects"
    assert "Only the most confident 1,000 are drawn" in page


def test_a_visitor_waits_while_others_have_all_places(published, client, monkeypatch):
    monkeypatch.setattr(fair_slots, "MOST_QUEUED", 1)
    with ExitStack() as others:
        others.enter_context(rendering.drawing.slot(pictures.VISITORS))
        Timer(0.3, others.close).start()
        assert client.get(f"/api/v1/detect/public/{published.pk}/image").status_code == 200


def test_visitors_do_not_hold_up_the_owner(published, api, user, monkeypatch):
    """All of their places are taken, and the owner has one."""
    monkeypatch.setattr(fair_slots, "LONGEST_WAIT_SECONDS", 0)
    paths = [f"/api/v1/detect/public/{published.pk}/image", f"/api/v1/detect/{published.pk}/image"]
    with rendering.drawing.slot(pictures.VISITORS):
        assert [api(user).get(path).status_code for path in paths] == [503, 200]
