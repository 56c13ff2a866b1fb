"""The pictures that visitors see: kept beside the upload, never an old one, and gone with it."""

import pytest
from django.core.files.storage import default_storage

from detections import erasure, rendering
from detections.jobs.processing import process_waiting
from detections.publication import moderation, pictures, showing
from testing.api import content_of
from testing.files.pictures import photo


def url(detection):
    return f"/api/v1/detect/public/{detection.pk}/image"


def seen(client, detection):
    response = client.get(url(detection))
    assert response.status_code == 200
    content = content_of(response)
    assert response["Content-Length"] == str(len(content))
    assert content.startswith(b"\xff\xd8")
    assert content.endswith(b"\xff\xd9")
    return content


@pytest.fixture
def drawings(monkeypatch):
    """How often a picture was drawn."""
    drawn, made = rendering.drawn, []

    def draw(*arguments):
        made.append(arguments)
        return drawn(*arguments)

    monkeypatch.setattr(rendering, "drawn", draw)
    return made


def files(media):
    return sorted(path.suffixes[-2:] for path in media.rglob("*") if path.is_file())


def test_a_picture_is_drawn_once_until_a_review_changes_it(published, api, user, drawings, media):
    first = seen(api(), published)
    assert seen(api(), published) == first
    assert len(drawings) == 1
    review = {"review": "rejected", "min_confidence": 0}
    assert api(user).post(f"/api/v1/detect/{published.pk}/review", review).json()["changed"]
    assert seen(api(), published) != first
    assert len(drawings) == 2
    assert len(files(media)) == 2


def test_a_kept_picture_is_gone_with_its_detection(published, api, media, django_capture_on_commit_callbacks):
    seen(api(), published)
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([published.pk])
    assert files(media) == []


def test_a_picture_deleted_while_it_is_drawn_leaves_nothing(
    published, api, media, monkeypatch, django_capture_on_commit_callbacks
):
    draw = rendering.drawn

    def draw_too_late(*arguments):
        with django_capture_on_commit_callbacks(execute=True):
            erasure.delete_detections([published.pk])
        return draw(*arguments)

    monkeypatch.setattr(rendering, "drawn", draw_too_late)
    assert api().get(url(published)).status_code == 404
    assert files(media) == []


def test_what_is_hidden_while_it_is_drawn_is_not_given_out(published, api, monkeypatch):
    draw = rendering.drawn

    def draw_too_late(*arguments):
        moderation.hide([published.pk])
        return draw(*arguments)

    monkeypatch.setattr(rendering, "drawn", draw_too_late)
    assert api().get(url(published)).status_code == 404


def test_a_rerun_of_the_same_file_shows_its_own_picture(published, api, user, settings):
    settings.MODERATION_REQUIRED = False
    wanted = {"confidence": 0.45, "is_public": True}
    answer = api(user).post(f"/api/v1/detect/{published.pk}/rerun", wanted).json()
    process_waiting()
    rerun = type(published).objects.get(pk=answer["detection_id"])
    first, second = seen(api(), published), seen(api(), rerun)
    assert first != second
    assert (seen(api(), published), seen(api(), rerun)) == (first, second)


def test_a_storage_that_takes_nothing_does_not_keep_a_picture_from_being_shown(
    published, api, settings, media, caplog
):
    settings.FILE_UPLOAD_TEMP_DIR = media / "gone"
    assert seen(api(), published)
    assert len(files(media)) == 1
    assert "is not kept" in caplog.text


def test_a_picture_that_visitors_ask_for_at_once_is_drawn_once(
    transactional_db, published, at_once, drawings, media
):
    image = published.images.select_related("detector").get()

    def look():
        picture = pictures.shown_picture(image, "1")
        try:
            return b"".join(picture.blocks())
        finally:
            picture.close()

    assert len(set(at_once(*[look] * 5))) == 1
    assert len(drawings) == 1
    assert default_storage.exists(f"{image.image_path}.shown.jpg")
    assert len(files(media)) == 2


def test_answers_that_share_a_place_are_each_ones_own(published, submit, user, api, monkeypatch):
    """Places are limited: what users share cannot fill the memory."""
    other = submit(user, photo(colour=(0, 0, 0)))
    process_waiting()
    other.change(is_public=True, moderation="approved")
    for places in ("KEPT_DETECTIONS", "KEPT_IMAGES"):
        monkeypatch.setattr(showing, places, 1)
    for _ in range(2):
        for detection in (published, other):
            image = str(detection.images.get().pk)
            assert image in str(api().get(f"/api/v1/detect/public/{detection.pk}").json())
            assert image in api().get(f"/p/{detection.pk}").content.decode()
