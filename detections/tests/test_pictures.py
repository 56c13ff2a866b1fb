import random
import threading
import time
from io import BytesIO
from itertools import pairwise

import pytest
from django.core.exceptions import ValidationError
from PIL import Image, ImageChops, ImageStat

from detections.pictures import Label, UnreadableImage, annotate, colour, jpeg, upright
from detections.tests import images
from detections.tests.test_validators import damaged
from detections.validators import read_image

RED, GREEN, BLUE = (200, 30, 30), (20, 180, 40), (20, 40, 220)


def near(pixel, expected, tolerance=12):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, expected, strict=True))


def label(x=0.25, y=0.25, width=0.5, height=0.5, name="person", class_id=0, confidence=0.93):
    return Label(name, class_id, confidence, x, y, width, height)


def crowd(count, seed=1):
    chance = random.Random(seed)
    return [
        label(
            chance.random() * 0.9,
            chance.random() * 0.9,
            0.02 + chance.random() * 0.2,
            0.02 + chance.random() * 0.2,
            chance.choice(("person", "traffic light", "dog")),
            chance.randrange(80),
            chance.random(),
        )
        for _ in range(count)
    ]


def changed(image, before):
    """The box around everything that was drawn."""
    return ImageChops.difference(image, before).getbbox()


def contrast(one, other):
    """WCAG 2's, 1 to 21."""

    def luminance(pixel):
        linear = [
            channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
            for channel in (value / 255 for value in pixel)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


# Decoding


@pytest.mark.parametrize("name", images.good())
def test_every_good_upload_becomes_rgb_of_the_size_that_the_validators_said(name):
    data, _ = images.good()[name]
    facts = read_image(BytesIO(data))
    image = upright(data)
    assert (image.mode, image.size, image.info) == ("RGB", (facts.width, facts.height), {})


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(form, orientation):
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the inverse of what the reader has to do
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    scene = images.picture(48, 32)
    sideways = scene if stored is None else scene.transpose(stored)
    options = {"exif": images.exif(orientation)} | ({"quality": 95} if form in {"JPEG", "WEBP"} else {})
    image = upright(images.encoded(sideways, form, **options))
    assert image.size == (48, 32)
    assert near(image.getpixel((5, 5)), GREEN, 25)
    assert near(image.getpixel((5, 26)), RED, 25)
    assert near(image.getpixel((38, 5)), RED, 25)


def test_orientation_in_xmp_is_not_applied():
    """The validators and OpenCV go by EXIF alone; boxes of a picture turned otherwise would lie elsewhere."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for data in (images.jpeg(xmp=xmp), images.webp(xmp=xmp), images.tiff(tiffinfo={700: xmp})):
        assert upright(data).size == (48, 32)


@pytest.mark.parametrize("raw", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX*\0\x08\0\0\0"])
def test_nonsense_in_exif_is_passed_over(raw):
    assert upright(images.jpeg(exif=raw)).size == (48, 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode):
    source = images.picture(48, 32).convert("RGBA")
    source.putalpha(0)
    source.paste((*GREEN, 255), (0, 0, 24, 16))
    form = "TIFF" if mode == "PA" else "PNG"
    image = upright(images.encoded(source.convert(mode), form))
    assert image.getpixel((40, 30)) == (255, 255, 255)
    assert image.getpixel((5, 5)) != (255, 255, 255)


def test_half_transparent_is_mixed_with_white():
    image = upright(images.encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert near(image.getpixel((1, 1)), (127, 127, 127), 1)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_becomes_white(form):
    source = images.picture(48, 32).quantize(8)
    data = images.encoded(source, form, transparency=source.getpixel((5, 5)))
    image = upright(data)
    assert image.getpixel((5, 5)) == (255, 255, 255)
    assert near(image.getpixel((5, 26)), RED, 20)


@pytest.mark.parametrize(
    ("mode", "transparency", "hidden", "shown"),
    [("L", 7, 7, 200), ("RGB", (1, 2, 3), (1, 2, 3), (200, 30, 30)), ("1", 0, 0, 1)],
)
def test_a_png_with_one_transparent_colour_becomes_white_there(mode, transparency, hidden, shown):
    source = Image.new(mode, (8, 8), shown)
    source.paste(hidden, (0, 0, 4, 8))
    image = upright(images.encoded(source, "PNG", transparency=transparency))
    assert image.getpixel((1, 1)) == (255, 255, 255)
    assert near(image.getpixel((6, 6)), {"L": (200, 200, 200), "1": (255, 255, 255)}.get(mode, RED), 1)


@pytest.mark.parametrize(("value", "seen"), [(0, 0), (300, 1), (32_768, 128), (65_535, 255)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_scale(form, value, seen):
    image = upright(images.encoded(Image.new("I;16", (4, 4), value), form))
    assert image.getpixel((1, 1)) == pytest.approx((seen,) * 3, abs=1)


def test_sixteen_bits_in_the_other_byte_order_look_the_same():
    image = upright(images.encoded(Image.new("I;16B", (4, 4), 32_768), "TIFF"))
    assert image.getpixel((1, 1)) == pytest.approx((128,) * 3, abs=1)


@pytest.mark.parametrize(
    ("mode", "values", "seen"),
    [
        ("F", (0.0, 0.5, 1.0), (0, 127, 255)),
        ("F", (0.0, 100.0, 255.0), (0, 100, 255)),
        ("F", (-10.0, 0.0, 10.0), (0, 127, 255)),
        ("F", (3000.0, 3000.0, 3000.0), (11, 11, 11)),
        ("I", (0, 100, 255), (0, 100, 255)),
        ("I", (0, 32_768, 65_535), (0, 127, 255)),
        ("I", (0, 1 << 20, 1 << 21), (0, 127, 255)),
        ("I", (1 << 20, 1 << 20, 1 << 20), (0, 0, 0)),
    ],
)
def test_wide_numbers_are_scaled_to_what_can_be_seen(mode, values, seen):
    source = Image.new(mode, (3, 1))
    source.putdata(values)
    image = upright(images.encoded(source, "TIFF"))
    assert [image.getpixel((at, 0))[0] for at in range(3)] == pytest.approx(list(seen), abs=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_unreadable(value):
    with pytest.raises(UnreadableImage, match="not numbers"):
        upright(images.encoded(Image.new("F", (4, 4), value), "TIFF"))


def test_cmyk_comes_out_in_its_colours():
    image = upright(images.encoded(images.picture().convert("CMYK"), "JPEG", quality=95))
    assert near(image.getpixel((40, 26)), RED, 25)


def test_only_the_first_frame_counts():
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        assert near(upright(images.animated(form, lossless=True)).getpixel((10, 10)), (0, 0, 100), 8)


def test_a_file_is_read_from_its_beginning_and_left_open():
    file = BytesIO(images.mpo())
    file.seek(0, 2)
    assert upright(file).size == (48, 32)
    assert not file.closed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        images.SVG,
        images.EPS,
        images.PDF,
        images.PSD,
        images.truncated(images.jpeg()),
        images.truncated(images.png()),
        images.truncated(images.webp()),
        images.truncated(images.gif(), 0.9),
        images.truncated(images.tiff()),
        images.truncated(images.tiff_of(images.TIFF_TAGS)),
        images.truncated(images.bmp()),
        images.png_claiming(100_000, 100_000),
    ],
)
def test_what_cannot_be_decoded_says_why(data):
    with pytest.raises(UnreadableImage, match=r"^The picture cannot be decoded: [^<>]+[^.]\.$"):
        upright(data)


@pytest.mark.parametrize("name", images.good())
def test_whatever_damage_the_validators_let_through_is_decoded_or_refused(name):
    """And where it is decoded, it has the size that they said."""
    data, _ = images.good()[name]
    chance = random.Random(name)
    for _ in range(60):
        hurt = damaged(data, chance)
        try:
            facts = read_image(BytesIO(hurt))
            image = upright(hurt)
        except (ValidationError, UnreadableImage):
            continue
        assert (image.mode, image.size) == ("RGB", (facts.width, facts.height))


def test_what_pillow_warns_of_reaches_nobody():
    """Warnings are errors here."""
    assert upright(images.mpo().replace(b"MPF\0II", b"MPF\0XX")).size == (48, 32)


def test_threads_do_not_disturb_each_other():
    odd = images.jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    failures = []

    def work():
        try:
            for _ in range(30):
                image = annotate(upright(odd), [label()])
                assert len(jpeg(image)) > 100
        except Exception as error:  # noqa: BLE001  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Encoding


def test_the_jpeg_carries_no_metadata():
    source = images.jpeg(
        exif=images.exif(6), comment=b"taken at home", icc_profile=b"profile" * 50, dpi=(300, 300)
    )
    data = jpeg(upright(source))
    with Image.open(BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.size == (32, 48)
    assert b"taken at home" not in data
    assert b"Exif" not in data


def test_the_jpeg_of_a_picture_opened_elsewhere_carries_none_either():
    with Image.open(BytesIO(images.jpeg(exif=images.exif(6), comment=b"taken at home"))) as image:
        data = jpeg(image)
    assert b"taken at home" not in data
    assert b"Exif" not in data


def test_a_picture_too_long_for_jpeg_is_made_smaller():
    with Image.open(BytesIO(jpeg(Image.new("RGB", (70_000, 20))))) as image:
        assert (image.width, image.height) == (65_500, 19)


# Colours


def test_a_class_keeps_its_colour_and_neighbours_differ():
    colours = [colour(class_id) for class_id in range(80)]
    assert colours == [colour(class_id) for class_id in range(80)]
    assert len(set(colours)) == 80
    for one, other in pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150


@pytest.mark.parametrize("class_id", [-1, 0, 10**9])
def test_any_class_has_a_saturated_colour(class_id):
    assert max(colour(class_id)) - min(colour(class_id)) > 150


# Annotation


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (128, 128, 128), colour(0), colour(3)])
@pytest.mark.parametrize("class_id", range(6))
def test_a_box_shows_on_any_background(background, class_id):
    image = annotate(Image.new("RGB", (640, 480), background), [label(class_id=class_id)])
    across_the_left_side = [image.getpixel((x, 300)) for x in range(150, 175)]
    assert colour(class_id) in across_the_left_side
    assert max(contrast(pixel, background) for pixel in across_the_left_side) > 4


def test_a_box_lies_where_it_should():
    before = Image.new("RGB", (640, 480), "white")
    image = annotate(before.copy(), [label()])
    assert image.getpixel((160, 240)) == colour(0)
    assert image.getpixel((479, 240)) == colour(0)
    assert image.getpixel((320, 359)) == colour(0)
    left, _, right, bottom = changed(image, before)
    assert (left, right, bottom) == (159, 481, 361)


def test_the_text_stands_out_from_its_plate():
    for class_id in range(80):
        image = annotate(Image.new("RGB", (640, 480), "grey"), [label(class_id=class_id)])
        plate = image.crop((162, 102, 250, 118))
        plate_colour, ink = colour(class_id), (0, 0, 0)
        if contrast(plate_colour, (255, 255, 255)) > contrast(plate_colour, ink):
            ink = (255, 255, 255)
        found = {pixel for _, pixel in plate.getcolors(10_000)}
        assert plate_colour in found
        assert ink in found
        assert contrast(plate_colour, ink) >= 4.5


def test_a_label_goes_above_its_box_or_inside_where_there_is_no_room():
    white = Image.new("RGB", (640, 480), "white")
    above = changed(annotate(white.copy(), [label()]), white)
    inside = changed(annotate(white.copy(), [label(y=0.0)]), white)
    assert above[1] < 0.25 * 480 - 10
    assert inside[1] == 0


def test_labels_of_equal_boxes_do_not_cover_each_other():
    white = Image.new("RGB", (640, 480), "white")
    names = ["person", "dog", "cat", "horse"]
    image = annotate(
        white, [label(name=name, class_id=at, confidence=at / 10) for at, name in enumerate(names)]
    )
    alone = [
        annotate(Image.new("RGB", (640, 480), "white"), [label(name=name, class_id=at)])
        for at, name in enumerate(names)
    ]
    for at in range(4):
        plate = sum(count for count, pixel in image.getcolors(1 << 20) if pixel == colour(at))
        without = sum(count for count, pixel in alone[at].getcolors(1 << 20) if pixel == colour(at))
        assert plate > 0.2 * without


def test_the_most_confident_is_on_top_whatever_the_order():
    for order in (1, -1):
        labels = [label(class_id=0, confidence=0.9), label(class_id=3, confidence=0.4)][::order]
        image = annotate(Image.new("RGB", (640, 480), "white"), labels)
        assert image.getpixel((160, 240)) == colour(0)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (40, 30), (3000, 20), (20, 3000), (640, 480)])
def test_no_picture_is_too_small_or_too_odd(size):
    assert annotate(Image.new("RGB", size, "grey"), crowd(20)).size == size


@pytest.mark.parametrize(
    "odd",
    [
        label(0, 0, 0, 0),
        label(1, 1, 0, 0),
        label(0.999, 0.999, 0.001, 0.001),
        label(-0.5, -0.5, 2, 2),
        label(0.5, 0.5, 0.0001, 0.9),
        label(1.5, 1.5, 0.1, 0.1),
    ],
)
def test_no_box_is_too_odd(odd):
    annotate(Image.new("RGB", (640, 480), "grey"), [odd])


@pytest.mark.parametrize(
    "name",
    ["", " ", "a\nb\tc\0", "人", "café", "مرحبا", "👍🏽", "x" * 10_000, "\u202eevil", "{0}%s", "W" * 24],
)
def test_any_class_name_can_be_drawn(name):
    before = Image.new("RGB", (640, 480), "white")
    image = annotate(before.copy(), [label(x=0.8, width=0.2, name=name)])
    left, top, right, _ = changed(image, before)
    assert left >= 0
    assert right <= 640
    assert top < 110  # a label is there


def test_a_name_in_another_script_becomes_the_number_of_its_class():
    one, other = (
        annotate(Image.new("RGB", (640, 480), "white"), [label(name=name, class_id=7)])
        for name in ("人", "#7")
    )
    assert one.tobytes() == other.tobytes()


def test_strokes_and_letters_grow_with_the_picture():
    def plate_height(width, height):
        before = Image.new("RGB", (width, height), "white")
        return height * 0.25 - changed(annotate(before.copy(), [label()]), before)[1]

    assert 10 < plate_height(320, 240) < plate_height(1600, 1200) / 2 < plate_height(6400, 4800) / 4


def test_it_is_drawn_on_the_picture_itself_since_a_copy_may_take_200_megabytes():
    image = images.picture()
    assert annotate(image, crowd(3)) is image


def test_nothing_to_draw_leaves_the_picture_as_it_is():
    image = images.picture()
    assert annotate(image, []) is image
    assert ImageStat.Stat(ImageChops.difference(image, images.picture())).sum == [0, 0, 0]


def test_three_hundred_boxes_on_two_megapixels_take_less_than_a_second():
    image = Image.new("RGB", (1600, 1250), "grey")
    started = time.thread_time()
    annotate(image, crowd(300))
    assert time.thread_time() - started < 1
