"""Validation, both decoders and stripping agree on the orientation, also for odd EXIF."""

from io import BytesIO

import pytest
from PIL import Image

from detections.images import pixels, stripping
from detections.images.validation import read_image
from detections.inference import decode
from testing.files import pictures
from testing.files.pictures import INTEGER_TYPES, orientation_entry, raw_exif, with_exifs

UPRIGHT, TURNED = (48, 32), (32, 48)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FORMS = ["JPEG", "PNG", "WEBP"]
SIX, ONE = (6,), (1,)
# Arguments of `orientation_entry` for the EXIFs of a file, and the size of the upright picture.
ODD = {
    **{f"type {kind}": ([[(6, kind)]], TURNED) for kind in INTEGER_TYPES},
    "two values": ([[(6, 3, 2)]], TURNED),
    "no value": ([[(6, 3, 0)]], UPRIGHT),
    "twice the same": ([[SIX, SIX]], TURNED),
    "first of two entries": ([[SIX, ONE]], TURNED),
    "second of two entries": ([[ONE, SIX]], UPRIGHT),
    "none and one": ([[(0,), SIX]], UPRIGHT),
    "out of range": ([[(9,)]], UPRIGHT),
    "negative": ([[(-6, 8)]], UPRIGHT),
    "text": ([[("6",)]], UPRIGHT),
    "first of two EXIFs": ([[SIX], [ONE]], TURNED),
    "second of two EXIFs": ([[ONE], [SIX]], UPRIGHT),
    "empty EXIF first": ([[], [SIX]], UPRIGHT),
}


def exif_of(*entries, order="<"):
    return raw_exif(*(orientation_entry(*entry, order=order) for entry in entries), order=order)


def assert_all_agree(data, size):
    """The validated size, the pixels of both decoders, and the original."""
    facts = read_image(BytesIO(data))
    height, width, _ = decode(data).shape
    original = original_of(data, facts.extension)
    assert (facts.width, facts.height) == size
    assert (width, height) == size
    assert pixels.upright(data).size == size
    given = read_image(BytesIO(original))
    assert (given.width, given.height) == size
    with Image.open(BytesIO(original)) as image:
        turned = image.getexif().get(274, 1) in {5, 6, 7, 8}
        assert (image.size if not turned else image.size[::-1]) == size


def original_of(data, extension):
    file = BytesIO(data)
    return stripping.content_of(file, stripping.without_metadata(file, extension))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ODD)
def test_all_readers_agree_on_odd_exif(name, form, order):
    exifs, size = ODD[name]
    assert_all_agree(with_exifs(*(exif_of(*entries, order=order) for entries in exifs), form=form), size)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", [name for name, (exifs, _) in ODD.items() if len(exifs) == 1])
def test_all_readers_agree_on_an_odd_tag_of_a_tiff(name, order):
    [entries], size = ODD[name]
    odd = [orientation_entry(*entry, order=order) for entry in entries]
    assert_all_agree(pictures.tiff_of(pictures.TIFF_TAGS, order=order, entries=odd), size)


def test_exif_after_the_pixels_of_a_png_is_applied():
    data = pictures.png()
    assert_all_agree(data[:-12] + pictures.png_chunk(b"eXIf", exif_of(SIX)) + data[-12:], TURNED)


def test_damaged_exif_does_not_turn_a_picture():
    for broken in (b"", b"II", b"II*\0\xff\xff\xff\xff", exif_of(SIX)[:20]):
        assert_all_agree(with_exifs(broken), UPRIGHT)
        assert_all_agree(with_exifs(broken, exif_of(SIX)), UPRIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_decoders_turn_a_jpeg_the_same_way(orientation):
    data = with_exifs(exif_of((orientation,)))
    stored = Image.fromarray(decode(pictures.jpeg())[:, :, ::-1])
    turn = TURNS.get(orientation)
    expected = stored if turn is None else stored.transpose(turn)
    decoded = decode(data)
    assert decoded.flags.c_contiguous
    assert Image.fromarray(decoded[:, :, ::-1]).tobytes() == expected.tobytes()
    assert near(pixels.upright(data), expected)


def near(one, other):
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    return max(abs(left - right) for left, right in pairs) < 8
