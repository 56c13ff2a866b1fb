import base64
import random
import tracemalloc
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from PIL import Image, ImageOps

from detections.images.formats import containers
from detections.images.formats.containers import BLOCK, BYTES_A_READ, MOST_READS
from detections.images.validation import ImageFacts, Inspection, SlowFileError, read_image
from testing.files import pictures


class Work:
    """The work of inspecting a file, counted instead of timed: pieces looked at, reads and bytes read."""

    def __init__(self, monkeypatch):
        self.pieces = self.reads = self.bytes = 0
        count_reads = containers.Source.count_reads

        def count(source, pieces):
            self.pieces += pieces
            count_reads(source, pieces)

        monkeypatch.setattr(containers.Source, "count_reads", count)

    def file(self, data):
        read = BytesIO.read

        class Watched(BytesIO):
            def read(file, size=-1):  # noqa: N805  # self is the work
                content = read(file, size)
                self.reads += 1
                self.bytes += len(content)
                return content

        return Watched(data)


@pytest.fixture
def work(monkeypatch):
    return Work(monkeypatch)


def refusal(data):
    with pytest.raises(ValidationError) as caught:
        read_image(BytesIO(data))
    return caught.value


@pytest.mark.parametrize("name", pictures.good())
def test_the_format_is_recognised_by_content_not_by_name(name):
    data, form = pictures.good()[name]
    facts = read_image(SimpleUploadedFile(name, data, content_type="application/octet-stream"))
    extension = {"jpeg": ".jpg"}.get(form, f".{form}")
    assert facts == ImageFacts(form, extension, 48, 32)


@pytest.mark.parametrize("name", pictures.HOSTILE)
def test_a_hostile_upload_is_refused_with_its_error_code(name):
    data, code = pictures.HOSTILE[name]
    assert refusal(data).code == code


UNSUPPORTED = {
    "PDF": pictures.PDF,
    "SVG": pictures.SVG,
    "HTML": pictures.HTML,
    "PostScript": pictures.EPS,
    "JPEG 2000": pictures.JPEG_2000,
    "Photoshop": pictures.PSD,
    "audio": pictures.WAV,
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    "archive": b"PK\3\4" + bytes(30),
    "icon": pictures.encoded(pictures.picture(), "ICO"),
    "Netpbm": pictures.encoded(pictures.picture(), "PPM"),
    "DICOM": bytes(128) + b"DICM",
    "text in Base64": base64.b64encode(pictures.jpeg()),
    "camera raw (Canon)": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "camera raw (Fujifilm)": b"FUJIFILMCCD-RAW 0201FF383501X-E1",
    "camera raw (Olympus)": b"IIRO\x08\0\0\0",
    "camera raw (Panasonic)": b"IIU\0\x18\0\0\0",
    "camera raw (Sigma)": b"FOVb\1\0\2\0",
    "camera raw (Minolta)": b"\0MRM\0\0\x0a\x0c\0PRD",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_file_of_another_kind_is_refused_by_its_name(name):
    error = refusal(UNSUPPORTED[name])
    assert (error.code, error.message) == (
        "unsupported_format",
        f"The file is of an unsupported kind, {name}: send JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF.",
    )


@pytest.mark.parametrize(
    "head",
    [b"\xef\xbb\xbf", b"\n <!-- drawn by hand -->\n", b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'>"],
)
def test_a_drawing_is_named_behind_a_mark_comments_and_declarations(head):
    assert "SVG" in refusal(head + pictures.SVG).message


@pytest.mark.parametrize("data", [b"A picture is worth a thousand words.", b"<a>svg</a>", bytes(5000), b"P"])
def test_a_file_of_an_unknown_kind_has_no_name(data):
    assert refusal(data).message == (
        "This is no picture that can be read: send JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF."
    )


@pytest.mark.parametrize(
    "name", [name for name, (_, code) in pictures.HOSTILE.items() if code != "too_large"]
)
def test_a_hostile_upload_is_refused_in_few_steps_and_under_a_megabyte(name, work):
    data, code = pictures.HOSTILE[name]
    assert outcome(work.file(data)) == code
    assert work.pieces <= MOST_READS + len(data) // BYTES_A_READ + 1
    assert work.reads < 20
    tracemalloc.start()
    refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_those_of_the_upright_picture(form, orientation):
    data = pictures.with_exif_orientation(orientation, 48, 32, form)
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
def test_malformed_exif_leaves_width_and_height_as_stored(exif):
    facts = read_image(BytesIO(pictures.jpeg(exif=exif)))
    assert (facts.width, facts.height) == (48, 32)


def test_the_error_text_names_the_limit(settings):
    settings.MAX_UPLOAD_MB, settings.MAX_IMAGE_PIXELS = 1, 1_000
    assert refusal(bytes((1 << 20) + 1)).message == "The file is 1.1 MB; at most 1 MB are allowed."
    assert refusal(pictures.png()).message == (
        "The picture has 48 x 32 pixels, 1,536 together; at most 1,000 are allowed."
    )


@pytest.mark.parametrize(("width", "height"), [(1, 65_501), (65_501, 1), (1, 50_000_000)])
def test_a_side_longer_than_jpeg_allows_is_refused(width, height):
    error = refusal(pictures.png_claiming(width, height))
    assert (error.code, error.message) == (
        "too_many_pixels",
        f"The picture has {width} x {height} pixels; no side may have more than 65,500.",
    )
    assert read_image(BytesIO(pictures.png_claiming(1, 65_500))).height == 65_500


def test_a_tiff_tile_far_larger_than_its_picture_is_refused():
    tags = {**pictures.TIFF_TAGS, 324: 1000, 325: 4608}
    assert read_image(BytesIO(pictures.tiff_of({**tags, 322: 2048, 323: 2048}))).width == 48
    error = refusal(pictures.tiff_of({**tags, 322: 2048, 323: 2064}))
    assert error.code == "too_many_pixels"
    assert "2048 x 2064" in error.message


@pytest.mark.parametrize("name", pictures.SLOW)
def test_twenty_megabytes_of_tiny_chunks_are_inspected_in_few_steps(name, work):
    data = pictures.SLOW[name]()
    outcome(work.file(data))
    # Each bound is for one walk: a second one looks for the EXIF.
    # Pieces that are walked within a block are counted once the block ends, four for one.
    assert work.pieces <= 2 * (MOST_READS + len(data) // BYTES_A_READ + BLOCK // 4)
    assert work.reads <= 2 * (5 + len(data) // BLOCK * 1.01)
    assert work.bytes <= 2 * 1.05 * len(data)


def test_a_file_that_takes_too_much_cpu_time_is_refused():
    with pytest.raises(SlowFileError) as caught:
        read_image(BytesIO(pictures.jpeg()), seconds=-1)
    assert caught.value.code == "corrupt_image"
    assert caught.value.message == (
        "Looking through what was sent takes more than 3 seconds of a processor's time."
    )


def test_files_of_one_request_share_the_cpu_time_limit():
    inspection = Inspection()
    file = BytesIO(pictures.jpeg())
    left = [inspection.seconds_left]
    for _ in range(2):
        inspection.read_image(file)
        left.append(inspection.seconds_left)
    assert left[0] > left[1] > left[2]
    inspection.seconds_left = 0
    for _ in range(2):
        with pytest.raises(SlowFileError):
            inspection.read_image(file)
    assert inspection.seconds_left < 0


def test_entries_of_an_archive_share_the_unpacking_time_limit():
    inspection = Inspection()
    entries = iter("abc")
    left = [inspection.unpacking_seconds_left]
    for entry in "ab":
        assert inspection.next_file(entries) == entry
        left.append(inspection.unpacking_seconds_left)
    assert left[0] > left[1] > left[2]
    assert inspection.seconds_left == 3
    inspection.unpacking_seconds_left = -1
    with pytest.raises(SlowFileError) as caught:
        inspection.next_file(entries)
    assert caught.value.message == "Unpacking the archive takes more than 10 seconds of a processor's time."
    assert list(entries) == ["c"]


def test_a_file_exactly_at_the_limits_is_accepted(settings):
    settings.MAX_UPLOAD_MB, settings.MAX_IMAGE_PIXELS = 1, 48 * 32
    data = pictures.png()
    assert read_image(BytesIO(data + bytes((1 << 20) - len(data)))).width == 48


@pytest.mark.parametrize("data", [pictures.png(), b"", pictures.HTML, pictures.truncated(pictures.jpeg())])
def test_the_file_is_rewound_after_inspection_valid_or_not(data):
    file = BytesIO(data)
    file.seek(0, 2)
    with suppress(ValidationError):
        read_image(file)
    assert file.tell() == 0


def test_an_upload_on_disk_is_inspected_without_loading_it_into_memory(settings, tmp_path, work):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    noise = pictures.encoded(Image.effect_noise((3800, 3800), 100), "JPEG", quality=98)
    assert len(noise) > 15 << 20
    with TemporaryUploadedFile("noise.jpg", "image/jpeg", len(noise), None) as file:
        file.write(noise)
        facts = read_image(file)
        assert work.pieces < 1000
        tracemalloc.start()
        read_image(file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (facts.width, facts.height) == (3800, 3800)
    assert peak < 1 << 20


# What stands behind the picture may be missing: a second one, or what was appended; pages lie in any order.
ENDS_EARLY = {
    "trailing.heic",
    "phone.jpg",
    "trailing.jpg",
    "trailing.png",
    "cut-behind-pixels.png",
    "animated.png",
}
ENDS_EARLY |= {"pages.tif", "animated.gif", "stray-bytes.gif"}
MISSING = {
    "packed.tif": 10,  # values that say nothing about where pixels are
    "deflated.tif": 10,
    "padded-with-zeros.jpg": 92,  # eight are enough
    "no-end.png": 4,  # a checksum
    "no-checksum.png": 0,
    "no-end.gif": 0,
}
END = {"png": 16, "gif": 1}  # a checksum and the end chunk; the trailer


@pytest.mark.parametrize("name", sorted(pictures.good().keys() - ENDS_EARLY))
def test_a_file_truncated_at_any_byte_is_refused(name):
    data, form = pictures.good()[name]
    for length in range(len(data) - MISSING.get(name, END.get(form, 0))):
        refusal(data[:length])


@pytest.mark.parametrize("padding", [bytes(8), b"\xff" * 8])
def test_a_jpeg_without_an_end_marker_needs_eight_fill_bytes(padding):
    data = pictures.jpeg()[:-2]
    assert read_image(BytesIO(data + padding)).width == 48
    assert refusal(data + padding[1:]).code == "corrupt_image"
    assert refusal(data + b"notzeros").code == "corrupt_image"


def test_a_jpeg_without_an_end_marker_needs_a_scan():
    data = pictures.jpeg()
    assert refusal(data[: data.index(b"\xff\xda")] + bytes(8)).code == "corrupt_image"
    assert refusal(data[:2] + b"\xff\xe5\0\x0a" + bytes(8)).code == "corrupt_image"


def test_a_png_without_an_end_needs_all_its_pixels():
    pixels = zlib.compress(bytes(32 * 145))
    data = pictures.png()[:33]
    assert read_image(BytesIO(data + pictures.png_chunk(b"IDAT", pixels))).width == 48
    halves = pictures.png_chunk(b"IDAT", pixels[:9]), pictures.png_chunk(b"IDAT", pixels[9:])
    assert read_image(BytesIO(data + halves[0] + halves[1])).width == 48
    assert refusal(data + halves[0]).code == "corrupt_image"
    assert refusal(data + pictures.png_chunk(b"IDAT", b"nothing deflated")).code == "corrupt_image"


def test_inflating_a_png_without_an_end_takes_bounded_memory_and_time():
    bomb = pictures.png()[:33] + pictures.png_chunk(b"IDAT", zlib.compress(bytes(50 << 20)))
    tracemalloc.start()
    read_image(BytesIO(bomb))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    with pytest.raises(SlowFileError):
        read_image(BytesIO(bomb + bytes(1 << 20)), seconds=0.0)


@pytest.mark.parametrize("name", pictures.good())
def test_a_damaged_file_is_refused_or_read_within_the_pixel_limit(name, settings, work):
    data, _ = pictures.good()[name]
    chance = random.Random(name)
    for _ in range(400):
        work.pieces = work.reads = 0
        facts = outcome(work.file(pictures.damaged(data, chance)))
        assert (work.pieces < 1000, work.reads < 100) == (True, True)
        if isinstance(facts, ImageFacts):
            assert 0 < facts.width * facts.height <= settings.MAX_IMAGE_PIXELS
        else:
            assert facts in {"empty", "too_many_pixels", "unsupported_format", "corrupt_image"}


def outcome(file):
    try:
        return read_image(file)
    except ValidationError as error:
        return error.code
