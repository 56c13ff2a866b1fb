"""What was sent comes back as it was, but for what it tells about its owner."""

import struct
import zlib
from io import BytesIO

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image, ImageCms, PngImagePlugin

from detections import originals, views
from detections.models import DetectionImage
from detections.tests import images
from detections.tests.answers import content_of
from detections.validators import read_image

GOOD = images.good()
SECRET = b"Dr. No's hideout"
PLACE = (52.0, 31.0, 12.0)


def private_exif(orientation=1):
    """As phones write it: place, camera, time, a text."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()
    tags[0x0110] = "SpyCam 007"
    tags.get_ifd(0x8825)[2] = PLACE
    return tags


def private(form, orientation=1):
    """A picture in that format with all the metadata that it can carry."""
    options = {"exif": private_exif(orientation)}
    if form == "JPEG":
        options.update(comment=SECRET, xmp=SECRET)
    if form == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", SECRET.decode())
        texts.add_itxt("XML:com.adobe.xmp", SECRET.decode())
        options["pnginfo"] = texts
    if form == "WEBP":
        options["xmp"] = SECRET
    if form == "GIF":
        options = {"comment": SECRET}
    if form == "TIFF":
        options["tiffinfo"] = {270: SECRET.decode(), 700: SECRET, 33723: SECRET}
        del options["exif"]
    return images.encoded(images.picture(), form, **options)


def cleaned(data):
    """The bytes that an upload's owner gets back."""
    file = BytesIO(data)
    pieces = originals.without_metadata(file, read_image(file).extension)
    content = b"".join(
        piece if isinstance(piece, bytes) else data[piece.offset :][: piece.length] for piece in pieces
    )
    assert originals.length_of(pieces) == len(content)
    return content


def opened(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def pixels(data):
    """Of every frame, colours and transparency."""
    image = Image.open(BytesIO(data))
    for frame in range(getattr(image, "n_frames", 1)):
        image.seek(frame)
        yield image.convert("RGBA").tobytes()


@pytest.mark.parametrize("name", GOOD)
def test_every_good_upload_comes_back_as_the_same_picture(name):
    data, form = GOOD[name]
    content = cleaned(data)
    assert read_image(BytesIO(content)) == read_image(BytesIO(data))
    assert opened(content).mode == opened(data).mode
    before, after = list(pixels(data)), list(pixels(content))
    # Behind the first picture of a phone's JPEG and of a TIFF there is nothing that anyone asked for.
    assert after == before[:1] if form in {"jpeg", "tiff"} else after == before


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_nothing_is_told_about_its_owner(form):
    data = private(form)
    assert SECRET in data
    content = cleaned(data)
    for told in (SECRET, b"SpyCam", b"Exif", b"GPS", b"xmp", b"XMP", b"Author"):
        assert told not in content
    assert opened(content).getexif().get_ifd(0x8825) == {}
    assert list(pixels(content)) == list(pixels(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_it_is_shown_as_its_owner_sees_it(form, orientation):
    data = (
        private(form, orientation) if form != "TIFF" else images.with_exif_orientation(orientation, form=form)
    )
    content = cleaned(data)
    assert read_image(BytesIO(content)) == read_image(BytesIO(data))
    kept = dict(opened(content).getexif())
    if form == "TIFF":  # its pixels are upright
        assert kept.get(0x0112, 1) == 1
    else:
        assert kept == ({0x0112: orientation} if orientation > 1 else {})


def test_an_orientation_that_is_none_is_dropped():
    assert dict(opened(cleaned(images.with_exif_orientation(77))).getexif()) == {}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colours_keep_their_profile(form):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = cleaned(images.encoded(images.picture(), form, icc_profile=profile))
    assert opened(content).info["icc_profile"] == profile


def test_what_hides_behind_a_picture_stays_behind():
    for data in (images.jpeg(), images.png(), images.gif(), images.webp(), images.bmp(), images.tiff()):
        assert SECRET not in cleaned(data + SECRET)


def test_a_jpegs_thumbnail_is_not_given_out():
    thumbnail = b"\x01\x01\0\0\x48\0\x48\x02\x01" + b"SEEMEE"
    head = b"\xff\xe0" + struct.pack(">H", 7 + len(thumbnail)) + b"JFIF\0" + thumbnail
    content = cleaned(b"\xff\xd8" + head + images.jpeg()[20:])
    assert b"SEEMEE" not in content
    assert opened(content).info["jfif_version"] == (1, 1)


def hidden_in_png(kind, content):
    data = images.png()
    return data[:33] + images.png_chunk(kind, content + SECRET) + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        hidden_in_png(b"pHYs", bytes(9)),
        hidden_in_png(b"gAMA", bytes(4)),
        hidden_in_png(b"bKGD", bytes(6)),
        images.png()[:-12] + images.png_chunk(b"IEND", SECRET),
        images.jpeg(mode="CMYK").replace(b"\xff\xee\0\x0eAdobe", b"\xff\xee\0\x1eAdobe").replace(
            b"\xff\xdb", SECRET + b"\xff\xdb", 1
        ),
    ],
    ids=["pHYs", "gAMA", "bKGD", "IEND", "Adobe"],
)  # fmt: skip
def test_nothing_hides_behind_the_short_pieces_that_are_kept(data):
    assert SECRET in data
    content = cleaned(data)
    assert SECRET not in content
    assert list(pixels(content))[:1] == list(pixels(data))[:1]


def test_text_between_the_frames_of_an_animation_is_dropped():
    data = images.animated("WEBP")
    at = data.index(b"ANMF")
    (length,) = struct.unpack("<I", data[at + 4 : at + 8])
    note = b"NOTE" + struct.pack("<I", len(SECRET)) + SECRET
    frame = b"ANMF" + struct.pack("<I", length + len(note)) + data[at + 8 : at + 8 + length] + note
    body = data[8:at] + frame + data[at + 8 + length :]
    hiding = b"RIFF" + struct.pack("<I", len(body)) + body
    content = cleaned(hiding)
    assert SECRET not in content
    assert list(pixels(content)) == list(pixels(data))


def test_the_order_of_a_pngs_chunks_stays(tmp_path):
    content = cleaned(private("PNG", 6))
    kinds, offset = [], 8
    while offset < len(content):
        (length,) = struct.unpack(">I", content[offset : offset + 4])
        kinds.append(content[offset + 4 : offset + 8])
        body = content[offset + 4 : offset + 8 + length]
        assert struct.unpack(">I", content[offset + 8 + length :][:4]) == (zlib.crc32(body),)
        offset += length + 12
    assert kinds == [b"IHDR", b"eXIf", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    "name", ["photo.jpg", "photo.png", "lossy.webp", "photo.gif", "photo.tif", "photo.bmp"]
)
def test_a_file_that_was_damaged_in_the_storage_is_not_given_out(name):
    data, _ = GOOD[name]
    extension = read_image(BytesIO(data)).extension
    with pytest.raises(originals.UnreadableOriginal):
        originals.without_metadata(BytesIO(images.truncated(data, 0.5)), extension)


def test_large_pictures_are_not_read_into_memory():
    data = images.jpeg(2000, 2000, exif=private_exif(), quality=100)
    pieces = originals.without_metadata(BytesIO(data), ".jpg")
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) < 100
    assert len(pieces) < 20


# Over HTTP


@pytest.fixture
def sent(submit, user):
    """Uploads a picture under a name; where it is and the path of its original."""

    def send(data, name="bus.jpg"):
        detection = submit(user, data)
        image = detection.images.get()
        DetectionImage.objects.filter(pk=image.pk).update(original_name=name)
        return f"/api/v1/detect/{detection.pk}/images/{image.pk}", image

    return send


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
    ],
)
def test_it_comes_in_its_format_before_it_is_processed_too(api, user, sent, form, media_type):
    data = images.bmp() if form == "BMP" else private(form)
    path, _ = sent(data)
    response = api(user).get(path)
    assert response.status_code == 200
    content = content_of(response)
    assert response["Content-Type"] == media_type
    assert response["Content-Length"] == str(len(content))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-cache"
    assert content == cleaned(data)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bus.jpg", 'inline; filename="bus.png"'),
        ('evil".html', 'inline; filename="evil.png"'),
        ("../../etc/passwd", 'inline; filename="passwd.png"'),
        ("a\r\nSet-Cookie: b=c", 'inline; filename="a_Set-Cookie_b_c.png"'),
        ("grün.png", "inline; filename*=utf-8''gr%C3%BCn.png"),
        ("\u202egpj.exe", 'inline; filename="gpj.png"'),
    ],
)
def test_its_name_is_safe_and_says_what_it_is(api, user, sent, name, shown):
    path, _ = sent(images.png(), name)
    assert api(user).get(path)["Content-Disposition"] == shown


@pytest.mark.parametrize("name", ["", "...", "///"])
def test_without_a_name_it_has_its_id(api, user, sent, name):
    path, image = sent(images.png(), name)
    assert api(user).get(path)["Content-Disposition"] == f'inline; filename="{image.pk}.png"'


def test_it_may_be_downloaded(api, user, sent):
    path, _ = sent(images.png())
    assert api(user).get(f"{path}?download=true")["Content-Disposition"].startswith("attachment; ")
    response = api(user).get(f"{path}?download=perhaps")
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "download"


def test_whoever_has_it_is_told_so(api, user, sent):
    path, _ = sent(images.png())
    client = api(user)
    tag = client.get(path)["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)


def test_a_refused_image_has_no_file_and_a_lost_one_is_not_found(api, user, sent):
    path, image = sent(images.png())
    default_storage.delete(image.image_path)
    assert api(user).get(path).status_code == 404
    DetectionImage.objects.filter(pk=image.pk).update(image_path="")
    response = api(user).get(path)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "no_file")


def test_one_that_cannot_be_read_says_so(api, user, sent, media):
    path, image = sent(images.png())
    (media / image.image_path).write_bytes(images.truncated(images.png()))
    response = api(user).get(path)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "no_file")


@pytest.mark.django_db(transaction=True)
def test_it_is_read_without_a_database_connection(api, user, sent, monkeypatch):
    path, _ = sent(images.tiff())
    held = []

    def acquire(timeout):
        held.append(connection.connection)
        return True

    monkeypatch.setattr(views.drawing, "acquire", acquire)
    monkeypatch.setattr(views.drawing, "release", lambda: None)
    assert api(user).get(path).status_code == 200
    assert held == [None]


def test_three_queries_find_it(api, user, sent, django_assert_num_queries):
    path, _ = sent(images.png())
    client = api(user)
    with django_assert_num_queries(3):  # session, detection, image
        client.get(path)
