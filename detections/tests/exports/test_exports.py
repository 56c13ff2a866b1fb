"""Exported files equal the tables when read by other libraries, and only their owner gets them."""

import csv
import errno
import json
import tempfile
import zipfile
from collections import Counter
from datetime import timedelta
from io import BytesIO, StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.storage import FileSystemStorage, default_storage
from django.utils import timezone

from accounts import closing, link_tokens, passwords
from accounts.models import User
from detections import erasure, tasks
from detections.api import large_answers
from detections.exports import formats, runs, zip_writer
from detections.jobs import processing
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult, Detector, Export
from detections.tests.exports.reading import FORMATS, HEIGHT, READERS, WIDTH, boxes, made, read_voc
from testing.api import content_of
from testing.files.pictures import photo
from testing.waiting import until

EXPORTS = "/api/v1/detect/exports"


@pytest.mark.slow
def test_an_export_of_10000_results_is_read_back_equal_in_every_format(user, fill, tmp_path):
    fill(user, 100, 100)
    detections = Detection.objects.owned_by(user)
    expected = boxes(detections)
    assert expected.total() == DetectionResult.objects.count() == 10_000
    stored = {str(image.pk) for image in DetectionImage.objects.all()}
    for name in FORMATS:
        folder = tmp_path / name
        folder.mkdir()
        images, found = READERS[name](made(detections, name), folder)
        assert (name, found, images) == (name, expected, stored)


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "labelstudio"])
def test_an_image_without_results_is_in_the_export(user, fill, tmp_path, name):
    fill(user, 2, 0)
    images, found = READERS[name](made(Detection.objects.all(), name), tmp_path)
    assert len(images) == 2
    assert not found


@pytest.mark.parametrize("name", FORMATS)
def test_an_unprocessed_image_is_not_in_the_export(user, submit, fill, tmp_path, name):
    submit(user, photo())
    fill(user, 1, 1)
    images, found = READERS[name](made(Detection.objects.all(), name), tmp_path)
    assert (len(images), found.total()) == (1, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_export_is_a_valid_file(user, tmp_path, name):
    data = made(Detection.objects.none(), name)
    if name in {"coco", "labelstudio", "csv", "jsonl"}:
        assert READERS[name](data, tmp_path) == (set(), Counter())
    else:
        assert zipfile.ZipFile(BytesIO(data)).testzip() is None


def numbers_of(data):
    return {category["name"]: category["id"] for category in json.loads(data)["categories"]}


def test_classes_keep_their_number_and_are_shared_by_name_among_detectors(user, fill, detector):
    fill(user, 1, 2)
    assert numbers_of(made(Detection.objects.all(), "coco")) == {"alpha": 1, "beta": 2}
    other = Detector.objects.create(
        name="other", version="1", path="other", backend="openvino", image_size=64, classes=["gamma", "alpha"]
    )
    (second,) = fill(user, 1, 1)
    DetectionImage.objects.filter(detection=second).update(detector=other)
    DetectionResult.objects.filter(detection=second).update(class_id=1)
    data = made(Detection.objects.all(), "coco")
    assert numbers_of(data) == {"alpha": 1, "beta": 2, "gamma": 3}
    assert sorted(found["category_id"] for found in json.loads(data)["annotations"]) == [1, 1, 2]


@pytest.fixture
def two_cars(user, fill, detector):
    """A detection by a detector with two classes of one name: a car of each, and a bus."""
    detector.classes = ["car", "car", "bus"]
    detector.save(update_fields=["classes"])
    (detection,) = fill(user, 1, 3)
    for class_id, result in enumerate(detection.results.order_by("pk")):
        result.class_id, result.object_class = class_id, detector.classes[class_id]
        result.save(update_fields=["class_id", "object_class"])
    return detection


def test_classes_of_the_same_name_keep_different_numbers(two_cars, tmp_path):
    coco = json.loads(made(Detection.objects.all(), "coco"))
    names = [(category["id"], category["name"]) for category in coco["categories"]]
    assert names == [(1, "car"), (2, "car"), (3, "bus")]
    assert sorted(found["category_id"] for found in coco["annotations"]) == [1, 2, 3]
    with zipfile.ZipFile(BytesIO(made(Detection.objects.all(), "yolo"))) as archive:
        assert 'names:\n  0: "car"\n  1: "car"\n  2: "bus"\n' in archive.read("data.yaml").decode()
        (labels,) = (archive.read(name) for name in archive.namelist() if name.startswith("labels/"))
    assert sorted(line.split()[0] for line in labels.splitlines()) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
def test_classes_of_the_same_name_are_read_back_equal(two_cars, tmp_path, name):
    _, found = READERS[name](made(Detection.objects.all(), name), tmp_path)
    assert found == boxes(Detection.objects.all())


def test_duplicate_class_names_are_shared_among_detectors_in_order(user, fill, two_cars):
    other = Detector.objects.create(
        name="other", version="1", path="other", backend="openvino", image_size=64,
        classes=["bus", "car", "car", "car"],
    )  # fmt: skip
    (second,) = fill(user, 1, 4)
    DetectionImage.objects.filter(detection=second).update(detector=other)
    for class_id, result in enumerate(second.results.order_by("pk")):
        DetectionResult.objects.filter(pk=result.pk).update(
            class_id=class_id, object_class=other.classes[class_id]
        )
    coco = json.loads(made(Detection.objects.filter(pk__in=[two_cars.pk, second.pk]), "coco"))
    assert [category["name"] for category in coco["categories"]] == ["car", "car", "bus", "car"]
    numbers = Counter(found["category_id"] for found in coco["annotations"])
    assert numbers == {1: 2, 2: 2, 3: 2, 4: 1}


def test_a_box_at_the_last_pixel_stays_inside_its_image_in_voc(user, fill, tmp_path):
    fill(user, 1, 1)
    DetectionResult.objects.update(
        bbox_x=1 - 0.1 / WIDTH, bbox_width=0.1 / WIDTH, bbox_y=1 - 0.1 / HEIGHT, bbox_height=0.1 / HEIGHT
    )
    _, found = read_voc(made(Detection.objects.all(), "voc"), tmp_path)
    ((_, _, *corners),) = found
    assert corners == [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT]


HOSTILE_NAMES = [
    "../../etc/passwd.jpg",
    '=HYPERLINK("http://x")',
    "-1+1.jpg",
    "a\r\nb.jpg",
    "<x>&\x01.jpg",
    "",
    "名.jpg",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_file_name_does_no_harm_in_an_export(user, fill, tmp_path, name):
    fill(user, 1, 1, name)
    image = DetectionImage.objects.get()
    for packed in ("yolo", "voc"):
        archive = zipfile.ZipFile(BytesIO(made(Detection.objects.all(), packed)))
        for member in archive.namelist():
            assert ".." not in member
            assert member.count("/") <= 1
        assert len([member for member in archive.namelist() if str(image.pk) in member]) == 1
    read_voc(made(Detection.objects.all(), "voc"), tmp_path)
    (row,) = csv.DictReader(StringIO(made(Detection.objects.all(), "csv").decode(), newline=""))
    assert row["original_name"].replace("'", "") == name
    assert not row["original_name"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert json.loads(made(Detection.objects.all(), "jsonl"))["original_name"] == name


COMPUTED = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\N{FULLWIDTH EQUALS SIGN}1",
    "\N{FULLWIDTH PLUS SIGN}1", "\N{FULLWIDTH HYPHEN-MINUS}1", "\N{FULLWIDTH COMMERCIAL AT}A",
    "\N{SMALL EQUALS SIGN}1", "\N{SUPERSCRIPT PLUS SIGN}1", "\N{SUBSCRIPT MINUS}1", "\N{MINUS SIGN}1",
    "\N{HEBREW LETTER ALTERNATIVE PLUS SIGN}1", " =1", "   +1", "\N{NO-BREAK SPACE}=1",
    "\N{IDEOGRAPHIC SPACE}=1",
    "\N{ZERO WIDTH SPACE}=1", "\N{ZERO WIDTH NO-BREAK SPACE}=1", "\N{SOFT HYPHEN}=1", "\N{WORD JOINER}@A",
    "\N{COMBINING GRAPHEME JOINER}=1", "\N{VARIATION SELECTOR-16}=1", "\N{HANGUL FILLER}=1",
    "\N{BRAILLE PATTERN BLANK}=1", "\N{RIGHT-TO-LEFT OVERRIDE}=1", "\x01=1", '"=1',
    "=\N{COMBINING LONG SOLIDUS OVERLAY}1", " \N{ZERO WIDTH SPACE}\N{FULLWIDTH EQUALS SIGN}1", "\tbus",
]  # fmt: skip  # a list to read at a glance
HARMLESS = [
    "bus",
    "traffic light",
    " bus",
    "a=1",
    "1-2",
    "名",
    "grün",
    "'=1",
    "",
    "\N{EN DASH}1",
    "\N{HANGUL FILLER}",
]


# Each part that would be a formula in its own cell gets an apostrophe.
SPLIT = {
    "x;=1+1;.jpg": "x;'=1+1;.jpg",
    "x,+1": "x,'+1",
    "x|-1": "x|'-1",
    "x\t@A": "x\t'@A",
    "x\n=1": "x\n'=1",
    "x\r\n=1": "x\r\n'=1",
    "x\N{LINE SEPARATOR}=1": "x\N{LINE SEPARATOR}'=1",
    "x;\N{FULLWIDTH EQUALS SIGN}1": "x;'\N{FULLWIDTH EQUALS SIGN}1",
    "x; =1": "x;' =1",
    'x;"=1': "x;'\"=1",
    "=1;=2;;-3": "'=1;'=2;;'-3",
    ";=1": ";'=1",
    "\t=1": "'\t'=1",
    "\r=1": "'\r'=1",
    "\n=1": "'\n'=1",
    " \t\N{ZERO WIDTH SPACE}\N{FULLWIDTH EQUALS SIGN}1": " \t'\N{ZERO WIDTH SPACE}\N{FULLWIDTH EQUALS SIGN}1",
    "\N{LINE SEPARATOR}=1": "\N{LINE SEPARATOR}'=1",
    "a; b, c|d.jpg": "a; b, c|d.jpg",
    "photo (1), car-park; 2=3.jpg": "photo (1), car-park; 2=3.jpg",
}


@pytest.mark.parametrize("text", SPLIT)
@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_csv_text_is_no_formula_with_any_separator(user, fill, text, separator):
    fill(user, 1, 1, text)
    content = made(Detection.objects.all(), "csv").decode()
    (row,) = csv.DictReader(StringIO(content, newline=""))
    assert row["original_name"] == SPLIT[text]
    for form in ({}, {"quoting": csv.QUOTE_NONE}):
        for line in csv.reader(StringIO(content, newline=""), delimiter=separator, **form):
            assert not [cell for cell in line if cell.strip(' "\t').startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("text", COMPUTED + HARMLESS)
def test_csv_text_that_looks_like_a_formula_is_quoted(user, fill, text):
    fill(user, 1, 1, text)
    DetectionResult.objects.update(object_class=text)
    (row,) = csv.DictReader(StringIO(made(Detection.objects.all(), "csv").decode(), newline=""))
    shown = f"'{text}" if text in COMPUTED else text
    assert (row["original_name"], row["object_class"]) == (shown, shown)


def test_an_archive_of_70000_files_is_read_back(tmp_path):
    with (tmp_path / "many.zip").open("w+b") as file, zip_writer.Archive(file) as archive:
        for number in range(70_000):
            archive.add(f"{number}.txt", b"x")
    with zipfile.ZipFile(tmp_path / "many.zip") as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.read("69999.txt") == b"x"


def test_a_file_beyond_4_gigabytes_in_an_archive_is_read_back(tmp_path):
    with (tmp_path / "large.zip").open("w+b") as file:
        file.seek(2**32 + 10)  # a hole: no disk is filled
        with zip_writer.Archive(file) as archive:
            archive.add("far.txt", b"away")
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        assert archive.read("far.txt") == b"away"


# One detection in the request


@pytest.mark.parametrize("name", FORMATS)
def test_a_detection_is_exported_in_the_request(api, user, fill, tmp_path, name):
    detection, _ = fill(user, 2, 3)
    response = api(user).get(f"/api/v1/detect/{detection.pk}/export?format={name}")
    data = content_of(response)
    _, found = READERS[name](data, tmp_path)
    assert found == boxes([detection])
    assert found.total() == 3
    assert int(response["Content-Length"]) == len(data)
    extension = formats.FORMATS[name].extension
    assert response["Content-Disposition"] == f'attachment; filename="{name}-{detection.pk}{extension}"'


@pytest.mark.parametrize("query", ["", "?format=", "?format=pdf", "?format=csv%00"])
def test_an_unknown_format_is_refused(api, user, fill, query):
    (detection,) = fill(user, 1, 1)
    response = api(user).get(f"/api/v1/detect/{detection.pk}/export{query}")
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "format")


@pytest.mark.parametrize("count", [1, 3])
def test_exporting_a_detection_takes_seven_queries(api, user, submit, count, django_assert_num_queries):
    detection = submit(user, *[photo()] * count)
    processing.process_waiting()
    client = api(user)
    # The session with its user, the detection, its images' ids, how many results, the images, their
    # results, the detector.
    with django_assert_num_queries(7):
        content_of(client.get(f"/api/v1/detect/{detection.pk}/export?format=csv"))


def test_images_are_read_in_chunks_of_limited_results(user, fill, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(runs, "MOST_RESULTS", 3)
    fill(user, 3, 2)
    fill(user, 1, 4)
    ids = runs.ids_of_images(Detection.objects.all(), Export())
    with django_assert_num_queries(
        1 + 1 + 4 * 2
    ):  # how many results, the detector; for each image, it and they
        assert [len(image.results.all()) for image in runs.read_images(ids, Export())] == [2, 2, 2, 4]
    monkeypatch.setattr(runs, "MOST_RESULTS", 4)
    with django_assert_num_queries(1 + 1 + 3 * 2):
        assert [len(image.results.all()) for image in runs.read_images(ids, Export())] == [2, 2, 2, 4]


def test_a_second_export_in_a_request_answers_503_and_others_are_served(
    api, user, stranger, fill, monkeypatch
):
    monkeypatch.setattr("objectvision.lib.fair_slots.LONGEST_WAIT_SECONDS", 0)
    (own,), (other,) = fill(user, 1, 1), fill(stranger, 1, 1)
    client = api(user)
    client.raise_request_exception = False
    with large_answers.making.slot(user.pk):
        response = client.get(f"/api/v1/detect/{own.pk}/export?format=csv")
        assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "busy")
        assert content_of(api(stranger).get(f"/api/v1/detect/{other.pk}/export?format=csv"))


def test_a_head_request_leaves_no_file_open(api, user, fill):
    (detection,) = fill(user, 1, 1)
    response = api(user).head(f"/api/v1/detect/{detection.pk}/export?format=csv")
    assert response.status_code == 200
    response.close()


# Exports as jobs


@pytest.fixture
def ask(api, user):
    """Asks for an export: `ask(format="csv")`."""
    client = api(user)
    return lambda **body: client.post(EXPORTS, body)


def url_of(response):
    assert response.status_code == 200, response.content
    return response.json()["download_url"].removeprefix("http://testserver")


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_requested_made_and_downloaded_by_its_link(api, user, ask, fill, tmp_path, name):
    fill(user, 3, 4)
    response = ask(format=name)
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["download_url"]) == ("pending", None)
    place = response["Location"].removeprefix("http://testserver")
    assert runs.make_next_export() is True
    answer = api(user).get(place).json()
    assert (answer["status"], answer["total"], answer["processed"]) == ("completed", 3, 3)
    lasts = Export.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < lasts <= timedelta(hours=24)
    response = api().get(url_of(api(user).get(place)))
    _, found = READERS[name](content_of(response), tmp_path)
    assert found == boxes(Detection.objects.all())


@pytest.mark.django_db(transaction=True)
def test_each_requested_export_is_made_by_the_worker(ask, user, fill, eager):
    fill(user, 1, 1)
    for name in FORMATS:
        assert ask(format=name).status_code == 202
    assert set(Export.objects.values_list("status", flat=True)) == {"completed"}


@pytest.mark.django_db(transaction=True)
def test_an_export_can_be_requested_without_a_broker(ask, user, monkeypatch):
    monkeypatch.setattr(tasks.make_export, "delay", fail)
    assert ask(format="csv").status_code == 202


CONDITIONS = [
    {"status": "failed"},
    {"object_class": "beta"},
    {"object_class": "gnu"},
    {"min_confidence": 0.5},
    {"object_class": "beta", "min_confidence": 0.9},
    {"created_after": "2026-01-02T00:00:00Z"},
    {"created_before": "2026-01-02T00:00:00+01:00"},
    {"detector": "standin"},
    {"search": "car"},
]


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_an_export_holds_what_the_history_shows_with_the_same_filters(
    api, user, stranger, ask, fill, tmp_path, conditions
):
    old, _ = fill(user, 2, 1)
    fill(user, 1, 3, "car.jpg")
    fill(stranger, 2, 2)
    Detection.objects.filter(pk=old.pk).update(status="failed", created_at="2026-01-01T12:00Z")
    shown = {item["id"] for item in api(user).get("/api/v1/detect/history", conditions).json()["items"]}
    response = ask(format="jsonl", **conditions)
    runs.make_next_export()
    data = content_of(api().get(url_of(api(user).get(f"{EXPORTS}/{response.json()['id']}"))))
    assert {json.loads(line)["detection_id"] for line in data.splitlines()} == shown


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "format"),
        ({"format": "pdf"}, "format"),
        ({"format": "csv", "min_confidence": "0.5"}, "min_confidence"),
        ({"format": "csv", "min_confidence": 2}, "min_confidence"),
        ({"format": "csv", "status": "done"}, "status"),
        ({"format": "csv", "created_after": "yesterday"}, "created_after"),
        ({"format": "csv", "created_after": "0001-01-01T00:00:00+14:00"}, "created_after"),
        ({"format": "csv", "object_class": ["a"]}, "object_class"),
        ({"format": "csv", "search": "a\0b"}, "search"),
        ({"format": "csv", "detector": ""}, "detector"),
    ],
)
def test_an_invalid_export_request_is_refused_by_field(ask, body, attr):
    response = ask(**body)
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, attr)
    assert not Export.objects.exists()


@pytest.mark.parametrize("field", ["user", "total", "path"])
def test_an_export_takes_no_columns_of_its_own_from_the_request(ask, stranger, field):
    response = ask(format="csv", **{field: str(stranger.pk)})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"], error["attr"]) == (400, "unknown_field", field)
    assert not Export.objects.exists()


def test_a_user_with_too_many_unfinished_exports_gets_409_and_others_do_not(api, ask, stranger):
    for _ in range(runs.MOST_UNFINISHED):
        assert ask(format="csv").status_code == 202
    response = ask(format="csv")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "too_many_exports")
    assert api(stranger).post(EXPORTS, {"format": "csv"}).status_code == 202
    runs.make_next_export()
    assert ask(format="csv").status_code == 202


def test_a_user_with_too_many_kept_exports_gets_409(ask, user, monkeypatch):
    monkeypatch.setattr(runs, "MOST_KEPT", 2)
    for _ in range(2):
        ask(format="csv")
        runs.make_next_export()
    assert ask(format="csv").status_code == 409


@pytest.mark.postgresql
def test_concurrent_requests_do_not_exceed_the_export_limit(at_once, user):
    def ask():
        try:
            return runs.submit_export(user, "csv", {})
        except runs.TooManyError:
            return None

    done = at_once(*[ask] * 8)
    assert len([export for export in done if export]) == Export.objects.count() == runs.MOST_UNFINISHED


@pytest.mark.parametrize("count", [1, 3])
def test_showing_an_export_takes_two_queries(api, user, ask, count, django_assert_num_queries):
    for _ in range(count):
        answer = ask(format="csv").json()
    client = api(user)
    with django_assert_num_queries(2):  # the session with its user, the export
        client.get(f"{EXPORTS}/{answer['id']}")


@pytest.mark.parametrize("count", [1, 3])
def test_making_an_export_takes_eleven_queries(user, fill, count, django_assert_num_queries):
    fill(user, count, 2)
    runs.submit_export(user, "jsonl", {})
    # What waits, the claim, the images' ids, their number; how many results, the images, their results, the
    # detector; the end, webhooks and its event, in a transaction of two statements more.
    with django_assert_num_queries(11 + 2):
        runs.make_next_export()


def test_a_download_takes_one_query(api, link, django_assert_num_queries):
    client = api()
    with django_assert_num_queries(1):
        content_of(client.get(link))


@pytest.mark.parametrize(
    "end", [lambda user: User.objects.filter(pk=user.pk).update(is_active=False), closing.close]
)
def test_a_request_during_which_the_account_ends_creates_no_export(api, user, ask, monkeypatch, end):
    submit = runs.submit_export

    def end_then_submit(*arguments, **options):
        end(user)
        return submit(*arguments, **options)

    monkeypatch.setattr(runs, "submit_export", end_then_submit)
    assert ask(format="csv").status_code == 401
    assert not Export.objects.exists()


# Links


def reset(user):
    return passwords.reset(link_tokens.make_reset_token(user), "another-long-passphrase")


def disown(user):
    return passwords.end_all_access(link_tokens.make_end_access_token(user))


@pytest.fixture
def link(api, user, ask, fill):
    """The download link of a finished export."""
    fill(user, 1, 1)
    answer = ask(format="csv").json()
    runs.make_next_export()
    return url_of(api(user).get(f"{EXPORTS}/{answer['id']}"))


def test_a_link_with_a_wrong_signature_answers_the_same_404(api, user, ask, link):
    other = Export.objects.get(pk=ask(format="csv").json()["id"])
    runs.make_next_export()
    path, signature = link.split("?")
    foreign = f"{EXPORTS}/{other.pk}/file?{signature}"
    none = f"{EXPORTS}/{uuid4()}/file?{signature}"
    wrong = f"{path}?signature=AAAA"
    strange = f"{path}?signature=%C3%A4%3A:"
    answers = [api().get(url) for url in (foreign, none, wrong, strange)]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({answer.content for answer in answers}) == 1
    assert api(user).get(path).status_code == 400  # who is logged in needs the link, too


def test_a_link_answers_404_before_the_file_exists_and_after_it_expires(api, user, ask, link):
    waiting = Export.objects.get(pk=ask(format="csv").json()["id"])
    early = f"{EXPORTS}/{waiting.pk}/file?signature={runs.signature(waiting)}"
    assert api().get(early).status_code == 404
    assert content_of(api().get(link))
    Export.objects.update(expires_at=timezone.now())
    assert api().get(link).status_code == 404


def test_a_link_to_a_lost_file_answers_404(api, link, media):
    for file in media.rglob("exports/*"):
        file.unlink()
    assert api().get(link).status_code == 404


@pytest.mark.parametrize(
    "end", [lambda user: User.objects.filter(pk=user.pk).update(is_active=False), closing.close]
)
def test_a_link_answers_404_once_the_account_is_inactive(api, user, link, end):
    end(user)
    assert api().get(link).status_code == 404


@pytest.mark.parametrize("end", [reset, disown])
def test_a_link_answers_404_after_the_password_was_reset_or_removed(api, user, stranger, link, end):
    other = User.objects.get(pk=stranger.pk).password
    assert end(user)
    assert api().get(link).status_code == 404
    assert User.objects.get(pk=stranger.pk).password == other
    again = url_of(api(User.objects.get(pk=user.pk)).get(link.split("/file")[0]))
    assert again.split("?")[0] == link.split("?")[0]
    assert content_of(api().get(again))


def test_a_link_works_after_the_reset_of_another_users_password(api, stranger, link):
    assert reset(stranger)
    assert content_of(api().get(link))


def test_a_link_works_while_the_account_of_another_user_is_inactive(api, stranger, link):
    User.objects.filter(pk=stranger.pk).update(is_active=False)
    assert content_of(api().get(link))


def test_a_link_works_with_an_invalid_token_in_the_header(api, link):
    assert content_of(api().get(link, headers={"Authorization": "Bearer none"}))


# Workers that fail, stop or lose their claims


def fail(*_):
    raise OSError("the storage is away")


def files(media):
    return [path for path in media.rglob("*") if path.is_file()]


@pytest.fixture
def waiting(user, fill):
    fill(user, 3, 1)
    return runs.submit_export(user, "jsonl", {})


def lapse(hours=1):
    Export.objects.filter(status="processing").update(claimed_at=timezone.now() - timedelta(hours=hours))


def test_an_export_is_claimed_once(waiting):
    first, second = Export.objects.get(), Export.objects.get()
    assert (first.take(), second.take()) == (True, False)
    assert runs.make_next_export() is False


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_claim_different_exports(at_once, user):
    for _ in range(3):
        runs.submit_export(user, "csv", {})
    claimed = at_once(*[Export.objects.claim] * 6)
    assert len({export.pk for export in claimed if export}) == 3
    assert claimed.count(None) == 3


@pytest.mark.parametrize("hours", [1, -1], ids=["old", "clock put back"])
def test_an_export_of_a_dead_worker_is_made_by_another_without_leftovers(waiting, media, hours):
    crashed = Export.objects.claim()
    default_storage.save(crashed.path, BytesIO(b"half a file"))
    assert runs.sweep_exports() is False  # its claim holds
    lapse(hours)
    assert runs.sweep_exports() is True
    assert files(media) == []
    assert runs.make_next_export() is True
    export = Export.objects.get()
    assert (export.status, export.attempts) == ("completed", 2)
    assert len(files(media)) == 1
    assert crashed.complete() is False  # the late worker has lost its claim


def test_after_three_attempts_an_export_fails_with_a_reason_and_leaves_no_file(waiting, media):
    for _ in range(MAX_ATTEMPTS):
        default_storage.save(Export.objects.claim().path, BytesIO(b"half a file"))
        lapse()
        runs.sweep_exports()
    export = Export.objects.get()
    assert (export.status, export.error) == ("failed", "The file could not be made in 3 attempts.")
    assert export.expires_at > timezone.now()
    assert files(media) == []
    assert runs.make_next_export() is False


def test_an_export_that_raised_is_retried_when_its_claim_lapses(waiting, monkeypatch):
    monkeypatch.setattr(FileSystemStorage, "save", fail)
    with pytest.raises(OSError, match="away"):
        runs.make_next_export()
    assert Export.objects.get().status == "processing"
    lapse()
    monkeypatch.undo()
    assert runs.sweep_exports() is True
    assert runs.make_next_export() is True
    assert Export.objects.get().status == "completed"


def on_a_full_disk(**_):
    return Path("/dev/full").open("w+b")


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_an_export_no_attempt(waiting, media, monkeypatch):
    for method in [method for method in ("save", "_save") for _ in range(MAX_ATTEMPTS)]:
        with monkeypatch.context() as patch:
            patch.setattr(FileSystemStorage, method, full)
            assert runs.make_next_export() is True
        assert runs.make_next_export() is False  # not at once again
        assert Export.objects.values_list("status", "attempts").get() == ("processing", 0)
        lapse()
        assert runs.sweep_exports() is True
    assert files(media) == []
    assert runs.make_next_export() is True
    assert Export.objects.values_list("status", "attempts").get() == ("completed", 1)


def test_a_disk_that_fills_up_keeps_no_half_file(waiting, media, monkeypatch):
    def half(storage, name, content):
        (media / name).parent.mkdir(parents=True)
        (media / name).write_bytes(content.read(10))
        full()

    monkeypatch.setattr(FileSystemStorage, "_save", half)
    assert runs.make_next_export() is True
    assert files(media) == []


def test_an_export_without_space_for_its_temporary_file_waits(waiting, media, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    assert runs.make_next_export() is True
    assert Export.objects.values_list("status", "attempts").get() == ("processing", 0)
    assert files(media) == []


@pytest.mark.parametrize("name", FORMATS)
def test_exporting_a_detection_to_a_full_disk_answers_503(api, user, fill, monkeypatch, name):
    (detection,) = fill(user, 1, 1)
    client = api(user)
    client.raise_request_exception = False
    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    response = client.get(f"/api/v1/detect/{detection.pk}/export?format={name}")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (503, "unavailable")


def test_leftovers_are_deleted_by_the_next_sweep_if_the_storage_failed(waiting, media, monkeypatch):
    crashed = Export.objects.claim()
    default_storage.save(crashed.path, BytesIO(b"half a file"))
    lapse()
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", fail)
        assert runs.sweep_exports() is False
    assert runs.make_next_export() is False  # not before the storage is clean
    assert runs.sweep_exports() is True
    assert files(media) == []


def test_a_file_that_cannot_be_deleted_keeps_no_other_file(user, media):
    for _ in range(2):
        runs.submit_export(user, "csv", {})
        runs.make_next_export()
    stays, goes = (media / path for path in Export.objects.order_by("pk").values_list("path", flat=True))
    stays.unlink()
    (stays / "something").mkdir(parents=True)
    Export.objects.update(status="failed")
    tasks.sweep()
    left = [path for path in Export.objects.values_list("path", flat=True) if path]
    assert [media / path for path in left] == [stays]
    assert not goes.exists()
    Export.objects.update(expires_at=timezone.now())
    tasks.delete_expired()
    assert (media / Export.objects.get().path) == stays


def test_a_stopping_worker_releases_its_export_without_counting_the_attempt(waiting, stopping, monkeypatch):
    def stop(*_):
        processing.stopping.set()
        return bytearray(16)

    monkeypatch.setattr(runs, "ids_of_images", stop)
    assert runs.make_next_export() is True
    export = Export.objects.get()
    assert (export.status, export.attempts, export.path, export.claim) == ("pending", 0, "", None)
    assert runs.make_next_export() is False  # it is stopping


def test_a_worker_that_lost_its_claim_stores_no_file(waiting, media, monkeypatch):
    def take_away(*_):
        lapse()
        runs.sweep_exports()
        return bytearray()

    monkeypatch.setattr(runs, "ids_of_images", take_away)
    runs.make_next_export()
    assert files(media) == []
    assert Export.objects.get().status == "pending"


def test_a_worker_that_completes_too_late_deletes_its_file(waiting, media, monkeypatch):
    monkeypatch.setattr(Export, "complete", lambda _: False)
    runs.make_next_export()
    assert files(media) == []


def test_an_export_deleted_while_it_is_made_leaves_no_file(waiting, media, monkeypatch):
    def delete(*_):
        Export.objects.all().delete()
        return bytearray()

    monkeypatch.setattr(runs, "ids_of_images", delete)
    runs.make_next_export()
    assert files(media) == []
    assert not Export.objects.exists()


def test_progress_is_saved_while_an_export_is_made(waiting, monkeypatch):
    monkeypatch.setattr(runs, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(runs, "CHUNK", 1)
    seen = []
    keep = runs.Keeper.progress

    def look(self, processed):
        keep(self, processed)
        seen.append(Export.objects.values_list("total", "processed", "status").get())

    monkeypatch.setattr(runs.Keeper, "progress", look)
    runs.make_next_export()
    assert seen == [(3, 1, "processing"), (3, 2, "processing"), (3, 3, "processing")]


@pytest.mark.django_db(transaction=True)
def test_the_embedded_worker_processes_photos_during_an_export(waiting, user, submit, eager, monkeypatch):
    monkeypatch.setattr(runs, "PROGRESS_SECONDS", 0)
    photograph = submit(user, photo())
    seen = []
    stored = runs.store_file

    def store(*arguments):
        photograph.refresh_from_db()
        seen.append(photograph.status)
        stored(*arguments)

    monkeypatch.setattr(runs, "store_file", store)
    monkeypatch.setattr(processing, "stopping", processing.Flag())
    tasks.make_export()
    assert seen == ["completed"]


def test_an_export_claim_is_renewed_while_the_storage_saves(waiting, settings, monkeypatch):
    settings.CLAIM_LEASE_SECONDS = 0.03  # as long as it takes until four renewals are seen
    export = Export.objects.claim()
    written = []
    monkeypatch.setattr(Export, "renew", lambda *_, **values: written.append(values) or True)

    monkeypatch.setattr(FileSystemStorage, "save", lambda *_: until(lambda: len(written) > 3))
    runs.store_file(export.path, BytesIO(b"x"), runs.Keeper(export, runs.do_nothing))
    assert len(written) > 3


def test_expired_exports_are_deleted_with_their_files(waiting, user, media):
    runs.make_next_export()
    kept = runs.submit_export(user, "csv", {})
    runs.make_next_export()
    Export.objects.filter(pk=waiting.pk).update(expires_at=timezone.now())
    tasks.delete_expired()
    assert [export.pk for export in Export.objects.all()] == [kept.pk]
    assert len(files(media)) == 1


def test_an_expired_export_whose_file_cannot_be_deleted_is_retried(waiting, media, monkeypatch):
    runs.make_next_export()
    Export.objects.update(expires_at=timezone.now())
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", fail)
        assert runs.delete_expired_exports() == 0
    assert Export.objects.exists()
    assert runs.delete_expired_exports() == 1
    assert files(media) == []


def test_a_detection_deleted_during_an_export_is_omitted(user, fill):
    gone, kept = fill(user, 2, 1)
    ids = runs.ids_of_images(Detection.objects.all(), Export())
    erasure.delete_detections([gone.pk])
    assert [image.detection_id for image in runs.read_images(ids, Export())] == [kept.pk]


KEY = {"Idempotency-Key": "holiday-1"}


def ask_once(client, **wanted):
    return client.post("/api/v1/detect/exports", wanted, headers=KEY)


def test_repeating_an_export_request_with_its_key_makes_one_export(api, user):
    client = api(user)
    first, again = ask_once(client, format="csv"), ask_once(client, format="csv")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert Export.objects.count() == 1


def test_a_different_export_request_with_the_same_key_is_refused(api, user):
    ask_once(api(user), format="csv")
    for other in ({"format": "coco"}, {"format": "csv", "min_confidence": 0.5}):
        assert ask_once(api(user), **other).status_code == 422
    assert Export.objects.count() == 1


@pytest.mark.postgresql
def test_ten_concurrent_requests_with_one_key_make_one_export(at_once, api, user):
    clients = [api(user) for _ in range(10)]
    answers = at_once(*[lambda client=client: ask_once(client, format="csv") for client in clients])
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Export.objects.count() == 1
