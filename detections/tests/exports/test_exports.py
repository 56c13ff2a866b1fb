"""What leaves as a file is what is in the tables, as others' libraries read it, and is its owner's alone."""

import csv
import json
import time
import zipfile
from collections import Counter
from contextlib import redirect_stdout
from datetime import timedelta
from io import BytesIO, StringIO
from uuid import uuid4

import pytest
import supervision
from django.core.files.storage import FileSystemStorage, default_storage
from django.utils import timezone
from PIL import Image
from pycocotools.coco import COCO

from detections import archives, cleanup, exports, formats, processing, tasks
from detections.models import MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult, Detector, Export
from detections.tests.answers import content_of
from objectvision.tests.stack import photo

EXPORTS = "/api/v1/detect/exports"
FORMATS = ["coco", "yolo", "voc", "csv", "jsonl"]
WIDTH, HEIGHT = 640, 480


def made(detections, name):
    """An export's file, by the writer itself."""
    with archives.temporary_file() as file:
        formats.FORMATS[name].write(file, exports.images(exports.ids_of_images(detections)))
        file.seek(0)
        return file.read()


def boxes(detections):
    """What the tables hold: image, class and box in pixels, as often as it is there."""
    results = DetectionResult.objects.filter(detection__in=detections).select_related("image")
    return Counter((str(r.image_id), r.object_class, *rounded(r.corners(WIDTH, HEIGHT))) for r in results)


def rounded(corners):
    return tuple(round(float(corner)) for corner in corners)


def read_coco(data, folder):
    file = folder / "coco.json"
    file.write_bytes(data)
    with redirect_stdout(StringIO()):  # it talks
        coco = COCO(file)
    images = {image["id"]: image for image in coco.loadImgs(coco.getImgIds())}
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    found = Counter()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        image = images[annotation["image_id"]]["image_id"]
        name = names[annotation["category_id"]]
        found[image, name, *rounded((x, y, x + width, y + height))] += 1
    return {image["image_id"] for image in images.values()}, found


def unpacked(data, folder):
    """The archive's files beside empty pictures of the right size, where supervision looks for them."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    pictures = folder / "pictures"
    pictures.mkdir()
    stems = [file.stem for file in folder.rglob("*") if file.suffix in {".txt", ".xml"}]
    blank = BytesIO()
    Image.new("L", (WIDTH, HEIGHT)).save(blank, "PNG")
    for stem in stems:
        (pictures / f"{stem}.jpg").write_bytes(blank.getvalue())  # by its content: this is a test of labels
    return pictures


def read_by_supervision(dataset):
    images, found = set(), Counter()
    for path, detections in dataset.annotations.items():
        image = path.rpartition("/")[2].removesuffix(".jpg")[-36:]
        images.add(image)
        for corners, class_id in zip(detections.xyxy, detections.class_id, strict=True):
            found[image, dataset.classes[class_id], *rounded(corners)] += 1
    return images, found


def read_yolo(data, folder):
    pictures = unpacked(data, folder)
    return read_by_supervision(
        supervision.DetectionDataset.from_yolo(
            images_directory_path=str(pictures),
            annotations_directory_path=str(folder / "labels"),
            data_yaml_path=str(folder / "data.yaml"),
        )
    )


def read_voc(data, folder):
    pictures = unpacked(data, folder)
    return read_by_supervision(
        supervision.DetectionDataset.from_pascal_voc(
            images_directory_path=str(pictures), annotations_directory_path=str(folder / "Annotations")
        )
    )


def read_csv(data, folder):
    rows = list(csv.DictReader(StringIO(data.decode(), newline="")))
    corners = ("x1", "y1", "x2", "y2")
    found = Counter(
        (row["image_id"], row["object_class"], *rounded(row[corner] for corner in corners)) for row in rows
    )
    return {row["image_id"] for row in rows}, found


def read_jsonl(data, folder):
    rows = [json.loads(line) for line in data.splitlines()]
    corners = ("x1", "y1", "x2", "y2")
    found = Counter(
        (row["image_id"], row["object_class"], *rounded(row["bbox"][corner] for corner in corners))
        for row in rows
    )
    return {row["image_id"] for row in rows}, found


READERS = {"coco": read_coco, "yolo": read_yolo, "voc": read_voc, "csv": read_csv, "jsonl": read_jsonl}


@pytest.fixture
def fill(detector):
    """Gives a user so many detections of one image with so many results each, at whole pixels."""

    def fill(user, count, each, name="photo.jpg"):
        detections = Detection.objects.bulk_create(
            Detection(user=user, detector=detector, status="completed", total=1, processed=1)
            for _ in range(count)
        )
        images = DetectionImage.objects.bulk_create(
            DetectionImage(
                detection=detection, user=user, detector=detector, original_name=name, state="done",
                image_path="users/x/images/x.jpg", width=WIDTH, height=HEIGHT, processed_at=timezone.now(),
            )
            for detection in detections
        )  # fmt: skip
        DetectionResult.objects.bulk_create(
            DetectionResult(
                user=user, detection=image.detection, image=image,
                object_class=("alpha", "beta")[number % 2], class_id=number % 2,
                confidence=(number * 37 % 100) / 100,
                bbox_x=(number * 7 % 300) / WIDTH, bbox_y=(number * 11 % 200) / HEIGHT,
                bbox_width=(1 + number % 300) / WIDTH, bbox_height=(1 + number % 200) / HEIGHT,
            )
            for image in images
            for number in range(each)
        )  # fmt: skip
        return detections

    return fill


@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_results_are_read_back_equal(user, fill, tmp_path, name):
    fill(user, 100, 100)
    detections = Detection.objects.owned_by(user)
    images, found = READERS[name](made(detections, name), tmp_path)
    assert found.total() == DetectionResult.objects.count() == 10_000
    assert found == boxes(detections)
    assert images == {str(image.pk) for image in DetectionImage.objects.all()}


@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
def test_an_image_on_which_nothing_was_found_is_in_the_file(user, fill, tmp_path, name):
    fill(user, 2, 0)
    images, found = READERS[name](made(Detection.objects.all(), name), tmp_path)
    assert len(images) == 2
    assert not found


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_was_not_processed_is_in_no_file(user, submit, fill, tmp_path, name):
    submit(user, photo())
    fill(user, 1, 1)
    images, found = READERS[name](made(Detection.objects.all(), name), tmp_path)
    assert (len(images), found.total()) == (1, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_of_nothing_is_a_file_that_is_read(user, tmp_path, name):
    data = made(Detection.objects.none(), name)
    if name in {"coco", "csv", "jsonl"}:
        assert READERS[name](data, tmp_path) == (set(), Counter())
    else:
        assert zipfile.ZipFile(BytesIO(data)).testzip() is None


def numbers_of(data):
    return {category["name"]: category["id"] for category in json.loads(data)["categories"]}


def test_a_class_has_its_detectors_number_and_several_detectors_share_names(user, fill, detector):
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


def test_a_box_at_the_last_pixel_stays_inside_of_its_image_in_whole_pixels(user, fill, tmp_path):
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
def test_what_an_uploader_calls_a_file_does_no_harm_in_a_file(user, fill, tmp_path, name):
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
    assert row["original_name"].lstrip("'") == name
    assert not row["original_name"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert json.loads(made(Detection.objects.all(), "jsonl"))["original_name"] == name


def test_an_archive_of_more_files_than_a_short_directory_counts_is_read(tmp_path):
    with (tmp_path / "many.zip").open("w+b") as file, archives.Archive(file) as archive:
        for number in range(70_000):
            archive.add(f"{number}.txt", b"x")
    with zipfile.ZipFile(tmp_path / "many.zip") as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.read("69999.txt") == b"x"


def test_a_file_that_lies_beyond_4_gigabytes_in_an_archive_is_read(tmp_path):
    with (tmp_path / "large.zip").open("w+b") as file:
        file.seek(2**32 + 10)  # a hole: no disk is filled
        with archives.Archive(file) as archive:
            archive.add("far.txt", b"away")
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        assert archive.read("far.txt") == b"away"


# One detection, at once


@pytest.mark.parametrize("name", FORMATS)
def test_a_detection_is_exported_at_once(api, user, fill, tmp_path, name):
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
def test_a_format_that_is_none_is_refused(api, user, fill, query):
    (detection,) = fill(user, 1, 1)
    response = api(user).get(f"/api/v1/detect/{detection.pk}/export{query}")
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "format")


@pytest.mark.parametrize("count", [1, 3])
def test_an_export_takes_the_same_queries_however_many_images(
    api, user, submit, count, django_assert_num_queries
):
    detection = submit(user, *[photo()] * count)
    processing.run(lambda: None)
    client = api(user)
    # The session with its user, the detection, its images' ids, the images, their results, the detector.
    with django_assert_num_queries(6):
        content_of(client.get(f"/api/v1/detect/{detection.pk}/export?format=csv"))


def test_a_head_request_leaves_no_file_open(api, user, fill):
    (detection,) = fill(user, 1, 1)
    response = api(user).head(f"/api/v1/detect/{detection.pk}/export?format=csv")
    assert response.status_code == 200
    response.close()


# Many, as a job


@pytest.fixture
def ask(api, user):
    """Asks for an export: `ask(format="csv")`."""
    client = api(user)
    return lambda **body: client.post(EXPORTS, body)


def url_of(response):
    assert response.status_code == 200, response.content
    return response.json()["download_url"].removeprefix("http://testserver")


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_asked_for_made_and_downloaded_by_its_link_alone(api, user, ask, fill, tmp_path, name):
    fill(user, 3, 4)
    response = ask(format=name)
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["download_url"]) == ("pending", None)
    place = response["Location"].removeprefix("http://testserver")
    assert exports.run() is True
    answer = api(user).get(place).json()
    assert (answer["status"], answer["total"], answer["processed"]) == ("completed", 3, 3)
    lasts = Export.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < lasts <= timedelta(hours=24)
    response = api().get(url_of(api(user).get(place)))
    _, found = READERS[name](content_of(response), tmp_path)
    assert found == boxes(Detection.objects.all())


@pytest.mark.django_db(transaction=True)
def test_the_worker_is_rung_and_makes_one_export_after_the_other(ask, user, fill, eager):
    fill(user, 1, 1)
    for name in FORMATS:
        assert ask(format=name).status_code == 202
    assert set(Export.objects.values_list("status", flat=True)) == {"completed"}


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_fails_no_request(ask, user, monkeypatch):
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
def test_an_export_holds_what_the_history_shows_under_the_same_conditions(
    api, user, stranger, ask, fill, tmp_path, conditions
):
    old, _ = fill(user, 2, 1)
    fill(user, 1, 3, "car.jpg")
    fill(stranger, 2, 2)
    Detection.objects.filter(pk=old.pk).update(status="failed", created_at="2026-01-01T12:00Z")
    shown = {item["id"] for item in api(user).get("/api/v1/detect/history", conditions).json()["items"]}
    response = ask(format="jsonl", **conditions)
    exports.run()
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
def test_an_export_that_makes_no_sense_is_refused_by_name(ask, body, attr):
    response = ask(**body)
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, attr)
    assert not Export.objects.exists()


def test_an_export_is_its_owners_whatever_the_body_says(ask, user, stranger):
    assert ask(format="csv", user=str(stranger.pk), status="completed").status_code == 202
    assert Export.objects.get().user == user
    assert Export.objects.get().status == "pending"


def test_a_user_has_a_few_exports_under_way_and_others_are_not_held_up(api, ask, stranger):
    for _ in range(exports.MOST_UNFINISHED):
        assert ask(format="csv").status_code == 202
    response = ask(format="csv")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "too_many_exports")
    assert api(stranger).post(EXPORTS, {"format": "csv"}).status_code == 202
    exports.run()
    assert ask(format="csv").status_code == 202


def test_a_user_keeps_a_bounded_number_of_files(ask, user, monkeypatch):
    monkeypatch.setattr(exports, "MOST_KEPT", 2)
    for _ in range(2):
        ask(format="csv")
        exports.run()
    assert ask(format="csv").status_code == 409


@pytest.mark.postgresql
def test_requests_at_once_do_not_pass_the_limit(at_once, user):
    def ask():
        try:
            return exports.submit(user, "csv", {}, lambda: None)
        except exports.TooManyError:
            return None

    done = at_once(*[ask] * 8)
    assert len([export for export in done if export]) == Export.objects.count() == exports.MOST_UNFINISHED


@pytest.mark.parametrize("count", [1, 3])
def test_asking_how_far_an_export_is_takes_two_queries(api, user, ask, count, django_assert_num_queries):
    for _ in range(count):
        answer = ask(format="csv").json()
    client = api(user)
    with django_assert_num_queries(2):  # the session with its user, the export
        client.get(f"{EXPORTS}/{answer['id']}")


@pytest.mark.parametrize("count", [1, 3])
def test_making_an_export_takes_the_same_queries_however_many_images(
    user, fill, count, django_assert_num_queries
):
    fill(user, count, 2)
    exports.submit(user, "jsonl", {}, lambda: None)
    # What waits, the claim, the images' ids, their number, the images, their results, the detector, the end.
    with django_assert_num_queries(8):
        exports.run()


def test_a_download_takes_one_query(api, link, django_assert_num_queries):
    client = api()
    with django_assert_num_queries(1):
        content_of(client.get(link))


# Links


@pytest.fixture
def link(api, user, ask, fill):
    """Of a finished export, to its file."""
    fill(user, 1, 1)
    answer = ask(format="csv").json()
    exports.run()
    return url_of(api(user).get(f"{EXPORTS}/{answer['id']}"))


def test_a_link_that_is_not_the_exports_own_is_not_found_and_says_nothing(api, user, ask, link):
    other = Export.objects.get(pk=ask(format="csv").json()["id"])
    exports.run()
    path, signature = link.split("?")
    foreign = f"{EXPORTS}/{other.pk}/file?{signature}"
    none = f"{EXPORTS}/{uuid4()}/file?{signature}"
    wrong = f"{path}?signature=AAAA"
    strange = f"{path}?signature=%C3%A4%3A:"
    answers = [api().get(url) for url in (foreign, none, wrong, strange)]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({answer.content for answer in answers}) == 1
    assert api(user).get(path).status_code == 400  # who is logged in needs the link, too


def test_a_link_opens_nothing_before_there_is_a_file_and_after_it_expired(api, user, ask, link):
    waiting = Export.objects.get(pk=ask(format="csv").json()["id"])
    early = f"{EXPORTS}/{waiting.pk}/file?signature={exports.signature(waiting)}"
    assert api().get(early).status_code == 404
    assert content_of(api().get(link))
    Export.objects.update(expires_at=timezone.now())
    assert api().get(link).status_code == 404


def test_a_link_to_a_file_that_is_gone_is_not_found(api, link, media):
    for file in media.rglob("exports/*"):
        file.unlink()
    assert api().get(link).status_code == 404


def test_a_link_works_with_a_token_that_does_not(api, link):
    assert content_of(api().get(link, headers={"Authorization": "Bearer none"}))


# Whatever happens to a worker


def fail(*_):
    raise OSError("the storage is away")


def files(media):
    return [path for path in media.rglob("*") if path.is_file()]


@pytest.fixture
def waiting(user, fill):
    fill(user, 3, 1)
    return exports.submit(user, "jsonl", {}, lambda: None)


def lapse():
    Export.objects.filter(status="processing").update(claimed_at=timezone.now() - timedelta(hours=1))


def test_an_export_is_claimed_once(waiting):
    first, second = Export.objects.get(), Export.objects.get()
    assert (first.take(), second.take()) == (True, False)
    assert exports.run() is False


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_workers_that_claim_at_once_each_gets_another_export(at_once, user):
    for _ in range(3):
        exports.submit(user, "csv", {}, lambda: None)
    claimed = at_once(*[Export.objects.claim] * 6)
    assert len({export.pk for export in claimed if export}) == 3
    assert claimed.count(None) == 3


def test_an_export_whose_worker_is_gone_is_made_by_another_and_no_file_is_left_over(waiting, media):
    crashed = Export.objects.claim()
    default_storage.save(crashed.path, BytesIO(b"half a file"))
    assert exports.sweep() is False  # its claim holds
    lapse()
    assert exports.sweep() is True
    assert files(media) == []
    assert exports.run() is True
    export = Export.objects.get()
    assert (export.status, export.attempts) == ("completed", 2)
    assert len(files(media)) == 1
    assert crashed.complete() is False  # the late one's word does not count


def test_after_three_attempts_an_export_fails_with_a_reason_and_leaves_no_file(waiting, media):
    for _ in range(MAX_ATTEMPTS):
        default_storage.save(Export.objects.claim().path, BytesIO(b"half a file"))
        lapse()
        exports.sweep()
    export = Export.objects.get()
    assert (export.status, export.error) == ("failed", "The file could not be made in 3 attempts.")
    assert export.expires_at > timezone.now()
    assert files(media) == []
    assert exports.run() is False


def test_a_fault_leaves_the_claim_to_lapse(waiting, monkeypatch):
    monkeypatch.setattr(FileSystemStorage, "save", fail)
    with pytest.raises(OSError, match="away"):
        exports.run()
    assert Export.objects.get().status == "processing"
    lapse()
    monkeypatch.undo()
    assert exports.sweep() is True
    assert exports.run() is True
    assert Export.objects.get().status == "completed"


def test_a_storage_that_is_away_keeps_what_was_left_behind_for_the_next_sweep(waiting, media, monkeypatch):
    crashed = Export.objects.claim()
    default_storage.save(crashed.path, BytesIO(b"half a file"))
    lapse()
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", fail)
        assert exports.sweep() is False
    assert exports.run() is False  # not before the storage is clean
    assert exports.sweep() is True
    assert files(media) == []


def test_what_cannot_be_deleted_keeps_nothing_else_from_it(user, media):
    for _ in range(2):
        exports.submit(user, "csv", {}, lambda: None)
        exports.run()
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


def test_a_worker_that_is_told_to_stop_gives_the_export_back_uncounted(waiting, stopping, monkeypatch):
    def stop(*_):
        processing.stopping.set()
        return bytearray(16)

    monkeypatch.setattr(exports, "ids_of_images", stop)
    assert exports.run() is True
    export = Export.objects.get()
    assert (export.status, export.attempts, export.path, export.claim) == ("pending", 0, "", None)
    assert exports.run() is False  # it has been told to stop


def test_a_worker_whose_claim_was_taken_away_stores_nothing(waiting, media, monkeypatch):
    def take_away(*_):
        lapse()
        exports.sweep()
        return bytearray()

    monkeypatch.setattr(exports, "ids_of_images", take_away)
    exports.run()
    assert files(media) == []
    assert Export.objects.get().status == "pending"


def test_a_worker_that_is_late_with_its_file_deletes_it(waiting, media, monkeypatch):
    monkeypatch.setattr(Export, "complete", lambda _: False)
    exports.run()
    assert files(media) == []


def test_an_export_that_is_deleted_while_it_is_made_leaves_no_file(waiting, media, monkeypatch):
    def delete(*_):
        Export.objects.all().delete()
        return bytearray()

    monkeypatch.setattr(exports, "ids_of_images", delete)
    exports.run()
    assert files(media) == []
    assert not Export.objects.exists()


def test_progress_is_written_while_an_export_is_made(waiting, monkeypatch):
    monkeypatch.setattr(exports, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(exports, "CHUNK", 1)
    seen = []
    keep = exports.Keeper.progress

    def look(self, processed):
        keep(self, processed)
        seen.append(Export.objects.values_list("total", "processed", "status").get())

    monkeypatch.setattr(exports.Keeper, "progress", look)
    exports.run()
    assert seen == [(3, 1, "processing"), (3, 2, "processing"), (3, 3, "processing")]


@pytest.mark.django_db(transaction=True)
def test_in_one_process_a_photo_does_not_wait_for_an_export_of_many(
    waiting, user, submit, eager, monkeypatch
):
    monkeypatch.setattr(exports, "PROGRESS_SECONDS", 0)
    photograph = submit(user, photo())
    seen = []
    stored = exports.store

    def store(*arguments):
        photograph.refresh_from_db()
        seen.append(photograph.status)
        stored(*arguments)

    monkeypatch.setattr(exports, "store", store)
    monkeypatch.setattr(processing, "stopping", processing.Flag())
    tasks.make_export()
    assert seen == ["completed"]


def test_a_claim_is_renewed_while_the_storage_takes_its_time(waiting, settings, monkeypatch):
    settings.CLAIM_LEASE_SECONDS = 0.03
    export = Export.objects.claim()
    written = []
    monkeypatch.setattr(Export, "write", lambda *_, **values: written.append(values) or True)

    monkeypatch.setattr(FileSystemStorage, "save", lambda *_: time.sleep(0.2))
    exports.store(export.path, BytesIO(b"x"), exports.Keeper(export, exports.nothing))
    assert len(written) > 3


def test_what_expired_is_deleted_every_hour_rows_and_files(waiting, user, media):
    exports.run()
    kept = exports.submit(user, "csv", {}, lambda: None)
    exports.run()
    Export.objects.filter(pk=waiting.pk).update(expires_at=timezone.now())
    tasks.delete_expired()
    assert [export.pk for export in Export.objects.all()] == [kept.pk]
    assert len(files(media)) == 1


def test_an_expired_export_whose_file_cannot_be_deleted_is_tried_again(waiting, media, monkeypatch):
    exports.run()
    Export.objects.update(expires_at=timezone.now())
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", fail)
        assert exports.delete_expired() == 0
    assert Export.objects.exists()
    assert exports.delete_expired() == 1
    assert files(media) == []


def test_a_detection_that_is_deleted_meanwhile_is_missing_and_the_rest_is_there(user, fill):
    gone, kept = fill(user, 2, 1)
    ids = exports.ids_of_images(Detection.objects.all())
    cleanup.delete([gone.pk])
    assert [image.detection_id for image in exports.images(ids)] == [kept.pk]


KEY = {"Idempotency-Key": "holiday-1"}


def ask_once(client, **wanted):
    return client.post("/api/v1/detect/exports", wanted, headers=KEY)


def test_the_same_request_with_the_same_key_makes_one_export(api, user):
    client = api(user)
    first, again = ask_once(client, format="csv"), ask_once(client, format="csv")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert Export.objects.count() == 1


def test_another_request_with_the_same_key_is_refused(api, user):
    ask_once(api(user), format="csv")
    for other in ({"format": "coco"}, {"format": "csv", "min_confidence": 0.5}):
        assert ask_once(api(user), **other).status_code == 422
    assert Export.objects.count() == 1


@pytest.mark.postgresql
def test_of_ten_at_once_with_one_key_one_makes_an_export(at_once, api, user):
    clients = [api(user) for _ in range(10)]
    answers = at_once(*[lambda client=client: ask_once(client, format="csv") for client in clients])
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Export.objects.count() == 1
