"""Pictures that Pillow refuses for their metadata or their layout."""

import random
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from PIL import Image

from detections.images import pixels, stripping
from detections.images.pixels import UnreadableImageError, upright
from detections.images.validation import read_image
from detections.inference.decoding import decode
from testing.files import pictures

UNTIDY = pictures.untidy()


def original(data):
    file = BytesIO(data)
    return stripping.content_of(file, stripping.without_metadata(file, read_image(file).extension))


def difference(image, expected):
    """The greatest of any channel of any pixel."""
    pairs = zip(image.tobytes(), expected.tobytes(), strict=True)
    return max(abs(one - other) for one, other in pairs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNTIDY)
def test_pillow_alone_would_refuse_it(name):
    with pytest.raises(pixels.PILLOW_FAILURES), Image.open(BytesIO(UNTIDY[name])) as image:
        image.load()


@pytest.mark.parametrize("name", UNTIDY)
def test_it_has_the_same_pixels_everywhere(name):
    data, expected = UNTIDY[name], pictures.picture()
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == expected.size
    tolerance = {"fields-of-six-bits.bmp": 3, "fields-of-three-bits.bmp": 19, "padded-with-fill-bytes.jpg": 3}
    assert difference(upright(data), expected) <= tolerance.get(name, 1)
    assert difference(Image.fromarray(decode(data)[:, :, ::-1]), expected) <= tolerance.get(name, 1)
    assert difference(upright(original(data)), expected) <= tolerance.get(name, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation):
    data = pictures.big_endian_big_tiff(t274=orientation)
    scene = pictures.picture()
    turn = pixels.TURNS.get(orientation)
    expected = scene.transpose(turn) if turn is not None else scene
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == expected.size
    assert difference(upright(data), expected) == 0
    with Image.open(BytesIO(original(data))) as image:
        assert difference(image, expected) == 0


def test_a_png_is_turned_and_transparent_as_with_whole_metadata():
    scene = pictures.picture(mode="RGBA")
    scene.paste((0, 0, 0, 0), (30, 0, 48, 10))
    whole = pictures.encoded(scene, "PNG", exif=pictures.exif(6))
    broken = whole[:33] + pictures.with_wrong_checksum(pictures.png_chunk(b"pHYs", bytes(9))) + whole[33:]
    assert upright(broken).size == (32, 48)
    assert upright(broken).tobytes() == upright(whole).tobytes()


def test_a_wrong_checksum_counts_for_colours_and_not_for_transparency():
    palette = pictures.picture().quantize(8)
    whole = pictures.encoded(palette, "PNG", transparency=palette.getpixel((5, 5)))

    def broken(kind):
        at = whole.index(kind)
        end = at + 4 + int.from_bytes(whole[at - 4 : at])
        return whole[:end] + bytes(4) + whole[end + 4 :]

    assert upright(whole).getpixel((5, 5)) == (255, 255, 255)
    assert upright(broken(b"tRNS")).getpixel((5, 5)) == palette.convert("RGB").getpixel((5, 5))
    with pytest.raises(UnreadableImageError):
        upright(broken(b"PLTE"))


def test_grey_multiplied_by_its_alpha_is_read():
    grey = Image.new("LA", (48, 32), (100, 255))
    data = pictures.encoded(grey, "TIFF").replace(
        b"\x52\x01\x03\0\x01\0\0\0\x02\0", b"\x52\x01\x03\0\x01\0\0\0\x01\0"
    )
    with Image.open(BytesIO(data)) as image:
        assert image.mode == "La"
    assert upright(data).getpixel((5, 5)) == (100, 100, 100)
    assert upright(original(data)).getpixel((5, 5)) == (100, 100, 100)


@pytest.mark.parametrize("said", [None, 0, 1_000_000])
@pytest.mark.parametrize("end", [b"\0\1", b"\0\0\0\1", b""])
def test_a_bmp_of_runs_is_read_whatever_their_length_is_said_to_be(said, end):
    data = pictures.bmp_of_runs(said, end)
    assert read_image(BytesIO(data)).height == 32
    assert [upright(data).getpixel((47, row))[0] for row in (0, 1, 31)] == [248, 240, 0]


def damaged_strips():
    """OpenCV would leave them black."""
    data = pictures.encoded(Image.effect_noise((200, 200), 90), "TIFF", compression="tiff_adobe_deflate")
    return data[:15_000] + bytes(2000) + data[17_000:]


@pytest.mark.parametrize(
    "data",
    [
        damaged_strips(),
        pictures.png()[:60] + bytes(20) + pictures.png()[80:],
        pictures.truncated(UNTIDY["large-text-behind.png"][:140]),
        pictures.truncated(UNTIDY["fields-of-ten-bits.bmp"]),
        pictures.truncated(UNTIDY["big-endian-big.tif"]),
        pictures.bmp_of_runs()[:-20],
        pictures.truncated(pictures.jpeg(200, 200)),
        pictures.truncated(pictures.jpeg(200, 200)) + b"\xff" * 1000,
        pictures.png_claiming(100_000, 100_000),
    ],
)
def test_damaged_pixels_and_bombs_stay_unreadable(data):
    with pytest.raises(UnreadableImageError):
        upright(data)


@pytest.mark.parametrize("name", UNTIDY)
def test_further_damage_is_decoded_in_the_validated_size_or_refused(name):
    chance = random.Random(name)
    for _ in range(60):
        hurt = pictures.damaged(UNTIDY[name], chance)
        try:
            facts = read_image(BytesIO(hurt))
            image = upright(hurt)
        except (ValidationError, UnreadableImageError):
            continue
        assert image.size == (facts.width, facts.height)
