import random
import threading
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from PIL import Image

from detections.images.annotation import annotate
from detections.images.boxes import Box
from detections.images.pixels import UnreadableImageError, jpeg, upright
from detections.images.validation import read_image
from detections.inference import decode
from testing.files import pictures

RED, GREEN, BLUE = (200, 30, 30), (20, 180, 40), (20, 40, 220)


def near(pixel, expected, tolerance=12):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, expected, strict=True))


# Decoding


@pytest.mark.parametrize("name", pictures.good())
def test_every_valid_upload_decodes_to_rgb_of_its_validated_size(name):
    data, _ = pictures.good()[name]
    facts = read_image(BytesIO(data))
    image = upright(data)
    assert (image.mode, image.size, image.info) == ("RGB", (facts.width, facts.height), {})


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(form, orientation):
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
    scene = pictures.picture(48, 32)
    sideways = scene if stored is None else scene.transpose(stored)
    options = {"exif": pictures.exif(orientation)} | ({"quality": 95} if form in {"JPEG", "WEBP"} else {})
    image = upright(pictures.encoded(sideways, form, **options))
    assert image.size == (48, 32)
    assert near(image.getpixel((5, 5)), GREEN, 25)
    assert near(image.getpixel((5, 26)), RED, 25)
    assert near(image.getpixel((38, 5)), RED, 25)


def test_orientation_in_xmp_is_ignored():
    """The validators and OpenCV go by EXIF alone; boxes of a picture turned otherwise would lie elsewhere."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for data in (pictures.jpeg(xmp=xmp), pictures.webp(xmp=xmp), pictures.tiff(tiffinfo={700: xmp})):
        assert upright(data).size == (48, 32)


@pytest.mark.parametrize("raw", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX*\0\x08\0\0\0"])
def test_malformed_exif_is_ignored(raw):
    assert upright(pictures.jpeg(exif=raw)).size == (48, 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_become_white(mode):
    source = pictures.picture(48, 32).convert("RGBA")
    source.putalpha(0)
    source.paste((*GREEN, 255), (0, 0, 24, 16))
    form = "TIFF" if mode == "PA" else "PNG"
    image = upright(pictures.encoded(source.convert(mode), form))
    assert image.getpixel((40, 30)) == (255, 255, 255)
    assert image.getpixel((5, 5)) != (255, 255, 255)


def test_half_transparent_pixels_are_blended_with_white():
    image = upright(pictures.encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert near(image.getpixel((1, 1)), (127, 127, 127), 1)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_becomes_white(form):
    source = pictures.picture(48, 32).quantize(8)
    data = pictures.encoded(source, form, transparency=source.getpixel((5, 5)))
    image = upright(data)
    assert image.getpixel((5, 5)) == (255, 255, 255)
    assert near(image.getpixel((5, 26)), RED, 20)


@pytest.mark.parametrize(
    ("mode", "transparency", "hidden", "shown"),
    [("L", 7, 7, 200), ("RGB", (1, 2, 3), (1, 2, 3), (200, 30, 30)), ("1", 0, 0, 1)],
)
def test_the_transparent_colour_of_a_png_becomes_white(mode, transparency, hidden, shown):
    source = Image.new(mode, (8, 8), shown)
    source.paste(hidden, (0, 0, 4, 8))
    image = upright(pictures.encoded(source, "PNG", transparency=transparency))
    assert image.getpixel((1, 1)) == (255, 255, 255)
    assert near(image.getpixel((6, 6)), {"L": (200, 200, 200), "1": (255, 255, 255)}.get(mode, RED), 1)


def with_alpha(alpha, mode, form, **options):
    source = pictures.picture().convert("RGBA")
    source.putalpha(alpha)
    return pictures.encoded(source.convert(mode), form, **options)


ALPHA = {
    "photo.bmp": pictures.bmp_with_alpha,
    "photo.png": lambda alpha: with_alpha(alpha, "RGBA", "PNG"),
    "lossless.webp": lambda alpha: with_alpha(alpha, "RGBA", "WEBP", lossless=True, exact=True),
    "photo.tif": lambda alpha: with_alpha(alpha, "RGBA", "TIFF"),
    "packed.tif": lambda alpha: with_alpha(alpha, "RGBA", "TIFF", compression="tiff_lzw"),
    "palette.png": lambda alpha: pictures.encoded(
        pictures.picture().quantize(4), "PNG", transparency=bytes([alpha] * 4)
    ),
}


@pytest.mark.parametrize("alpha", [0, 255])
@pytest.mark.parametrize("name", ALPHA)
def test_an_alpha_channel_of_only_zeros_is_ignored(name, alpha):
    data = ALPHA[name](alpha)
    image = upright(data)
    assert [image.getpixel(at) for at in ((5, 5), (5, 26), (47, 30))] == [GREEN, RED, BLUE]
    assert decode(data)[5, 5].tolist() == list(reversed(GREEN))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_an_alpha_channel_of_only_zeros_is_ignored_in_grey_pictures(form):
    hidden, shown = (upright(with_alpha(alpha, "LA", form)) for alpha in (0, 255))
    assert hidden.tobytes() == shown.tobytes()


def test_an_alpha_channel_with_one_visible_pixel_is_applied():
    alpha = Image.new("L", (48, 32), 0)
    alpha.putpixel((47, 31), 1)
    for data in (with_alpha(alpha, "RGBA", "PNG"), pictures.bmp_with_alpha(alpha)):
        assert upright(data).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(("value", "seen"), [(0, 0), (300, 1), (32_768, 128), (65_535, 255)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_pixels_are_scaled_to_eight_bits(form, value, seen):
    image = upright(pictures.encoded(Image.new("I;16", (4, 4), value), form))
    assert image.getpixel((1, 1)) == pytest.approx((seen,) * 3, abs=1)


def test_big_endian_sixteen_bit_pixels_are_scaled_too():
    image = upright(pictures.encoded(Image.new("I;16B", (4, 4), 32_768), "TIFF"))
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
def test_float_and_integer_pixels_are_scaled_to_eight_bits(mode, values, seen):
    source = Image.new(mode, (3, 1))
    source.putdata(values)
    image = upright(pictures.encoded(source, "TIFF"))
    assert [image.getpixel((at, 0))[0] for at in range(3)] == pytest.approx(list(seen), abs=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_pixels_are_refused(value):
    with pytest.raises(UnreadableImageError, match="not numbers"):
        upright(pictures.encoded(Image.new("F", (4, 4), value), "TIFF"))


def test_cmyk_pictures_keep_their_colours():
    image = upright(pictures.encoded(pictures.picture().convert("CMYK"), "JPEG", quality=95))
    assert near(image.getpixel((40, 26)), RED, 25)


def test_only_the_first_frame_of_an_animation_is_decoded():
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        assert near(upright(pictures.animated(form, lossless=True)).getpixel((10, 10)), (0, 0, 100), 8)


def test_a_file_is_read_from_its_beginning_and_left_open():
    file = BytesIO(pictures.mpo())
    file.seek(0, 2)
    assert upright(file).size == (48, 32)
    assert not file.closed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pictures.SVG,
        pictures.EPS,
        pictures.PDF,
        pictures.PSD,
        pictures.truncated(pictures.jpeg()),
        pictures.truncated(pictures.png()),
        pictures.truncated(pictures.webp()),
        pictures.truncated(pictures.gif(), 0.9),
        pictures.truncated(pictures.tiff()),
        pictures.truncated(pictures.tiff_of(pictures.TIFF_TAGS)),
        pictures.truncated(pictures.bmp()),
        pictures.png_claiming(100_000, 100_000),
    ],
)
def test_an_undecodable_picture_is_refused_with_a_reason(data):
    with pytest.raises(UnreadableImageError, match=r"^The picture cannot be decoded: [^<>]+[^.]\.$"):
        upright(data)


@pytest.mark.parametrize("name", pictures.good())
def test_damaged_pictures_are_refused_or_decoded_at_their_validated_size(name):
    data, _ = pictures.good()[name]
    chance = random.Random(name)
    for _ in range(60):
        hurt = pictures.damaged(data, chance)
        try:
            facts = read_image(BytesIO(hurt))
            image = upright(hurt)
        except (ValidationError, UnreadableImageError):
            continue
        assert (image.mode, image.size) == ("RGB", (facts.width, facts.height))


def test_warnings_of_pillow_are_suppressed():
    """Warnings are errors here."""
    assert upright(pictures.mpo().replace(b"MPF\0II", b"MPF\0XX")).size == (48, 32)


def test_threads_can_decode_draw_and_encode_at_once():
    odd = pictures.jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    failures = []

    def work():
        try:
            for _ in range(30):
                image = annotate(upright(odd), [Box(0, "person", 0.9, 0.25, 0.25, 0.5, 0.5)])
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


def test_an_encoded_jpeg_carries_no_metadata():
    source = pictures.jpeg(
        exif=pictures.exif(6), comment=b"taken at home", icc_profile=b"profile" * 50, dpi=(300, 300)
    )
    data = jpeg(upright(source))
    with Image.open(BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.size == (32, 48)
    assert b"taken at home" not in data
    assert b"Exif" not in data


def test_encoding_a_picture_opened_by_pillow_drops_its_metadata():
    with Image.open(BytesIO(pictures.jpeg(exif=pictures.exif(6), comment=b"taken at home"))) as image:
        data = jpeg(image)
    assert b"taken at home" not in data
    assert b"Exif" not in data


def test_a_picture_too_long_for_jpeg_is_made_smaller():
    with Image.open(BytesIO(jpeg(Image.new("RGB", (70_000, 20))))) as image:
        assert (image.width, image.height) == (65_500, 19)
