import random
import time
import tracemalloc
from contextlib import suppress
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from PIL import Image, ImageOps

from detections.tests import images
from detections.validators import ImageFacts, read_image


def refusal(data):
    with pytest.raises(ValidationError) as caught:
        read_image(BytesIO(data))
    return caught.value


@pytest.mark.parametrize("name", images.good())
def test_every_format_is_known_by_its_content(name):
    data, form = images.good()[name]
    facts = read_image(SimpleUploadedFile(name, data, content_type="application/octet-stream"))
    extension = {"jpeg": ".jpg"}.get(form, f".{form}")
    assert facts == ImageFacts(form, extension, 48, 32)


@pytest.mark.parametrize("name", images.HOSTILE)
def test_a_bad_upload_is_refused_with_its_code(name):
    data, code = images.HOSTILE[name]
    assert refusal(data).code == code


@pytest.mark.parametrize("name", [name for name, (_, code) in images.HOSTILE.items() if code != "too_large"])
def test_a_bad_upload_is_refused_at_once_and_without_memory(name):
    data, _ = images.HOSTILE[name]
    started = time.thread_time()
    refusal(data)
    took = time.thread_time() - started
    tracemalloc.start()
    refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 0.5
    assert peak < 1 << 20


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(form, orientation):
    data = images.with_exif_orientation(orientation, 48, 32, form)
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == ((32, 48) if orientation >= 5 else (48, 32))
    with Image.open(BytesIO(data)) as image:
        assert ImageOps.exif_transpose(image).size == (facts.width, facts.height)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",  # 99
    ],
)
def test_nonsense_in_exif_leaves_the_picture_as_it_is(exif):
    facts = read_image(BytesIO(images.jpeg(exif=exif)))
    assert (facts.width, facts.height) == (48, 32)


def test_the_text_names_the_limit(settings):
    settings.MAX_UPLOAD_MB, settings.MAX_IMAGE_PIXELS = 1, 1_000
    assert refusal(bytes((1 << 20) + 1)).message == "The file is 1.1 MB; at most 1 MB are allowed."
    assert refusal(images.png()).message == (
        "The picture has 48 x 32 pixels, 1,536 together; at most 1,000 are allowed."
    )


def test_a_file_of_exactly_the_limits_is_accepted(settings):
    settings.MAX_UPLOAD_MB, settings.MAX_IMAGE_PIXELS = 1, 48 * 32
    data = images.png()
    assert read_image(BytesIO(data + bytes((1 << 20) - len(data)))).width == 48


@pytest.mark.parametrize("data", [images.png(), b"", images.HTML, images.truncated(images.jpeg())])
def test_the_file_is_rewound_whatever_it_is(data):
    file = BytesIO(data)
    file.seek(0, 2)
    with suppress(ValidationError):
        read_image(file)
    assert file.tell() == 0


def test_an_upload_that_lies_on_disk_is_read_without_loading_it(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    noise = images.encoded(Image.effect_noise((3800, 3800), 100), "JPEG", quality=98)
    assert len(noise) > 15 << 20
    with TemporaryUploadedFile("noise.jpg", "image/jpeg", len(noise), None) as file:
        file.write(noise)
        started = time.thread_time()
        facts = read_image(file)
        took = time.thread_time() - started
        tracemalloc.start()
        read_image(file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (facts.width, facts.height) == (3800, 3800)
    assert took < 0.5
    assert peak < 1 << 20


# What stands behind the picture may be missing: a second one, or what was appended; pages lie in any order.
ENDS_EARLY = {"phone.jpg", "trailing.jpg", "trailing.png", "pages.tif"}
BEHIND_DIRECTORY = {"packed.tif": 10, "deflated.tif": 10}  # values that say nothing about where pixels are


@pytest.mark.parametrize("name", sorted(images.good().keys() - ENDS_EARLY))
def test_a_file_cut_off_anywhere_is_refused(name):
    data, _ = images.good()[name]
    for length in range(len(data) - BEHIND_DIRECTORY.get(name, 0)):
        refusal(data[:length])


WORDS = (
    b"\xff\xff\xff\xff",
    bytes(4),
    b"\x7f\xff\xff\xff",
    b"\0\0\0\1",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xc0",
)
DAMAGES = (
    lambda chance, part: chance.randbytes(1) + part[1:],
    lambda chance, part: chance.choice(WORDS) + part[4:],
    lambda _chance, _part: b"",
    lambda _chance, part: part + part,
    lambda chance, part: part + chance.randbytes(chance.randrange(1, 10)),
    lambda _chance, part: part[::-1],
)


def damaged(data, chance):
    """A few places changed, cut out, doubled, inserted or reversed; the end cut off now and then."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        reach = min(len(data), chance.choice((32, 200, len(data))))  # most of what matters stands in front
        start = chance.randrange(reach + 1)
        end = start + chance.randrange(1, 40)
        data = data[:start] + chance.choice(DAMAGES)(chance, data[start:end]) + data[end:]
    return data if chance.random() < 0.9 else data[: chance.randrange(len(data) + 1)]


@pytest.mark.parametrize("name", images.good())
def test_damage_of_any_kind_ends_in_a_refusal_or_in_a_sensible_picture(name, settings):
    data, _ = images.good()[name]
    chance = random.Random(name)
    slowest = 0.0
    for _ in range(400):
        file = BytesIO(damaged(data, chance))
        started = time.thread_time()
        facts = outcome(file)
        slowest = max(slowest, time.thread_time() - started)
        if isinstance(facts, ImageFacts):
            assert 0 < facts.width * facts.height <= settings.MAX_IMAGE_PIXELS
        else:
            assert facts in {"empty", "too_many_pixels", "unsupported_format", "corrupt_image"}
    assert slowest < 0.5  # below 1 ms, but a garbage collection may fall into it


def outcome(file):
    try:
        return read_image(file)
    except ValidationError as error:
        return error.code
