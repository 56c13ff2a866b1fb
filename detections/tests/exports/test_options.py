"""What may be asked of an export besides its format: names of images, a dialect, chosen detections."""

import csv
import json
import unicodedata
import zipfile
from io import BytesIO, StringIO
from uuid import uuid4

import pytest

from detections.exports import file_names, runs
from detections.models import Detection, DetectionImage, Export
from detections.tests.exports.reading import made
from testing.api import content_of

EXPORTS = "/api/v1/detect/exports"
HARMLESS = {
    "IMG_1234.JPG": "IMG_1234.JPG",
    "my photo (1).jpeg": "my photo (1).jpeg",
    "Straße 名.png": "Straße 名.png",
    "u\N{COMBINING DIAERESIS}.jpg": "ü.jpg",
    "../../etc/passwd.jpg": "passwd.jpg",
    "..\\..\\windows\\system.jpg": "system.jpg",
    "a\r\nb\x1b[31m.jpg": "a__b_[31m.jpg",
    "cod\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe.jpg": "cod_gpj.exe.jpg",
    'what? "this": <a|b>*.jpg': "what_ _this__ _a_b__.jpg",
    "con.jpg": "_con.jpg",
    "LPT1.old.png": "_LPT1.old.png",
    "COM\N{SUPERSCRIPT TWO}.png": "_COM\N{SUPERSCRIPT TWO}.png",
    "console.jpg": "console.jpg",
    ".hidden.jpg": "hidden.jpg",
    "ends in dots. . .jpg": "ends in dots.jpg",
    "": "image.jpg",
    "...": "image.jpg",
    "photo": "photo.jpg",
    "v1.2 final version": "v1.2 final version.jpg",
}


def named(user, fill, *names):
    for name in names:
        fill(user, 1, 1, name)
    coco = json.loads(made(Detection.objects.all(), "coco", names="original"))
    return [image["file_name"] for image in coco["images"]]


@pytest.mark.parametrize("name", HARMLESS)
def test_images_are_named_as_their_owner_did_as_far_as_that_is_harmless(user, fill, name):
    assert named(user, fill, name) == [HARMLESS[name]]


def test_duplicate_names_are_numbered_also_in_another_case_and_extension(user, fill):
    names = ["bus.jpg", "bus.jpg", "BUS.png", "bus-2.jpg", "bus.jpg", "car.jpg", "u\u0308.jpg", "\u00dc.jpg"]
    given = named(user, fill, *names)
    assert given == [
        "bus.jpg", "bus-2.jpg", "BUS-3.png", "bus-2-2.jpg", "bus-4.jpg", "car.jpg", "\u00fc.jpg",
        "\u00dc-2.jpg",
    ]  # fmt: skip


def test_long_names_fit_file_systems_with_their_numbers(user, fill):
    given = named(user, fill, *["名" * 250 + ".jpg"] * 3)
    assert len(set(given)) == 3
    assert all(len(name.encode()) < 200 for name in given)
    assert all(unicodedata.is_normalized("NFC", name) for name in given)


def test_long_names_with_ids_fit_file_systems(user, fill):
    """Also of letters that take four bytes."""
    (detection,) = fill(user, 1, 1, "𠮷" * 250 + ".jpg")
    image = detection.images.get()
    assert len(image.unique_name.encode()) <= 255
    assert image.unique_name.startswith("𠮷" * 40)
    (named,) = json.loads(made(Detection.objects.all(), "coco"))["images"]
    assert named["file_name"] == image.unique_name


def test_many_images_of_one_name_are_named_in_little_time(user):
    taken = file_names.TakenNames()
    assert [taken.take("image") for _ in range(100_000)][-1] == "image-100000"


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_labels_are_named_as_their_pictures(user, fill, name):
    fill(user, 2, 1, "a b.jpg")
    with zipfile.ZipFile(BytesIO(made(Detection.objects.all(), name, names="original"))) as archive:
        stems = sorted(
            file.rpartition("/")[2].partition(".")[0] for file in archive.namelist() if "/" in file
        )
    assert stems == ["a b", "a b-2"]


def test_csv_for_excel_begins_with_a_byte_order_mark(user, fill):
    fill(user, 1, 1, "größe.jpg")
    plain, excel = (made(Detection.objects.all(), "csv", dialect=each) for each in ("plain", "excel"))
    assert excel == b"\xef\xbb\xbf" + plain
    (row,) = csv.DictReader(StringIO(excel.decode("utf-8-sig"), newline=""))
    assert row["original_name"] == "größe.jpg"


# Requests


@pytest.fixture
def ask(api, user):
    client = api(user)
    return lambda **body: client.post(EXPORTS, body)


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"format": "csv", "images": True}, "images"),
        ({"format": "jsonl", "images": True}, "images"),
        ({"format": "csv", "names": "original"}, "names"),
        ({"format": "yolo", "dialect": "excel"}, "dialect"),
        ({"format": "csv", "dialect": "lotus"}, "dialect"),
        ({"format": "coco", "names": "mine"}, "names"),
        ({"format": "coco", "reviewed": "yes"}, "reviewed"),
        ({"format": "coco", "images": 1}, "images"),
        ({"format": "coco", "detection_ids": []}, "detection_ids"),
        ({"format": "coco", "detection_ids": "all"}, "detection_ids"),
        ({"format": "coco", "detection_ids": ["1"]}, "detection_ids"),
        ({"format": "coco", "detection_ids": [1]}, "detection_ids"),
        ({"format": "coco", "detection_ids": [str(uuid4())] * 1001}, "detection_ids"),
    ],
)
def test_options_that_make_no_sense_are_refused(ask, body, attr):
    response = ask(**body)
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, attr)
    assert not Export.objects.exists()


def test_an_export_keeps_and_shows_its_options(api, user, ask):
    wanted = {"reviewed": True, "images": True, "names": "original"}
    answer = ask(format="yolo", **wanted).json()
    assert {name: answer[name] for name in wanted} == wanted
    assert (answer["dialect"], answer["filters"]) == ("plain", {})
    runs.make_next_export()
    url = api(user).get(f"{EXPORTS}/{answer['id']}").json()["download_url"].removeprefix("http://testserver")
    response = api().get(url)
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"].endswith('.zip"')
    assert zipfile.ZipFile(BytesIO(content_of(response))).namelist() == ["data.yaml"]


def test_chosen_detections_are_exported_and_foreign_ids_ignored(api, user, stranger, ask, fill):
    chosen, _ = fill(user, 2, 1)
    (foreign,) = fill(stranger, 1, 1)
    ids = [str(chosen.pk), str(foreign.pk), str(uuid4())]
    answer = ask(format="jsonl", detection_ids=ids).json()
    assert answer["filters"] == {"detection_ids": ids}
    runs.make_next_export()
    url = api(user).get(f"{EXPORTS}/{answer['id']}").json()["download_url"].removeprefix("http://testserver")
    (line,) = content_of(api().get(url)).splitlines()
    assert json.loads(line)["detection_id"] == str(chosen.pk)


def test_a_thousand_detections_can_be_chosen(ask, user, fill):
    made_now = fill(user, 1000, 0)
    assert ask(format="coco", detection_ids=[str(each.pk) for each in made_now]).status_code == 202
    runs.make_next_export()
    assert Export.objects.get().total == DetectionImage.objects.count() == 1000


def test_a_detection_is_exported_at_once_with_options_but_without_pictures(api, user, fill):
    (detection,) = fill(user, 1, 2, "bus.jpg")
    detection.results.filter(class_id=0).update(review="accepted")
    path = f"/api/v1/detect/{detection.pk}/export"
    data = json.loads(
        content_of(api(user).get(path, {"format": "coco", "reviewed": "true", "names": "original"}))
    )
    assert (len(data["annotations"]), data["images"][0]["file_name"]) == (1, "bus.jpg")
    excel = content_of(api(user).get(path, {"format": "csv", "dialect": "excel"}))
    assert excel.startswith(b"\xef\xbb\xbf")
    refused = api(user).get(path, {"format": "coco", "images": "true"})
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["code"], error["attr"]) == (400, "unknown_field", "images")
    assert api(user).get(path, {"format": "jsonl", "dialect": "excel"}).status_code == 400
