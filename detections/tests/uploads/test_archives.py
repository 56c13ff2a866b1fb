"""A ZIP in one request: which entries become images, and which archives are refused."""

import io
import random
import struct
import zipfile

import pytest
from django.core.exceptions import ValidationError
from PIL import Image

from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage
from detections.uploads import zip_reader
from testing.api import faults, send_archive, zipped
from testing.files import pictures
from testing.files.pictures import photo


def test_pictures_of_an_archive_become_images_stored_under_safe_names(api, user, detector, media):
    content = zipped(
        {
            "holiday/bus.jpg": photo(),
            "holiday/deep/er/x.png": pictures.png(),
            "holiday/": b"",
            "__MACOSX/holiday/._bus.jpg": b"fork",
            "holiday/.DS_Store": b"store",
            "holiday/Thumbs.db": b"thumbs",
            "Desktop.ini": b"[view]",
            "notes.txt": b"no picture",
        }
    )
    assert send_archive(api(user), content).status_code == 202
    rows = DetectionImage.objects.order_by("pk").values_list("original_name", "state", "error_code")
    assert list(rows) == [
        ("holiday/bus.jpg", "waiting", ""),
        ("holiday/deep/er/x.png", "waiting", ""),
        ("notes.txt", "failed", "unsupported_format"),
    ]
    process_waiting()
    assert Detection.objects.get().status == "completed"
    stored = {path.parent.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}
    assert stored == {f"users/{user.pk}/images"}


def test_uncompressed_entries_are_accepted(api, user, detector):
    assert send_archive(api(user), zipped({"a.jpg": photo()}, zipfile.ZIP_STORED)).status_code == 202


def encrypted():
    """An archive marked as encrypted: flags in both headers."""
    data = bytearray(zipped({"a.jpg": photo()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def claiming(size):
    """An entry whose headers claim another size than it has."""
    data = bytearray(zipped({"a.jpg": photo()}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", size)
    return bytes(data)


BAD_ARCHIVES = {
    "no-zip": b"no archive at all",
    "jpeg": photo(),
    "cut": zipped({"a.jpg": photo()})[:-30],
    "empty": zipped({}),
    "only-folders": zipped({"a/": b"", ".hidden": b"x"}),
    "many-bombs": zipped({f"{number}.jpg": bytes(1_000_000) for number in range(53)}),
    "encrypted": encrypted(),
    "bzip2": zipped({"a.jpg": photo()}, zipfile.ZIP_BZIP2),
    "lzma": zipped({"a.jpg": photo()}, zipfile.ZIP_LZMA),
    "too-many": zipped({f"{number}.jpg": b"x" for number in range(zip_reader.MOST_ENTRIES + 1)}),
    "long-names": zipped({"x" * 60_000 + f"{number}.jpg": b"x" for number in range(20)}),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_and_nothing_is_stored(api, user, detector, nothing_stored, name):
    assert faults(send_archive(api(user), BAD_ARCHIVES[name])) == [("bad_archive", "archive")]


def test_an_entry_that_is_larger_than_it_says_is_refused(api, user, detector, nothing_stored):
    assert faults(send_archive(api(user), claiming(10))) == [("corrupt_image", "archive")]


def accepted(api, user, content):
    """The names and codes of the images that an archive becomes."""
    response = send_archive(api(user), content)
    assert response.status_code == 202, response.content
    return list(DetectionImage.objects.order_by("pk").values_list("original_name", "error_code"))


def test_blank_pages_and_black_nights_are_accepted_at_any_ratio(api, user, detector):
    entries = {
        "photo.jpg": photo(),
        "page.tif": pictures.encoded(Image.new("L", (2480, 3508), 255), "TIFF"),
        "night.jpg": pictures.encoded(Image.new("RGB", (3840, 2160)), "JPEG"),
    }
    content = zipped(entries)
    assert sum(map(len, entries.values())) > zip_reader.HIGHEST_RATIO * len(content)
    assert accepted(api, user, content) == [(name, "") for name in entries]


def test_an_entry_that_cannot_be_unpacked_fails_and_the_others_are_accepted(api, user, detector):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", photo())
        archive.writestr("b.jpg", photo(), zipfile.ZIP_BZIP2)
        archive.writestr("c.jpg", photo(), zipfile.ZIP_LZMA)
        archive.writestr("d.jpg", photo(), zipfile.ZIP_STORED)
        archive.writestr("e.jpg", photo())
    content = bytearray(out.getvalue())
    content[content.rindex(b"e.jpg") - 46 + 8] |= zip_reader.ENCRYPTED
    codes = ["", "bad_archive", "bad_archive", "", "bad_archive"]
    expected = [(f"{letter}.jpg", code) for letter, code in zip("abcde", codes, strict=True)]
    assert accepted(api, user, bytes(content)) == expected
    errors = DetectionImage.objects.filter(error_code="bad_archive").order_by("pk")
    bzip2, _, encrypted = errors.values_list("error", flat=True)
    assert "a method other than deflate" in bzip2
    assert "encrypted" in encrypted


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/home/u/a.jpg", "home/u/a.jpg"),
        ("../a.jpg", "a.jpg"),
        ("a/../../b.jpg", "a/b.jpg"),
        ("..\\..\\a.jpg", "a.jpg"),
        ("C:\\DCIM\\a.jpg", "DCIM/a.jpg"),
        ("/c:/a.jpg", "a.jpg"),
        ("c:/d:/a.jpg", "a.jpg"),
        ("c:d:../a.jpg", "a.jpg"),
        ("\\\\?\\C:\\a.jpg", "a.jpg"),
        ("\\\\server\\share\\a.jpg", "server/share/a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("a\r\nERROR b.jpg", "aERROR b.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("..", "unnamed"),
        ("C:", "unnamed"),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
    ],
)
def test_a_name_is_shown_without_what_leads_out_of_a_folder(api, user, detector, name, shown):
    assert accepted(api, user, zipped({name: photo()})) == [(shown, "")]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("照片一.jpg", "gbk"), ("снимок_камера.jpg", "utf-8"), ("été.jpg", "cp437"), ("éè.jpg", "cp437")],
)
def test_a_name_without_the_flag_of_utf_8_is_read_in_its_encoding(api, user, detector, name, encoding):
    raw = name.encode(encoding)
    placeholder = "N" * len(raw)
    content = zipped({placeholder: photo()}).replace(placeholder.encode(), raw)
    assert accepted(api, user, content) == [(name, "")]


def test_an_entry_too_large_for_an_image_counts_as_far_as_it_is_read(api, user, detector, settings):
    settings.MAX_UPLOAD_MB = 1
    settings.MAX_REQUEST_MB = 2
    content = zipped({"clip.mp4": bytes(6 << 20), "a.jpg": photo()})
    assert accepted(api, user, content) == [("clip.mp4", "too_large"), ("a.jpg", "")]


def test_a_damaged_entry_fails_and_the_others_are_accepted(api, user, detector):
    content = bytearray(zipped({"a.jpg": photo(), "b.jpg": photo()}))
    at = content.index(b"a.jpg") + 60
    content[at : at + 20] = b"\xff" * 20
    assert send_archive(api(user), bytes(content)).status_code == 202
    rows = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(rows) == [("a.jpg", "corrupt_image"), ("b.jpg", "")]


def with_odd_entry(change, name="odd.jpg"):
    """Three entries; `change` is given the part of the directory that is the middle one's."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", photo())
        odd = zipfile.ZipInfo(name)
        odd.extra = struct.pack("<2HL", 0x5455, 4, 0)
        archive.writestr(odd, photo())
        archive.writestr("b.jpg", photo())
    content = bytearray(out.getvalue())
    at = content.rindex(name.encode()) - 46
    entry = content[at : at + 46 + len(name) + 8]
    change(entry)
    content[at : at + len(entry)] = entry
    return bytes(content)


def with_invalid_name(entry):
    entry[9] |= zip_reader.UTF_8 >> 8
    entry[46:49] = b"\xff\xfe\xfd"


def with_malformed_extra(entry):
    entry[-6:-4] = struct.pack("<H", 500)


def with_sizes_that_are_missing(entry):
    entry[20:28] = b"\xff" * 8
    entry[-8:-4] = struct.pack("<2H", 1, 4)


def with_version_needed_90(entry):
    entry[6] = 90


@pytest.mark.parametrize(
    "change",
    [with_invalid_name, with_malformed_extra, with_sizes_that_are_missing, with_version_needed_90],
)
def test_an_odd_entry_of_the_directory_fails_alone(api, user, detector, change):
    first, odd, last = accepted(api, user, with_odd_entry(change))
    assert (first, last) == (("a.jpg", ""), ("b.jpg", ""))
    assert odd[0].endswith(".jpg")
    assert odd[1] == "corrupt_image"


def test_an_odd_entry_stays_within_the_bounds(api, user, detector, nothing_stored):
    content = with_odd_entry(with_malformed_extra)
    at, end = content.index(b"PK\1\2"), content.rindex(b"PK\5\6")
    directory = content[at:end] * 400
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1200, 1200, len(directory), at, 0)
    response = send_archive(api(user), content[:at] + directory + tail)
    assert faults(response) == [("bad_archive", "archive")]
    assert "too many entries" in response.content.decode()


@pytest.mark.parametrize("comment", [b"PK\5\6", b"PK\5\6 PK\5\6" + b"\xff" * 30])
def test_an_archive_comment_may_hold_the_signature_of_an_end(api, user, detector, comment):
    content = zipped({"a.jpg": photo()})[:-2] + struct.pack("<H", len(comment)) + comment
    assert accepted(api, user, content) == [("a.jpg", "")]


def test_an_end_that_gives_an_impossible_length_is_damage(api, user, detector, nothing_stored):
    content = zipped({"a.jpg": photo()}) + b"PK\5\6" + b"\xff" * 30
    response = send_archive(api(user), content)
    assert "This is no ZIP archive, or a damaged one." in response.content.decode()


def lying_about_its_length():
    """3,000 entries, of which its end admits one."""
    data = bytearray(zipped({f"{number}.jpg": b"x" for number in range(3000)}))
    end = data.rindex(b"PK\x05\x06")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    return bytes(data)


def upon_each_other():
    """Many entries of the same bytes."""
    data = zipped({"a.jpg": photo()})
    at, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    directory = data[at:end] * 200
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHL", 200, 200, len(directory))
    return data[:at] + directory + bytes(tail)


@pytest.mark.parametrize("make", [lying_about_its_length, upon_each_other])
def test_an_archive_with_false_counts_or_overlapping_entries_is_refused(
    api, user, detector, nothing_stored, make
):
    assert faults(send_archive(api(user), make())) == [("bad_archive", "archive")]


@pytest.mark.slow
def test_a_damaged_archive_never_answers_500(api, user, detector):
    dice = random.Random(5)
    whole = zipped({"a.jpg": photo(), "b.png": pictures.png(), "c/d.jpg": photo()})
    client = api(user)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        assert send_archive(client, bytes(data)).status_code in {202, 400}


def test_an_archive_within_an_archive_is_an_unsupported_format(api, user, detector):
    inner = zipped({"a.jpg": photo()})
    refused = send_archive(api(user), zipped({"inner.zip": inner}))
    assert faults(refused) == [("unsupported_format", "archive")]
    assert send_archive(api(user), zipped({"inner.zip": inner, "b.jpg": photo()})).status_code == 202
    codes = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(codes) == [("inner.zip", "unsupported_format"), ("b.jpg", "")]


def test_an_archive_that_unpacks_to_more_than_max_request_mb_is_refused(
    api, user, detector, nothing_stored, settings
):
    settings.MAX_REQUEST_MB = 1
    noise = pictures.encoded(pictures.Image.effect_noise((1200, 1200), 100), "PNG")
    content = zipped({f"{number}.png": noise for number in range(3)})
    assert faults(send_archive(api(user), content)) == [("bad_archive", "archive")]


def test_an_entry_over_max_upload_mb_fails_and_the_others_are_accepted(api, user, detector, settings):
    settings.MAX_UPLOAD_MB = 1
    noise = pictures.encoded(pictures.Image.effect_noise((1200, 1200), 100), "PNG")
    assert send_archive(api(user), zipped({"large.png": noise, "b.jpg": photo()})).status_code == 202
    codes = DetectionImage.objects.order_by("pk").values_list("original_name", "error_code")
    assert list(codes) == [("large.png", "too_large"), ("b.jpg", "")]


def with_zip64_end(archive, extra=b""):
    """The archive with ZIP64 records, and `extra` between them and their locator."""
    end = archive.rindex(b"PK\x05\x06")
    _, _, _, _, count, length, offset, _ = struct.unpack("<4s4H2LH", archive[end:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44 + len(extra), 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return archive[:end] + record + extra + locator + archive[end:]


WHOLE = zipped({"a.jpg": b"x" * 50, "b/c.png": b"y" * 70})
ARCHIVES = {
    "plain": WHOLE,
    "comment": WHOLE[:-2] + struct.pack("<H", 11) + b"hello world",
    "longest comment": WHOLE[:-2] + b"\xff\xff" + b"c" * 0xFFFF,
    "comment with an end in it": WHOLE[:-2] + struct.pack("<H", len(zipped({}))) + zipped({}),
    "before it something else": b"#!/bin/sh\n" * 1000 + WHOLE,
    "zip64": with_zip64_end(WHOLE),
    "zip64 behind something else": b"#!/bin/sh\n" * 1000 + with_zip64_end(WHOLE),
    "cut": WHOLE[:-30],
    "short": WHOLE[-20:],
    "no archive": b"no archive at all",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_zip_directory_we_check_is_the_one_zipfile_reads(name):
    content = ARCHIVES[name]
    directories = list(zip_reader.find_directories(io.BytesIO(content)))
    if not zipfile.is_zipfile(io.BytesIO(content)):
        assert directories == []
        return
    ((end, length),) = directories
    assert content[end - length : end].count(b"PK\1\2") == len(
        zipfile.ZipFile(io.BytesIO(content)).namelist()
    )
    assert content[end : end + 4] in {b"PK\5\6", b"PK\6\6"}


def many_entries_behind_a_zip64_end():
    """3,000 entries; only the record that the locator names gives the directory's length."""
    data = with_zip64_end(zipped({f"{number}.jpg": b"x" for number in range(3000)}), b"extra")
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 8] + struct.pack("<HHL", 1, 1, 50) + data[end + 16 :]


def test_zip64_directories_of_newer_zipfile_versions_are_checked_too():
    with pytest.raises(ValidationError, match="too many entries"):
        zip_reader.check_directory(io.BytesIO(many_entries_behind_a_zip64_end()))
