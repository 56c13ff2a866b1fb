"""Which picture of a TIFF is read, which are camera raw, and what they may leave out."""

import struct
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from PIL import Image

from detections.images import pixels, stripping
from detections.images.formats import tiff
from detections.images.formats.containers import Source
from detections.images.validation import read_image
from testing.files import pictures

CODED = 32803  # a sensor's colours


def page(width, height, **tags):
    """As `pictures.tiff_pages` takes them: `t254=1` is tag 254."""
    return {256: width, 257: height, **{int(name[1:]): value for name, value in tags.items()}}


def reduced(width=12, height=8, **tags):
    return page(width, height, t254=1, **tags)


def original(data):
    file = BytesIO(data)
    return stripping.content_of(file, stripping.without_metadata(file, ".tiff"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("pages", "grey"),
    [
        ([page(48, 32)], 10),
        ([page(48, 32), page(90, 60)], 10),  # a document: its first page
        ([page(48, 32), reduced(24, 16), reduced()], 10),
        ([page(48, 32), [reduced(24, 16), reduced()]], 10),
        ([reduced(), page(48, 32)], 20),
        ([reduced(), reduced(24, 16), page(48, 32, t254=0), page(60, 40)], 30),
        ([reduced(), [page(48, 32, t254=0)]], 20),
        ([reduced(), [reduced(24, 16), page(48, 32), page(6, 4)]], 30),
        ([page(12, 8), [page(48, 32)]], 20),  # inside of another: the same picture, larger
        ([page(12, 8, t255=2), page(48, 32, t255=1)], 20),
        ([page(48, 32, t254=4), page(48, 32, t254=2)], 20),  # a mask comes first
        ([reduced(), reduced(48, 32)], 20),
    ],
)
def test_the_main_picture_is_read_everywhere(pages, grey, order):
    from detections.inference.decoding import decode

    data = pictures.tiff_pages(*pages, order=order)
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == (48, 32)
    assert pixels.most_bytes(data) == 48 * 32 * 16
    for upright in (pixels.upright(data), pixels.upright(original(data))):
        assert (upright.size, upright.getpixel((40, 30))) == ((48, 32), (grey,) * 3)
    assert (decode(data).shape, decode(data)[30, 40].tolist()) == ((32, 48, 3), [grey] * 3)


def test_the_main_picture_of_a_big_tiff_is_read():
    data = pictures.big_tiff()
    thumbnail = bytearray(pictures.big_tiff(12, 8)[16:])
    thumbnail[8 + 4 : 8 + 20] = struct.pack("<HQIH", 16, 1, 12, 0)
    first = struct.pack("<HHQQ", 254, 4, 1, 1)
    count = struct.unpack("<Q", data[16:24])[0]
    entries = data[24 : 24 + 20 * count]
    small = (
        struct.pack("<Q", count + 1)
        + first
        + entries.replace(struct.pack("<HHQQ", 256, 16, 1, 48), struct.pack("<HHQQ", 256, 16, 1, 12))
    )
    head = data[:8] + struct.pack("<Q", len(data))
    whole = head + data[16:] + small + struct.pack("<Q", 16)
    assert read_image(BytesIO(whole)).width == 48
    assert pixels.upright(whole).size == (48, 32)


@pytest.mark.parametrize(
    ("turned", "size"),
    [
        ([reduced(t274=6), [page(48, 32)]], (32, 48)),
        ([reduced(t274=6), [page(48, 32, t274=1)]], (48, 32)),
        ([reduced(), [page(48, 32, t274=8)]], (32, 48)),
        ([page(48, 32, t274=6), reduced(t274=1)], (32, 48)),
    ],
)
def test_a_main_picture_is_turned_by_its_own_orientation_or_its_thumbnails(turned, size):
    data = pictures.tiff_pages(*turned)
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == size
    assert pixels.upright(data).size == size
    assert pixels.upright(original(data)).size == size


@pytest.mark.parametrize(
    ("pages", "signature", "named"),
    [
        ([reduced(t271=b"NIKON CORPORATION\0"), [page(90, 60, t262=CODED)]], b"", "camera raw (Nikon)"),
        ([reduced(t271=b"SONY\0"), [reduced(), page(90, 60, t33421=[2, 2])]], b"", "camera raw (Sony)"),
        ([page(90, 60, t262=CODED, t271=b"PENTAX Corporation\0")], b"", "camera raw (Pentax)"),
        ([reduced(t271=b"RICOH IMAGING CO.\0"), page(90, 60, t262=CODED)], b"", "camera raw (Ricoh)"),
        ([reduced(t50706=0x0401, t271=b"Apple\0"), [page(90, 60, t262=34892)]], b"", "camera raw (DNG)"),
        ([page(90, 60), page(9, 6)], b"CR\2\0", "camera raw (Canon)"),
        ([page(9, 6, t271=b"Leaf\0")], b"IIIICwaR", "camera raw (Phase One)"),
        ([reduced(t271=b"Own make\0"), [page(90, 60, t262=CODED)]], b"", "camera raw"),
        ([reduced(), [page(90, 60, t262=CODED)]], b"", "camera raw"),
    ],
)  # fmt: skip  # a list to read at a glance
def test_camera_raw_is_refused_by_its_makers_name(pages, signature, named):
    data = pictures.tiff_pages(*pages, signature=signature)
    with pytest.raises(ValidationError) as caught:
        read_image(BytesIO(data))
    assert caught.value.code == "unsupported_format"
    assert caught.value.message == (
        f"The file is of an unsupported kind, {named}: send JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF."
    )


def test_a_scan_by_a_camera_maker_is_no_camera_raw():
    assert read_image(BytesIO(pictures.tiff_pages(page(48, 32, t271=b"Nikon\0")))).width == 48


def without(tags, *names):
    return {name: value for name, value in tags.items() if name not in names}


def compressed(*names):
    """A TIFF of one deflated strip, without these tags."""
    data = bytearray(pictures.tiff(compression="tiff_adobe_deflate"))
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    entries = [bytes(data[start + 2 + 12 * at :][:12]) for at in range(count)]
    kept = [entry for entry in entries if struct.unpack("<H", entry[:2])[0] not in names]
    head = data[:4] + struct.pack("<I", len(data))
    return bytes(head + data[8:]) + struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)


@pytest.mark.parametrize(
    "data",
    [
        pictures.tiff_of(without(pictures.TIFF_TAGS, 279)),
        pictures.tiff_of(without(pictures.TIFF_TAGS, 278, 279)),
        pictures.tiff_of({**pictures.TIFF_TAGS, 279: 35_711_440}),
        pictures.tiff_of({**pictures.TIFF_TAGS, 279: 0}),
        pictures.tiff_of({**without(pictures.TIFF_TAGS, 273, 278, 279), 322: 48, 323: 32, 324: 1000}),
        compressed(279),
        pictures.tiff_pages(page(48, 32, t273=[1400, 2168], t278=16, t279=[768, 768, 9])),
        pictures.tiff_pages(page(48, 32, t273=[1400, 2168], t278=16, t279=768)),
    ],
    ids=["uncompressed", "one strip", "too long", "zero", "tile", "compressed", "too many", "too few"],
)
def test_lengths_of_strips_need_not_be_said(data):
    assert read_image(BytesIO(data)).width == 48
    assert pixels.upright(data).size == (48, 32)
    assert read_image(BytesIO(original(data))).width == 48


@pytest.mark.parametrize(
    "tags",
    [
        without(pictures.TIFF_TAGS, 279),
        {**pictures.TIFF_TAGS, 279: 35_711_440},
        {**without(pictures.TIFF_TAGS, 273, 278, 279), 322: 48, 323: 32, 324: 1000},
        {**without(pictures.TIFF_TAGS, 279), 284: 2, 273: 1000, 277: 1},
    ],
)
def test_a_tiff_cut_short_is_refused_without_lengths_too(tags):
    size = 48 * 32 * tags[277]
    read_image(BytesIO(pictures.tiff_of(tags, bytes(size))))
    for missing in (1, 1000):
        with pytest.raises(ValidationError, match="it ends too early"):
            read_image(BytesIO(pictures.tiff_of(tags, bytes(size - missing))))


def read(data):
    return tiff.read_tiff(Source(BytesIO(data), 0, len(data)))


def test_directories_that_hold_each_other_are_looked_at_once():
    data = bytearray(pictures.tiff_pages(page(48, 32), [reduced()]))
    first, inside = struct.pack("<I", 1000), struct.pack("<I", 1400)
    assert [[each.offset for each in group] for group in read(data).pages] == [[1000, 1400]]
    data = bytes(data).replace(
        struct.pack("<HHI", 330, 4, 1) + inside, struct.pack("<HHI", 330, 4, 1) + first
    )
    assert [[each.offset for each in group] for group in read(data).pages] == [[1000]]


def test_a_document_of_many_pages_is_looked_at_in_part():
    data = pictures.tiff_pages(*[page(4, 4) for _ in range(100)])
    assert len(read(data).pages) == 64
    assert read_image(BytesIO(data)).width == 4


def test_a_broken_directory_behind_the_first_is_no_reason_to_refuse():
    data = pictures.tiff_pages(page(48, 32))
    end = data.index(struct.pack("<HHI", 279, 4, 1)) + 12
    for following in (b"\xff\xff\xff\xff", struct.pack("<I", len(data) - 1)):
        broken = data[:end] + following + data[end + 4 :]
        assert read_image(BytesIO(broken)).width == 48
        assert pixels.upright(broken).size == (48, 32)


def test_a_tiff_that_begins_with_its_main_picture_is_not_copied():
    file = BytesIO(pictures.tiff_pages(page(48, 32), reduced()))
    assert tiff.with_main_first(file) is file
    with Image.open(tiff.with_main_first(BytesIO(pictures.tiff_pages(reduced(), page(48, 32))))) as image:
        assert image.size == (48, 32)
