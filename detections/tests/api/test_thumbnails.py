"""Thumbnails: small, upright, without metadata; made once, and gone with their picture."""

from io import BytesIO

import pytest
from django.core.files.storage import default_storage
from PIL import Image, ImageChops, ImageStat

from detections import erasure, rendering, storage
from detections.images import pixels
from detections.models import DetectionImage
from testing.api import content_of, faults, send_batch
from testing.files import pictures
from testing.files.pictures import photo

GOOD = pictures.good()


def url(image):
    return f"/api/v1/detect/{image.detection_id}/images/{image.pk}/thumbnail"


def files(media):
    return [path for path in media.rglob("*") if path.is_file()]


@pytest.fixture
def image(submit, user):
    return submit(user, pictures.with_exif_orientation(6, 1200, 900)).images.get()


def test_a_thumbnail_is_a_small_upright_webp_without_metadata(api, user, image):
    response = api(user).get(url(image))
    assert response["Content-Type"] == "image/webp"
    assert response["Cache-Control"] == "private, no-cache"
    shown = Image.open(BytesIO(content_of(response)))
    assert (shown.format, shown.size) == ("WEBP", (192, 256))
    assert not {"exif", "icc_profile", "xmp"} & set(shown.info)
    with default_storage.open(image.image_path) as file:
        upright = pixels.upright(file).resize(shown.size)
    assert max(ImageStat.Stat(ImageChops.difference(upright, shown.convert("RGB"))).mean) < 6


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_picture_has_a_thumbnail_in_its_shape(name):
    content = GOOD[name][0]
    width, height = pixels.upright(content).size
    shown = Image.open(BytesIO(pixels.thumbnail(BytesIO(content), 16)))
    assert max(shown.size) == min(16, max(width, height))
    assert shown.width / shown.height == pytest.approx(width / height, rel=0.1)


def test_a_large_jpeg_is_decoded_in_a_part_of_its_size():
    file = BytesIO(photo(4000, 3000))
    decoded = pixels._reduced_jpeg(file, 256)
    assert decoded.size == (1000, 750)
    assert pixels._reduced_jpeg(BytesIO(pictures.png()), 256) is None


def test_a_damaged_jpeg_is_read_as_its_annotated_picture_is():
    file = BytesIO(pictures.untidy()["padded-with-fill-bytes.jpg"])
    assert Image.open(BytesIO(pixels.thumbnail(file, 16))).size == (16, 11)


def test_a_client_that_has_the_thumbnail_gets_a_304(api, user, image):
    tag = api(user).get(url(image))["ETag"]
    response = api(user).get(url(image), headers={"If-None-Match": tag})
    assert (response.status_code, response.content) == (304, b"")


def test_a_thumbnail_is_made_once_and_goes_with_its_picture(
    api, user, image, media, django_assert_num_queries, django_capture_on_commit_callbacks
):
    client = api(user)
    with django_assert_num_queries(4):  # session and user; detection; image; whether it is still there
        first = content_of(client.get(url(image)))
    assert len(files(media)) == 2
    default_storage.delete(image.image_path)  # what is made now would need it
    with django_assert_num_queries(3):
        assert content_of(client.get(url(image))) == first
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete_detections([image.detection_id])
    assert files(media) == []


def test_a_picture_deleted_while_its_thumbnail_is_made_leaves_nothing(
    image, media, monkeypatch, django_capture_on_commit_callbacks
):
    make = pixels.thumbnail

    def make_too_late(*arguments):
        with django_capture_on_commit_callbacks(execute=True):
            erasure.delete_detections([image.detection_id])
        return make(*arguments)

    monkeypatch.setattr(pixels, "thumbnail", make_too_late)
    rendering.thumbnail_picture(image).close()
    assert files(media) == []


@pytest.mark.django_db(transaction=True)
def test_two_that_make_it_at_once_leave_one_file(image, media, at_once):
    def make():
        return b"".join(rendering.thumbnail_picture(image).blocks())

    assert len(set(at_once(make, make, make))) == 1
    storage.keep_file(storage.thumbnail_path(image.image_path), b"late")
    assert len(files(media)) == 2


def test_a_storage_that_takes_nothing_does_not_keep_it_from_being_shown(
    api, user, image, settings, media, caplog
):
    settings.FILE_UPLOAD_TEMP_DIR = media / "gone"
    assert content_of(api(user).get(url(image))).startswith(b"RIFF")
    assert len(files(media)) == 1
    assert "is not kept" in caplog.text


def test_an_image_without_a_file_or_picture_has_no_thumbnail(api, user, submit, detector):
    client = api(user)
    send_batch(client, photo(), b"no picture")
    refused = DetectionImage.objects.get(image_path="")
    assert faults(client.get(url(refused)), 409) == [("no_file", None)]
    gone, broken = submit(user, photo(), photo()).images.order_by("pk")
    default_storage.delete(gone.image_path)
    assert faults(client.get(url(gone)), 404) == [("not_found", None)]
    default_storage.delete(broken.image_path)
    default_storage.save(broken.image_path, BytesIO(b"no picture"))
    assert faults(client.get(url(broken)), 409) == [("no_file", None)]
