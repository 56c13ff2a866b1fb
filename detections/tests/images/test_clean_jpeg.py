"""JPEGs are decoded to the same pixels as by OpenCV, and faulty files are left to it."""

import random
import tracemalloc

import pytest
from PIL import Image, ImageChops, ImageStat

from detections.images import opencv
from detections.images.clean_jpeg import read_clean_jpeg, read_half
from detections.inference import DecodeError, decode
from testing.detectors import SCENES
from testing.files import pictures
from testing.files.hostile import JPEGS
from testing.files.pictures import encoded

FORMS = {
    "plain": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:1:1": {"subsampling": "4:1:1"},
    "restarting": {"restart_marker_blocks": 5},
    "RGB": {"keep_rgb": True},
}
GREY = [pictures.jpeg(47, 33, "L"), pictures.jpeg(47, 33, "L", progressive=True)]
NAMES = [*FORMS, "grey", "progressive grey"]
WHOLE = pictures.jpeg(96, 64)
SUPERFLUOUS = WHOLE[:-2] + bytes(40) + WHOLE[-2:]
CMYK = pictures.jpeg(mode="CMYK")
# As many blocks as with 4:2:0, one above the other.
SUBSAMPLED = pictures.jpeg(32, 32).replace(b"\x03\x01\x22\x00", b"\x03\x01\x14\x00")
FAULTY = {
    "cut": pictures.truncated(WHOLE),
    "no end": WHOLE[:-2],
    "superfluous bytes": SUPERFLUOUS,
    "CMYK": CMYK,
    "4:4:1": SUBSAMPLED,
    "larger than its content": pictures.jpeg_claiming(60, 60),
    "nothing inside": b"\xff\xd8\xff",
    "empty": b"",
}


@pytest.fixture(scope="module")
def scenes():
    return [Image.open(file).convert("RGB") for file in sorted(SCENES.glob("*.jpg"))]


def varied_photo(scenes, number):
    """A crop of a photo in another size and quality."""
    chance = random.Random(number)
    scene = chance.choice(scenes)
    left, top = (chance.randrange(side // 2) for side in scene.size)
    part = scene.crop((left, top, left + scene.width // 2, top + scene.height // 2))
    part = part.resize((chance.randint(30, 900), chance.randint(30, 900)))
    return encoded(part, "JPEG", quality=chance.randint(60, 98), **chance.choice([*FORMS.values()]))


def same(image, other):
    return image.shape == other.shape and bool((image == other).all())


@pytest.mark.parametrize("number", range(50))
def test_varied_photos_have_exactly_the_pixels_that_opencv_reads(scenes, number):
    data = varied_photo(scenes, number)
    assert same(read_clean_jpeg(data), opencv.read_bgr(data))


@pytest.mark.parametrize("data", [pictures.jpeg(47, 33, **form) for form in FORMS.values()] + GREY, ids=NAMES)
def test_every_form_of_jpeg_has_exactly_the_pixels_that_opencv_reads(data):
    image = read_clean_jpeg(data)
    assert same(image, opencv.read_bgr(data))
    assert (image.dtype.name, image.shape, image.flags.c_contiguous) == ("uint8", (33, 47, 3), True)


@pytest.mark.parametrize("data", FAULTY.values(), ids=FAULTY)
def test_faulty_and_unusual_files_are_left_to_slower_decoders(data):
    assert read_clean_jpeg(data) is None


def test_a_file_that_claims_a_huge_picture_takes_no_memory():
    tracemalloc.start()
    try:
        assert read_clean_jpeg(pictures.jpeg_claiming(65_000, 4_000)) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [CMYK, SUBSAMPLED, SUPERFLUOUS])
def test_what_only_opencv_reads_is_decoded_as_it_does(data):
    assert same(decode(data), opencv.read_bgr(data))


def test_a_cut_photo_is_refused():
    with pytest.raises(DecodeError):
        decode(pictures.truncated(WHOLE))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_and_hostile_files_are_read_as_opencv_reads_them_or_not_at_all(seed):
    chance = random.Random(seed)
    seeds = [pictures.jpeg(**form) for form in FORMS.values()] + [hostile.make() for hostile in JPEGS]
    read = 0
    for _ in range(300):
        data = pictures.damaged(chance.choice(seeds), chance)
        image = read_clean_jpeg(data)
        if image is not None:
            read += 1
            assert same(image, opencv.read_bgr(data))
    assert read > 10


def test_half_of_a_jpeg_is_the_picture_at_half_its_size_and_the_whole_size(scenes):
    scene = scenes[0].resize((302, 202))
    half, size = read_half(encoded(scene, "JPEG", quality=95, subsampling=0), 151)
    assert (half.shape, size) == ((101, 151, 3), (202, 302))
    difference = ImageChops.difference(Image.fromarray(half[:, :, ::-1].copy()), scene.reduce(2))
    assert max(ImageStat.Stat(difference).mean) < 3


def test_half_of_an_odd_side_is_rounded_up():
    half, size = read_half(pictures.jpeg(301, 201), 151)
    assert (half.shape, size) == ((101, 151, 3), (201, 301))


@pytest.mark.parametrize("content", [pictures.jpeg(300, 200), *FAULTY.values()], ids=["small", *FAULTY])
def test_there_is_no_half_of_a_small_or_faulty_jpeg(content):
    assert read_half(content, 151) is None
