"""TIFFs whose pixels lie in ways that decoders lose: by compression, strips, alpha or wide numbers."""

import struct
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from PIL import Image

from detections.images import pixels, stripping
from detections.images.pixels import UnreadableImageError
from detections.images.validation import read_image
from testing.files import pictures

TAGS = pictures.TIFF_TAGS
TILED = {name: value for name, value in TAGS.items() if name not in {273, 278, 279}}


def rewritten(data):
    file = BytesIO(data)
    return stripping.content_of(file, stripping.without_metadata(file, ".tiff"))


@pytest.mark.parametrize(
    ("compression", "named"),
    [
        (0, "0"),
        (12345, "12345"),
        (34712, "JPEG 2000, 34712"),
        (34892, "lossy JPEG, 34892"),
        (50002, "JPEG XL, 50002"),
        (65535, "65535"),
    ],
)
def test_a_compression_that_no_decoder_knows_is_refused_by_name(compression, named):
    data = pictures.tiff_of({**TAGS, 259: compression}, b"\xc8" * 4608)
    with pytest.raises(ValidationError) as caught:
        read_image(BytesIO(data))
    assert caught.value.code == "unsupported_format"
    assert caught.value.message == f"The TIFF file cannot be read: its compression ({named}) is not read."
    with pytest.raises(UnreadableImageError, match=r"its compression .* is not read") as caught:
        pixels.upright(data)
    assert f"({named})" in str(caught.value)


@pytest.mark.parametrize(("bits", "kind"), [(32, 1), (16, 3)])
def test_samples_that_no_decoder_knows_are_named(bits, kind):
    data = pictures.tiff_of({**TAGS, 258: bits, 339: kind}, bytes(48 * 32 * 3 * bits // 8))
    with pytest.raises(UnreadableImageError, match=r"its compression \(1\) or its depth is not read"):
        pixels.upright(data)


@pytest.mark.parametrize(
    "tags",
    [
        {**TAGS, 278: 16},
        {**TAGS, 278: 31},
        {**TAGS, 284: 2},  # three planes in one strip
        {**TILED, 322: 16, 323: 32, 324: 1000},
        {**TILED, 322: 48, 323: 16, 324: 1000},
        {**TILED, 322: 48, 323: 32, 324: 1000, 284: 2},
        {**TAGS, 278: 16, 259: 8},
    ],
    ids=["half", "all but one row", "planes", "tiles across", "tiles down", "planes of tiles", "deflated"],
)
def test_fewer_strips_or_tiles_than_the_size_needs_are_refused(tags):
    with pytest.raises(ValidationError, match="it has fewer strips or tiles than its size needs") as caught:
        read_image(BytesIO(pictures.tiff_of(tags)))
    assert caught.value.code == "corrupt_image"


@pytest.mark.parametrize("rows", [None, 32, 33, 2**32 - 1])
def test_one_strip_of_the_whole_picture_is_read(rows):
    tags = {name: value for name, value in TAGS.items() if name != 278}
    data = pictures.tiff_of(tags if rows is None else {**tags, 278: rows}, pictures.picture().tobytes())
    assert read_image(BytesIO(data)).height == 32
    assert pixels.upright(data).tobytes() == pictures.picture().tobytes()


def in_pieces(tag_of_offsets, tags, pieces):
    """Three pieces of the same length; the tag of their offsets points to byte 900."""
    data = bytearray(
        pictures.tiff_of(tags, b"".join(pieces), entries=[struct.pack("<HHII", tag_of_offsets, 4, 3, 900)])
    )
    data[900:912] = struct.pack("<3I", *(1000 + len(pieces[0]) * index for index in range(3)))
    return bytes(data)


def planes():
    tags = {name: value for name, value in TAGS.items() if name not in {273, 279}}
    bands = [band.tobytes() for band in pictures.picture().split()]
    return in_pieces(273, {**tags, 284: 2}, bands)


def tiles():
    parts = [pictures.picture().crop((left, 0, left + 16, 32)).tobytes() for left in (0, 16, 32)]
    return in_pieces(324, {**TILED, 322: 16, 323: 32}, parts)


@pytest.mark.parametrize("make", [planes, tiles])
def test_as_many_pieces_as_the_size_needs_are_read(make):
    assert read_image(BytesIO(make())).width == 48
    assert pixels.upright(make()).tobytes() == pictures.picture().tobytes()


@pytest.mark.parametrize("wide", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("compression", [1, 8])
def test_colours_count_where_all_alpha_is_zero_though_they_were_multiplied(wide, compression):
    rgba = pictures.picture().convert("RGBA")
    rgba.putalpha(0)
    data = pictures.tiff_with_multiplied_alpha(rgba, wide=wide, compression=compression)
    assert read_image(BytesIO(data)).width == 48
    assert pixels.upright(data).tobytes() == pictures.picture().tobytes()
    assert pixels.upright(rewritten(data)).tobytes() == pictures.picture().tobytes()


def test_multiplied_alpha_that_is_seen_stays_as_it_is():
    rgba = Image.new("RGBA", (48, 32), (100, 50, 20, 128))  # of (199, 100, 40), half seen
    rgba.paste((0, 0, 0, 0), (0, 0, 10, 10))
    image = pixels.upright(pictures.tiff_with_multiplied_alpha(rgba))
    assert image.getpixel((5, 5)) == (255, 255, 255)
    assert image.getpixel((20, 20)) == pytest.approx((227, 177, 147), abs=1)


def test_alpha_is_looked_at_everywhere_in_a_picture_to_be_turned():
    rgba = Image.new("RGBA", (48, 32), (200, 100, 40, 0))
    rgba.paste((200, 100, 40, 255), (40, 0, 48, 32))
    image = pixels.upright(pictures.tiff_with_multiplied_alpha(rgba, t274=6))
    assert (image.size, image.getpixel((5, 45)), image.getpixel((5, 5))) == (
        (32, 48),
        (200, 100, 40),
        (255, 255, 255),
    )


def grey(values, sample_format=1, **tags):
    tags = {
        **TAGS,
        **{int(name[1:]): value for name, value in tags.items()},
        256: len(values),
        257: 1,
        258: 32,
        262: 1,
        277: 1,
        278: 1,
        279: 4 * len(values),
    }
    tags[339] = sample_format
    return pictures.tiff_of(tags, struct.pack(f"<{len(values)}{'I' if sample_format == 1 else 'i'}", *values))


def test_wide_greys_are_turned():
    image = pixels.upright(grey([0, 2**31, 2**32 - 1], t274=6))
    assert (image.size, [image.getpixel((0, row))[0] for row in range(3)]) == ((1, 3), [0, 128, 255])


@pytest.mark.parametrize(
    ("values", "sample_format", "shown"),
    [
        ([0, 2**31 - 1, 2**31, 2**32 - 1], 1, [0, 127, 128, 255]),
        ([0, 1 << 30, 2**31 - 1], 1, [0, 128, 255]),
        ([0, 100, 255], 1, [0, 100, 255]),
        ([-(2**31), 0, 2**31 - 1], 2, [0, 128, 255]),
    ],
)
def test_wide_greys_keep_their_order(values, sample_format, shown):
    data = grey(values, sample_format)
    for image in (pixels.upright(data), pixels.upright(rewritten(data))):
        assert list(image.getchannel("G").tobytes()) == pytest.approx(shown, abs=1)
