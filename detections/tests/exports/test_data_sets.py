"""Exports with pictures are data sets: other libraries load them, upright, with the reviewed classes."""

import json
import shutil
import zipfile
from io import BytesIO
from types import SimpleNamespace

import pytest
import yaml
from django.core.files.storage import FileSystemStorage, default_storage
from PIL import Image, ImageChops, ImageStat

from detections.exports import pictures as exported_pictures
from detections.exports import runs, space
from detections.images import pixels
from detections.jobs import processing
from detections.models import Detection, DetectionResult, Export
from detections.tests.exports.reading import (
    FORMATS,
    HEIGHT,
    LOADERS,
    READERS,
    WIDTH,
    boxes,
    made,
    rounded,
    unzipped,
)
from notifications.models import Event
from testing.files import pictures
from testing.files.pictures import avif, bmp, gif, heic, jpeg, png, tiff, webp, with_exif_orientation

# Copied with their compressed pixels; all others are drawn anew.
COPIED = {"jpeg": jpeg(), "png": png(), "webp": webp(), "grey.png": png(mode="L")}
LOSSLESS = {
    "gif": gif(),
    "bmp": bmp(),
    "tiff": tiff(),
    "grey.tiff": tiff(mode="I;16"),
    "turned.png": with_exif_orientation(6, form="PNG"),
    "turned.webp": with_exif_orientation(8, form="WEBP"),
}
LOSSY = {
    "heic": heic(),
    "avif": avif(),
    **{f"JPEG {turn}": with_exif_orientation(turn) for turn in range(2, 9)},
}
EVERY_KIND = COPIED | LOSSLESS | LOSSY
FOLDERS = {"coco": "images", "yolo": "images", "voc": "JPEGImages", "labelstudio": "images"}


@pytest.fixture
def processed(user, submit):
    """Uploads these pictures, and lets the worker find objects on them."""

    def processed(*contents):
        detection = submit(user, *contents)
        processing.process_waiting()
        detection.refresh_from_db()
        assert detection.processed == len(contents)
        return detection

    return processed


def accept(**conditions):
    DetectionResult.objects.filter(**conditions).update(review="accepted")


def data_set(name, folder, **options):
    return unzipped(made(Detection.objects.all(), name, images=True, **options), folder)


@pytest.mark.parametrize("name", LOADERS)
def test_a_data_set_of_pictures_of_every_kind_is_loaded_upright_with_its_boxes(processed, tmp_path, name):
    detection = processed(*EVERY_KIND.values())
    found = LOADERS[name](data_set(name, tmp_path))
    assert len(found) == detection.images.count() == len(EVERY_KIND)
    for image in detection.images.all():
        ((size, objects),) = (seen for file, seen in found.items() if str(image.pk) in file)
        assert size == (image.width, image.height)
        box = image.results.most_confident_first()[0]
        corners = [corner for name, corner in objects if name == box.object_class]
        assert any(seen == pytest.approx(box.corners(*size), abs=1) for seen in corners)


def test_pictures_of_a_data_set_show_what_the_detector_saw_and_carry_no_metadata(processed, tmp_path):
    detection = processed(*EVERY_KIND.values())
    folder = data_set("coco", tmp_path) / "images"
    for (kind, sent), image in zip(EVERY_KIND.items(), detection.images.order_by("pk"), strict=True):
        (file,) = folder.glob(f"*{image.pk}*")
        with Image.open(file) as shown:
            assert file.suffix[1:].upper() in {shown.format, "JPG"}
            assert not shown.getexif(), kind
            differs = ImageStat.Stat(ImageChops.difference(shown.convert("RGB"), pixels.upright(sent)))
        assert max(differs.mean) < (6 if kind in LOSSY else 0.01), kind


def test_an_upright_jpeg_is_copied_without_a_new_compression(processed, tmp_path):
    sent = jpeg(exif=pictures.exif(1), comment=b"my home")
    processed(sent)
    (file,) = (data_set("coco", tmp_path) / "images").iterdir()
    scan = sent[sent.index(b"\xff\xda") :]
    assert file.read_bytes().endswith(scan)
    assert b"my home" not in file.read_bytes()


@pytest.mark.parametrize("name", LOADERS)
def test_an_image_without_a_readable_picture_is_named_and_has_no_labels(
    user, processed, media, tmp_path, name
):
    gone, broken, _ = processed(jpeg(), heic(), jpeg()).images.order_by("pk")
    (media / gone.image_path).unlink()
    (media / broken.image_path).write_bytes(heic()[:200])
    runs.submit_export(user, name, {}, images=True)
    assert runs.make_next_export()
    export = Export.objects.get()
    assert (export.status, export.processed) == ("completed", 3)
    with default_storage.open(export.path) as file:
        folder = unzipped(file.read(), tmp_path)
    assert len(LOADERS[name](folder)) == 1
    first, second = (folder / "missing.txt").read_text().splitlines()
    assert str(gone.pk) in first
    assert "no longer in the storage" in first
    assert str(broken.pk) in second
    assert "damaged" in second
    (folder / "missing.txt").unlink()
    for file in folder.rglob("*"):
        assert str(gone.pk) not in file.name
        assert not file.is_file() or str(gone.pk).encode() not in file.read_bytes()


def test_a_picture_that_the_storage_refuses_is_named(processed, tmp_path, monkeypatch):
    processed(jpeg())
    monkeypatch.setattr(FileSystemStorage, "open", refuse)
    folder = data_set("yolo", tmp_path)
    assert "cannot be read" in (folder / "missing.txt").read_text()


def refuse(*_, **__):
    raise PermissionError("not for you")


# Reviews


@pytest.fixture
def reviewed(user, stranger, fill):
    """An image with an accepted, a relabelled, a rejected, an added and an unreviewed box; and others."""
    image = fill(user, 1, 4)[0].images.get()
    accepted, relabelled, rejected, _ = image.results.order_by("pk")
    accept(pk=accepted.pk)
    DetectionResult.objects.filter(pk=relabelled.pk).update(review="accepted", reviewed_class=NEW_CLASS)
    DetectionResult.objects.filter(pk=rejected.pk).update(review="rejected")
    added = DetectionResult.objects.create(
        user=user, detection=image.detection, image=image, object_class="alpha", class_id=1, confidence=1,
        bbox_x=0.5, bbox_y=0.5, bbox_width=0.25, bbox_height=0.25, source="person", review="accepted",
    )  # fmt: skip
    all_rejected = fill(user, 1, 1)[0].images.get()
    all_rejected.results.update(review="rejected")
    fill(user, 1, 2)
    fill(stranger, 1, 2)
    expected = [(accepted, "alpha"), (relabelled, NEW_CLASS), (added, "alpha")]
    return SimpleNamespace(image=image, background=all_rejected, expected=expected)


NEW_CLASS = "tram: <b> & 'x' \"y\" \\ # ]]> {} 名 \N{BUS}\ufffe%s"
SHOWN = {"voc": NEW_CLASS.replace("\ufffe", "\N{REPLACEMENT CHARACTER}")}  # XML cannot hold all letters


@pytest.mark.parametrize("name", FORMATS)
def test_a_reviewed_export_holds_accepted_and_added_boxes_with_their_classes(user, reviewed, tmp_path, name):
    data = made(Detection.objects.owned_by(user), name, reviewed=True)
    images, found = READERS[name](data, tmp_path)
    shown = {NEW_CLASS: SHOWN.get(name, NEW_CLASS), "alpha": "alpha"}
    assert sorted(found.elements()) == sorted(
        (str(reviewed.image.pk), shown[label], *rounded(result.corners(WIDTH, HEIGHT)))
        for result, label in reviewed.expected
    )
    # An image of which all was rejected shows nothing; of one without a review nobody knows.
    background = set() if name in {"csv", "jsonl"} else {str(reviewed.background.pk)}
    assert images == {str(reviewed.image.pk)} | background


def test_other_exports_hold_all_results_and_say_what_was_reviewed(user, reviewed, tmp_path):
    own = Detection.objects.owned_by(user)
    assert READERS["yolo"](made(own, "yolo"), tmp_path)[1] == boxes(own)
    lines = [json.loads(line) for line in made(own, "jsonl").splitlines()]
    told = {(line["source"], line["review"], line["reviewed_class"]) for line in lines}
    assert told == {
        ("model", "accepted", ""), ("model", "accepted", NEW_CLASS), ("model", "rejected", ""),
        ("model", "none", ""), ("person", "accepted", ""),
    }  # fmt: skip


def test_tasks_of_label_studio_hold_predictions_and_what_was_reviewed_as_annotations(user, reviewed):
    tasks = json.loads(made(Detection.objects.owned_by(user), "labelstudio"))
    task, background, unreviewed = (
        (len(task["predictions"][0]["result"]), [len(each["result"]) for each in task["annotations"]])
        for task in tasks
    )
    assert (task, background, unreviewed) == ((4, [3]), (1, [0]), (2, []))
    assert tasks[0]["predictions"][0]["model_version"] == "standin:1"
    assert tasks[0]["data"]["image"].endswith(
        f"/api/v1/detect/{reviewed.image.detection_id}/images/{reviewed.image.pk}"
    )


def test_a_new_class_gets_the_next_number_and_a_known_one_its_own(user, detector, reviewed, tmp_path):
    DetectionResult.objects.filter(reviewed_class=NEW_CLASS).update(reviewed_class="beta", class_id=0)
    own = Detection.objects.owned_by(user)
    coco = json.loads(made(own, "coco", reviewed=True))
    assert {found["category_id"] for found in coco["annotations"]} == {1, 2}
    rows = [json.loads(line) for line in made(own, "jsonl", reviewed=True).splitlines()]
    assert {(row["object_class"], row["class_id"]) for row in rows if row["reviewed_class"]} == {("beta", 1)}
    DetectionResult.objects.filter(reviewed_class="beta").update(reviewed_class="tram")
    with zipfile.ZipFile(BytesIO(made(own, "yolo", reviewed=True))) as archive:
        data = yaml.safe_load(archive.read("data.yaml"))
    assert data["names"] == {0: "alpha", 1: "beta", 2: "tram"}
    assert "path" not in data  # ultralytics takes one as relative to the folder in which it is started
    rows = [json.loads(line) for line in made(own, "jsonl", reviewed=True).splitlines()]
    assert {row["class_id"] for row in rows if row["reviewed_class"]} == {2}


# Space


def failed(user, export):
    assert runs.make_next_export()
    export.refresh_from_db()
    assert export.status == "failed"
    assert export.expires_at
    assert Event.objects.get(user=user, subject_id=export.pk).type == "export.failed"
    return export.error


def files(media):
    return [path for path in media.rglob("exports/*") if path.is_file()]


def test_an_export_larger_than_its_owners_share_fails_with_the_limit(
    user, stranger, submit, processed, media, settings
):
    settings.MAX_EXPORT_MB = 1
    processed(jpeg())
    runs.submit_export(user, "yolo", {}, images=True)
    assert runs.make_next_export()
    first = Export.objects.get()
    assert first.status == "completed"
    assert first.size == (media / first.path).stat().st_size
    Export.objects.update(size=space.MEGABYTE - 100)
    assert "1 MB (MAX_EXPORT_MB)" in failed(user, runs.submit_export(user, "yolo", {}, images=True))
    assert len(files(media)) == 1
    runs.submit_export(user, "yolo", {})  # without pictures: no such limit
    submit(stranger, jpeg())
    processing.process_waiting()
    runs.submit_export(stranger, "yolo", {}, images=True)
    while runs.make_next_export():
        pass
    assert Export.objects.filter(status="completed").count() == 3


def test_pictures_leave_space_for_uploads_on_the_disk(user, processed, media, monkeypatch):
    processed(jpeg())
    usage = shutil.disk_usage("/")._replace(free=space.LEAST_FREE + 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "disk" in failed(user, runs.submit_export(user, "voc", {}, images=True))
    assert files(media) == []
    runs.submit_export(user, "voc", {})
    assert runs.make_next_export()
    assert Export.objects.get(images=False).status == "completed"


# Workers that stop


@pytest.fixture
def stop_after(stopping, monkeypatch):
    def stop_after(module, name):
        act = getattr(module, name)

        def acting(*arguments, **options):
            processing.stopping.set()
            return act(*arguments, **options)

        monkeypatch.setattr(module, name, acting)

    return stop_after


@pytest.mark.parametrize("place", ["picture", "storing"])
def test_a_stopping_worker_leaves_a_data_set_between_two_pictures_and_no_file(
    user, processed, media, stop_after, place
):
    processed(jpeg(), png())
    export = runs.submit_export(user, "yolo", {}, images=True)
    stop_after(*{"picture": (exported_pictures, "wait_for_picture"), "storing": (runs, "store_file")}[place])
    assert runs.make_next_export()
    export.refresh_from_db()
    assert (export.status, export.attempts, export.path) == ("pending", 0, "")
    assert files(media) == []


def test_progress_counts_each_picture(user, processed, monkeypatch):
    processed(jpeg(), png(), gif())
    runs.submit_export(user, "coco", {}, images=True)
    monkeypatch.setattr(runs, "PROGRESS_SECONDS", 0)
    seen, renew = [], Export.renew

    def noted(self, **values):
        seen.append(values)
        return renew(self, **values)

    monkeypatch.setattr(Export, "renew", noted)
    runs.make_next_export()
    assert seen[:4] == [{"total": 3}, {"processed": 1}, {"processed": 2}, {"processed": 3}]
