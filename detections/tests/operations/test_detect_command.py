"""The command `detect` works on files, without a server and without rows."""

import csv
import io
import json
import os

import pytest
from PIL import Image

from detections.models import Detection, DetectionImage, Detector
from testing.commands import run
from testing.files.pictures import photo

BLACK = (0, 0, 0)
# What the stand-in finds on a black square of 64 pixels.
ALPHA = {"object_class": "alpha", "class_id": 0, "confidence": 0.5, "x1": 8, "y1": 8, "x2": 40, "y2": 32}
BETA = {"object_class": "beta", "class_id": 1, "confidence": 0.4, "x1": 16, "y1": 16, "x2": 48, "y2": 56}

SEND = "send JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF"


@pytest.fixture
def folder(tmp_path):
    """Three pictures, one of them in a subfolder, a text and a hidden file."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(photo(64, 64, BLACK))
    (folder / "two.picture").write_bytes(photo(64, 64, BLACK))
    (folder / "deeper" / "one.jpg").write_bytes(photo(64, 64, BLACK))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(photo())
    return folder


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_detect_prints_the_results_of_a_file_as_a_table(detector, tmp_path):
    (tmp_path / "one.jpg").write_bytes(photo(64, 64, BLACK))
    status, out, err = run("detect", tmp_path / "one.jpg")
    assert (status, err) == (0, "Pictures: 1 with 2 objects, 0 failed.\n")
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["file", "object_class", "confidence", "x1", "y1", "x2", "y2"]
    assert [line[1:] for line in lines] == [
        ["alpha", "0.50", "8", "8", "40", "32"],
        ["beta", "0.40", "16", "16", "48", "56"],
    ]


def test_detect_writes_nothing_to_the_database_or_the_storage(detector, folder, media):
    assert run("detect", folder)[0] == 0
    assert (Detection.objects.count(), DetectionImage.objects.count()) == (0, 0)
    assert not media.exists()


def test_detect_reads_subfolders_only_with_recursive(detector, folder):
    status, out, err = run("detect", folder, "--format", "json")
    assert (status, err) == (0, "Pictures: 2 with 4 objects, 0 failed.\n")
    assert [report["file"] for report in json.loads(out)] == [f"{folder}/one.jpg", f"{folder}/two.picture"]
    _, out, _ = run("detect", folder, "--recursive", "--format", "json")
    assert [report["file"] for report in json.loads(out)] == [
        f"{folder}/one.jpg",
        f"{folder}/two.picture",
        f"{folder}/deeper/one.jpg",
    ]


def test_a_file_named_twice_is_processed_once(detector, folder):
    _, out, _ = run("detect", folder / "one.jpg", folder, folder / "one.jpg", "--format", "json")
    assert len(json.loads(out)) == 2


def test_json_has_every_picture_and_csv_a_line_for_each_object(detector, folder):
    _, out, _ = run("detect", folder / "one.jpg", "--format", "json")
    assert json.loads(out) == [
        {"file": f"{folder}/one.jpg", "width": 64, "height": 64, "error": None, "results": [ALPHA, BETA]}
    ]
    _, out, _ = run("detect", folder / "one.jpg", "--format", "csv")
    row = {"file": f"{folder}/one.jpg", "width": 64, "height": 64}
    expected = [{name: str(value) for name, value in (row | result).items()} for result in (ALPHA, BETA)]
    assert list(csv.DictReader(io.StringIO(out))) == expected
    _, out, _ = run("detect", folder / "one.jpg", "--format", "json", "--confidence", "1")
    assert json.loads(out)[0]["results"] == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--confidence", "0.45"], ["alpha"]),
        (["--confidence", "0"], ["alpha", "beta", "alpha"]),
        (["--classes", "beta"], ["beta"]),
        (["--classes", " 1, alpha"], ["alpha", "beta"]),
    ],
)
def test_confidence_and_classes_filter_the_results(detector, folder, options, found):
    _, out, _ = run("detect", folder / "one.jpg", "--format", "json", *options)
    assert [result["object_class"] for result in json.loads(out)[0]["results"]] == found


def test_a_detector_can_be_chosen_by_name_version_and_backend(detector, folder):
    Detector.objects.create(
        name="other", version="2", path=detector.path, backend="openvino", image_size=64, classes=["a"]
    )
    for name in ("other", "other:2", "other:openvino", "other:2:openvino"):
        assert run("detect", folder, "--detector", name)[0] == 0
    status, _, err = run("detect", folder, "--detector", "other:3")
    assert status == 1
    assert err == "There is no detector 'other:3', but other:2:openvino, standin:1:openvino.\n"


def test_failed_files_are_named_with_reasons_and_the_others_are_processed(detector, folder):
    (folder / "half.jpg").write_bytes(photo(400, 400)[:300])
    (folder / "empty.jpg").write_bytes(b"")
    named = [folder, folder / "gone.jpg", folder / "notes.txt", os.devnull]
    status, out, err = run("detect", *named, "--format", "json")
    assert status == 1
    assert [report["error"] is None for report in json.loads(out)] == [
        *(False, False, False, True, True, False, False)
    ]
    assert err.splitlines() == [
        f"{folder}/empty.jpg: The file is empty.",
        f"{folder}/half.jpg: The JPEG file is damaged: it ends too early.",
        f"{folder}/notes.txt: This is no picture that can be read: {SEND}.",
        f"{folder}/gone.jpg: No such file or directory.",
        f"{os.devnull}: It cannot be read as a file.",
        "Pictures: 2 with 4 objects, 5 failed.",
    ]


def test_annotated_pictures_get_safe_and_unique_names(detector, folder, tmp_path):
    output = tmp_path / "drawn" / "here"
    (folder / "../odd: \n name.jpg").resolve().write_bytes(photo(64, 64, BLACK))
    status, _, err = run("detect", folder, tmp_path / "odd: \n name.jpg", "--recursive", "--output", output)
    assert (status, err) == (0, f"Pictures: 4 with 8 objects, 0 failed. Annotated pictures: {output}.\n")
    assert files(output) == ["odd_name.jpg", "one-2.jpg", "one.jpg", "two.jpg"]
    before = (output / "one.jpg").read_bytes()
    with Image.open(output / "one.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 64))
        assert len(set(picture.get_flattened_data())) > 2  # boxes on what was black
    run("detect", folder / "one.jpg", "--output", output)
    assert files(output) == ["odd_name.jpg", "one-2.jpg", "one-3.jpg", "one.jpg", "two.jpg"]
    assert (output / "one.jpg").read_bytes() == before


def test_annotated_pictures_in_the_folder_are_skipped_by_the_next_run(detector, folder):
    for _ in range(2):
        _, _, err = run("detect", folder, "--recursive", "--output", folder / "deeper" / "drawn")
        assert err.startswith("Pictures: 3 with 6 objects, 0 failed.")
    assert len(files(folder / "deeper" / "drawn")) == 6


def test_control_characters_in_a_file_name_are_not_printed(detector, tmp_path):
    path = tmp_path / "red\x1b[31m\udcff.jpg"
    path.write_bytes(photo(64, 64, BLACK))
    _, out, _ = run("detect", path)
    assert "red\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}.jpg" in out
    assert json.loads(run("detect", path, "--format", "json")[1])[0]["file"] == str(path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--confidence", "1.5"], "argument --confidence: '1.5' is no number from 0 to 1"),
        (
            ["--format", "xml"],
            "argument --format: invalid choice: 'xml' (choose from ",
        ),
        (["--detector", "yolo"], "There is no detector 'yolo', but standin:1:openvino."),
        (["--classes", "alpha,zebra"], "standin knows no zebra, but alpha, beta."),
        (["--output", os.devnull], f"{os.devnull} cannot be the folder of pictures: File exists."),
    ],
)
def test_a_wrong_option_is_refused_before_detecting(detector, folder, options, complaint):
    status, out, err = run("detect", folder, *options)
    assert (status != 0, out) == (True, "")
    assert complaint in err


def test_detect_without_a_detector_names_the_setup_command(db, folder):
    assert run("detect", folder) == (1, "", "No detector is prepared: run manage.py setup first.\n")
