"""HEIC and AVIF: phones' formats, read by their boxes before anything decodes them."""

import random
import struct
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from PIL import Image, ImageCms

from detections.images import pixels, stripping
from detections.images.validation import ImageFacts, read_image
from detections.inference import decode
from testing.files import hostile, pictures
from testing.files.heif import Item, assembled, box, grid, tile

RED, GREEN, BLUE = (200, 30, 30), (20, 180, 40), (20, 40, 220)
BRANDS = [b"heic", b"avif"]
REFUSED = [file for file in hostile.HEIFS if file.becomes not in {hostile.DONE, hostile.ENDED}]


def near(pixel, expected, tolerance=25):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, expected, strict=True))


def original_of(data):
    file = BytesIO(data)
    return stripping.content_of(file, stripping.without_metadata(file, read_image(file).extension))


def refusal(data):
    with pytest.raises(ValidationError) as caught:
        read_image(BytesIO(data))
    return caught.value


def turned(form, orientation):
    """The scene upright; stored as a camera held otherwise does."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    scene = pictures.picture(64, 48)
    stored = scene if back is None else scene.transpose(Image.Transpose(back))
    return pictures.encoded(stored, form, quality=95, exif=pictures.exif(orientation).tobytes())


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_and_mirroring_are_applied_once_everywhere(form, orientation):
    data = turned(form, orientation)
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == (64, 48)
    original = original_of(data)
    assert b"Exif" not in original
    decoded = Image.fromarray(decode(data)[:, :, ::-1].copy())
    for image in (pixels.upright(data), decoded, Image.open(BytesIO(original))):
        assert image.size == (64, 48)
        assert near(image.getpixel((8, 8)), GREEN)
        assert near(image.getpixel((8, 40)), RED)
        assert near(image.getpixel((48, 8)), RED)


@pytest.mark.parametrize("brand", BRANDS)
def test_exif_does_not_turn_what_its_boxes_leave_upright(brand):
    exif = Item(b"Exif", bytes(4) + pictures.exif(6).tobytes()[6:])
    data = assembled(brand, [tile(brand, 128, 64, side=(128, 64)), exif], [(b"cdsc", 2, [1])])
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == (128, 64)
    assert pixels.upright(data).size == (128, 64)


@pytest.mark.parametrize("brand", BRANDS)
def test_the_tiles_of_a_grid_are_one_picture(brand):
    tiles = [grid(2, 1, 128, 64, box(b"irot", b"\1")), tile(brand), tile(brand)]
    data = assembled(brand, tiles, [(b"dimg", 1, [2, 3])])
    facts = read_image(BytesIO(data))
    assert (facts.width, facts.height) == (64, 128)
    assert pixels.upright(data).size == (64, 128)


def test_the_primary_image_of_several_is_read():
    for image in (
        pixels.upright(pictures.heic_of_two()),
        pixels.upright(pictures.animated("AVIF", frames=3)),
    ):
        assert image.size == (48, 32)
    assert near(pixels.upright(pictures.heic_of_two()).getpixel((5, 5)), GREEN)


def test_the_first_picture_of_an_avif_film_is_read_as_every_other_avif():
    data = pictures.animated("AVIF", quality=95)
    assert data[8:12] == b"avis"
    assert near(pixels.upright(data).getpixel((5, 5)), (0, 0, 100))


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_alpha_shows_white_unless_it_hides_everything(form):
    source = pictures.picture(64, 64).convert("RGBA")
    source.putalpha(0)
    hidden = pictures.encoded(source, form, quality=95)
    source.putalpha(Image.linear_gradient("L").resize((64, 64)))
    shown = pictures.encoded(source, form, quality=95)
    assert near(pixels.upright(hidden).getpixel((8, 8)), GREEN)
    assert near(pixels.upright(shown).getpixel((8, 1)), (255, 255, 255))


@pytest.mark.parametrize("brand", BRANDS)
def test_damaged_metadata_do_not_make_a_picture_unreadable(brand):
    for broken in (b"\0", b"\xff\xff\xff\xffMM", bytes(4) + b"II*\0\xff\xff\xff\xff"):
        items = [tile(brand), Item(b"Exif", broken), Item(b"mime", b"x", rest=b"\0a/b\0deflate\0")]
        data = assembled(brand, items, [(b"cdsc", 2, [1]), (b"cdsc", 3, [1])])
        assert read_image(BytesIO(data)).width == 64
        assert pixels.upright(data).size == (64, 64)


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_the_original_is_a_jpeg_with_the_profile_and_without_metadata(form):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = pictures.exif(1)
    tags[0x0110] = "SpyCam 007"
    data = pictures.encoded(
        pictures.picture(), form, exif=tags.tobytes(), xmp=b"<x>SpyCam</x>", icc_profile=profile
    )
    assert b"SpyCam" in data
    original = original_of(data)
    assert b"SpyCam" not in original
    image = Image.open(BytesIO(original))
    assert image.format == "JPEG"
    assert image.info["icc_profile"] == profile
    assert not image.getexif()


def test_a_profile_of_grey_is_left_out_of_a_coloured_jpeg():
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    data = pictures.encoded(pictures.picture(mode="L"), "AVIF", icc_profile=bytes(profile))
    assert "icc_profile" not in Image.open(BytesIO(original_of(data))).info


@pytest.mark.parametrize("major", [b"mif1", b"msf1"])
@pytest.mark.parametrize("brand", BRANDS)
def test_a_general_brand_is_told_apart_by_what_it_is_compatible_with(brand, major):
    data = assembled(brand, [tile(brand)])
    data = data[:8] + major + data[12:]
    assert read_image(BytesIO(data)) == ImageFacts(brand.decode(), f".{brand.decode()}", 64, 64)
    assert pixels.upright(data).size == (64, 64)


BAD = {
    "too long": (lambda brand: assembled(brand, [tile(brand, 65_501, 1)]), "too_many_pixels"),
    "no width": (lambda brand: assembled(brand, [tile(brand, 0, 64)]), "corrupt_image"),
    "no such primary image": (lambda brand: assembled(brand, [tile(brand)], primary=7), "corrupt_image"),
    "a grid without tiles": (
        lambda brand: assembled(brand, [grid(2, 1, 128, 64)], [(b"dimg", 1, [2, 3])]),
        "corrupt_image",
    ),
    "cropped after it is turned": (
        lambda brand: assembled(
            brand,
            [
                tile(
                    brand,
                    64,
                    64,
                    box(b"irot", b"\1"),
                    box(b"clap", struct.pack(">8I", 64, 1, 64, 1, 0, 1, 0, 1)),
                )
            ],
        ),
        "unsupported_format",
    ),
}


@pytest.mark.parametrize("brand", BRANDS)
@pytest.mark.parametrize("name", BAD)
def test_a_file_that_contradicts_itself_is_refused(name, brand):
    make, code = BAD[name]
    assert refusal(make(brand)).code == code


@pytest.mark.parametrize("file", REFUSED, ids=str)
def test_a_hostile_file_is_refused_before_it_is_decoded(file):
    assert refusal(file.make()).code == file.becomes


@pytest.mark.parametrize("kind", [b"pitm", b"iloc", b"iinf", b"iprp", b"ipco", b"ispe"])
@pytest.mark.parametrize("brand", BRANDS)
def test_a_file_without_one_of_its_tables_is_refused(brand, kind):
    data = assembled(brand, [tile(brand)])
    assert refusal(data.replace(kind, b"free", 1)).code == "corrupt_image"
    at = data.index(kind)
    assert refusal(data[: at - 4] + struct.pack(">I", 8) + data[at:]).code == "corrupt_image"


@pytest.mark.parametrize("behind", [b"appended", bytes(100), box(b"sefd", b"x"), b"\0\0\1\0mpvd"])
@pytest.mark.parametrize("brand", BRANDS)
def test_what_cameras_append_to_a_picture_is_passed_over(brand, behind):
    data = assembled(brand, [tile(brand)], behind=behind)
    assert read_image(BytesIO(data)).width == 64
    assert pixels.upright(data).size == (64, 64)


def test_a_heic_of_another_size_than_its_boxes_say_cannot_be_decoded():
    data = assembled(b"heic", [tile(b"heic", 6000, 6000)])
    assert read_image(BytesIO(data)).width == 6000
    with pytest.raises(pixels.UnreadableImageError, match="size"):
        pixels.upright(data)


@pytest.mark.parametrize("brand", BRANDS)
def test_damage_ends_in_a_refusal_or_in_the_size_that_was_validated(brand):
    data = assembled(brand, [grid(2, 1, 128, 64), tile(brand), tile(brand)], [(b"dimg", 1, [2, 3])])
    chance = random.Random(16)
    for _ in range(600):
        hurt = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            hurt[chance.randrange(28, len(hurt))] = chance.choice((chance.randrange(256), 0, 255))
        hurt = bytes(hurt)
        try:
            facts = read_image(BytesIO(hurt))
            image = pixels.upright(hurt)
        except (ValidationError, pixels.UnreadableImageError):
            continue
        assert image.size == (facts.width, facts.height)
