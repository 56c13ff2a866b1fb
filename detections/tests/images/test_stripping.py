"""Originals are served as uploaded, without the metadata that tells about their owner."""

import struct
import zlib
from io import BytesIO

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image, ImageCms, PngImagePlugin

from detections import rendering
from detections.images import stripping
from detections.images.validation import ImageFacts, read_image
from detections.models import DetectionImage
from testing.api import content_of
from testing.files import pictures

GOOD = pictures.good()
SECRET = b"Dr. No's hideout"
PLACE = (52.0, 31.0, 12.0)


def private_exif(orientation=1):
    """EXIF as phones write it: place, camera, a text."""
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
    return pictures.encoded(pictures.picture(), form, **options)


def cleaned(data):
    """The bytes that an upload's owner gets back."""
    file = BytesIO(data)
    pieces = stripping.without_metadata(file, read_image(file).extension)
    content = b"".join(
        piece if isinstance(piece, bytes) else data[piece.offset :][: piece.length] for piece in pieces
    )
    assert stripping.length_of(pieces) == len(content)
    return content


def opened(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def pixels(data):
    """Colours and transparency of every frame."""
    image = Image.open(BytesIO(data))
    for frame in range(getattr(image, "n_frames", 1)):
        image.seek(frame)
        yield image.convert("RGBA").tobytes()


@pytest.mark.parametrize("name", GOOD)
def test_every_valid_upload_keeps_its_pixels_when_stripped(name):
    data, form = GOOD[name]
    content = cleaned(data)
    if form in {"heic", "avif"}:
        assert read_image(BytesIO(content)) == ImageFacts("jpeg", ".jpg", 48, 32)
        return
    assert read_image(BytesIO(content)) == read_image(BytesIO(data))
    assert opened(content).mode == opened(data).mode
    before, after = list(pixels(data)), list(pixels(content))
    # Only the first picture of a phone's JPEG and of a TIFF is kept.
    assert after == before[:1] if form in {"jpeg", "tiff"} else after == before


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_stripped_pictures_hold_no_place_camera_or_comment(form):
    data = private(form)
    assert SECRET in data
    content = cleaned(data)
    for told in (SECRET, b"SpyCam", b"Exif", b"GPS", b"xmp", b"XMP", b"Author"):
        assert told not in content
    assert opened(content).getexif().get_ifd(0x8825) == {}
    assert list(pixels(content)) == list(pixels(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_stripping_keeps_the_exif_orientation_and_nothing_else(form, orientation):
    data = (
        private(form, orientation)
        if form != "TIFF"
        else pictures.with_exif_orientation(orientation, form=form)
    )
    content = cleaned(data)
    assert read_image(BytesIO(content)) == read_image(BytesIO(data))
    kept = dict(opened(content).getexif())
    if form == "TIFF":  # its pixels are upright
        assert kept.get(0x0112, 1) == 1
    else:
        assert kept == ({0x0112: orientation} if orientation > 1 else {})


def test_an_invalid_exif_orientation_is_dropped():
    assert dict(opened(cleaned(pictures.with_exif_orientation(77))).getexif()) == {}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_stripping_keeps_the_colour_profile(form):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = cleaned(pictures.encoded(pictures.picture(), form, icc_profile=profile))
    assert opened(content).info["icc_profile"] == profile


def test_bytes_after_the_end_of_a_picture_are_dropped():
    for data in (
        pictures.jpeg(),
        pictures.png(),
        pictures.gif(),
        pictures.webp(),
        pictures.bmp(),
        pictures.tiff(),
    ):
        assert SECRET not in cleaned(data + SECRET)


def test_the_jfif_thumbnail_of_a_jpeg_is_dropped():
    thumbnail = b"\x01\x01\0\0\x48\0\x48\x02\x01" + b"SEEMEE"
    head = b"\xff\xe0" + struct.pack(">H", 7 + len(thumbnail)) + b"JFIF\0" + thumbnail
    content = cleaned(b"\xff\xd8" + head + pictures.jpeg()[20:])
    assert b"SEEMEE" not in content
    assert opened(content).info["jfif_version"] == (1, 1)


def hidden_in_png(kind, content):
    data = pictures.png()
    return data[:33] + pictures.png_chunk(kind, content + SECRET) + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        hidden_in_png(b"pHYs", bytes(9)),
        hidden_in_png(b"gAMA", bytes(4)),
        hidden_in_png(b"bKGD", bytes(6)),
        pictures.png()[:-12] + pictures.png_chunk(b"IEND", SECRET),
        pictures.jpeg(mode="CMYK").replace(b"\xff\xee\0\x0eAdobe", b"\xff\xee\0\x1eAdobe").replace(
            b"\xff\xdb", SECRET + b"\xff\xdb", 1
        ),
    ],
    ids=["pHYs", "gAMA", "bKGD", "IEND", "Adobe"],
)  # fmt: skip
def test_extra_bytes_in_the_segments_that_are_kept_are_dropped(data):
    assert SECRET in data
    content = cleaned(data)
    assert SECRET not in content
    assert list(pixels(content))[:1] == list(pixels(data))[:1]


@pytest.mark.parametrize(
    "chunk",
    [
        pictures.with_wrong_checksum(pictures.png_chunk(b"pHYs", bytes(9))),
        pictures.png_chunk(b"pHYs", bytes(5)),
        pictures.png_chunk(b"iCCP", b"profile\0\7" + zlib.compress(b"profile")),
        pictures.png_chunk(b"iCCP", b"profile\0\0nothing deflated"),
        pictures.png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(70 << 20))),
        pictures.png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 48, 33, 0, 0, 1, 1, 0, 0)),
        pictures.png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 48, 32, 0, 0, 1, 1, 0, 0)),
        pictures.png_chunk(b"fdAT", b"\0\0"),
    ],
)
def test_chunks_that_readers_refuse_are_left_out_of_a_png(chunk):
    assert cleaned(pictures.png_with(chunk)) == cleaned(pictures.png())


def test_text_between_the_frames_of_an_animation_is_dropped():
    data = pictures.animated("WEBP")
    at = data.index(b"ANMF")
    (length,) = struct.unpack("<I", data[at + 4 : at + 8])
    note = b"NOTE" + struct.pack("<I", len(SECRET)) + SECRET
    frame = b"ANMF" + struct.pack("<I", length + len(note)) + data[at + 8 : at + 8 + length] + note
    body = data[8:at] + frame + data[at + 8 + length :]
    hiding = b"RIFF" + struct.pack("<I", len(body)) + body
    content = cleaned(hiding)
    assert SECRET not in content
    assert list(pixels(content)) == list(pixels(data))


def test_stripping_keeps_the_order_of_png_chunks(tmp_path):
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
def test_a_file_damaged_in_the_storage_is_unreadable(name):
    data, _ = GOOD[name]
    extension = read_image(BytesIO(data)).extension
    with pytest.raises(stripping.UnreadableOriginalError):
        stripping.without_metadata(BytesIO(pictures.truncated(data, 0.5)), extension)


def test_a_picture_of_thousands_of_chunks_is_streamed_in_a_few_pieces():
    data = pictures.png()
    hidden = pictures.png_chunk(b"teXt", b"hidden") + pictures.png_chunk(b"tRNS", b"")
    content = data[:33] + hidden * 2000 + data[33:]
    file = BytesIO(content)
    pieces = stripping.without_metadata(file, ".png")
    assert len(pieces) <= stripping.MOST_PIECES
    given = stripping.content_of(file, pieces)
    assert given == data[:33] + pictures.png_chunk(b"tRNS", b"") * 2000 + data[33:]


def test_stripping_does_not_read_a_large_picture_into_memory():
    data = pictures.jpeg(2000, 2000, exif=private_exif(), quality=100)
    pieces = stripping.without_metadata(BytesIO(data), ".jpg")
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) < 100
    assert len(pieces) < 20


# Over HTTP


@pytest.fixture
def sent(submit, user):
    """Uploads a picture under a name and returns its path in the API and its row."""

    def send(data, name="bus.jpg"):
        detection = submit(user, data)
        image = detection.images.get()
        DetectionImage.objects.filter(pk=image.pk).update(original_name=name)
        return f"/api/v1/detect/{detection.pk}/images/{image.pk}", image

    return send


def headers_of(client, path):
    """The response of a picture, whose file is read to its end and closed."""
    response = client.get(path)
    assert content_of(response)
    return response


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
def test_an_original_is_served_in_its_format_before_processing(api, user, sent, form, media_type):
    data = pictures.bmp() if form == "BMP" else private(form)
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
def test_the_filename_of_an_original_is_sanitised_and_gets_the_true_extension(api, user, sent, name, shown):
    path, _ = sent(pictures.png(), name)
    assert headers_of(api(user), path)["Content-Disposition"] == shown


@pytest.mark.parametrize("name", ["", "...", "///"])
def test_an_original_without_a_name_is_named_by_its_id(api, user, sent, name):
    path, image = sent(pictures.png(), name)
    assert headers_of(api(user), path)["Content-Disposition"] == f'inline; filename="{image.pk}.png"'


def test_an_original_is_an_attachment_with_download_true(api, user, sent):
    path, _ = sent(pictures.png())
    assert headers_of(api(user), f"{path}?download=true")["Content-Disposition"].startswith("attachment; ")
    response = api(user).get(f"{path}?download=perhaps")
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "download"


def test_an_original_with_a_matching_etag_answers_304(api, user, sent):
    path, _ = sent(pictures.png())
    client = api(user)
    tag = headers_of(client, path)["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)


def test_a_refused_image_answers_no_file_and_a_lost_file_answers_404(api, user, sent):
    path, image = sent(pictures.png())
    default_storage.delete(image.image_path)
    assert api(user).get(path).status_code == 404
    DetectionImage.objects.filter(pk=image.pk).update(image_path="")
    response = api(user).get(path)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "no_file")


def test_an_original_damaged_in_the_storage_answers_no_file(api, user, sent, media):
    path, image = sent(pictures.png())
    (media / image.image_path).write_bytes(pictures.truncated(pictures.png()))
    response = api(user).get(path)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "no_file")


@pytest.mark.django_db(transaction=True)
def test_an_original_is_stripped_without_a_database_connection(api, user, sent, monkeypatch):
    path, _ = sent(pictures.tiff())
    held = []

    wait = rendering.drawing._wait

    def look(visitor):
        held.append(connection.connection)
        wait(visitor)

    monkeypatch.setattr(rendering.drawing, "_wait", look)
    assert headers_of(api(user), path)
    assert held == [None]


def test_serving_an_original_takes_three_queries(api, user, sent, django_assert_num_queries):
    path, _ = sent(pictures.png())
    client = api(user)
    with django_assert_num_queries(3):  # session, detection, image
        headers_of(client, path)
