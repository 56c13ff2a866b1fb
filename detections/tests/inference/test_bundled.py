"""The detector that ships with the project, as it ships."""

import json

import pytest
from PIL import Image

from detections import detectors, preparing
from detections.inference import Options, load
from detections.models import Detector
from detections.preparing import BUNDLED_FOLDER, PreparationError
from detections.tests.samples import FOLDER, assert_found
from detections.tests.test_inference import PHOTOS

CLASSES = ["qr_code", "barcode", "marker"]
MODEL_BYTES = 4_000_000


@pytest.fixture(scope="module")
def bundled():
    return load(BUNDLED_FOLDER, "openvino")


@pytest.fixture
def nothing_prepared(db, settings, tmp_path):
    settings.DETECTORS_DIR = tmp_path / "detectors"
    settings.MODEL_PATH = ""


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody answers there


def as_results(found):
    """In pixels, as the API gives them."""
    return [
        {
            "object_class": box.object_class,
            "bbox": {
                "x1": box.x * found.width,
                "y1": box.y * found.height,
                "x2": (box.x + box.width) * found.width,
                "y2": (box.y + box.height) * found.height,
            },
        }
        for box in found.boxes
    ]


def test_the_manifest_is_that_of_the_weights_beside_it():
    manifest = json.loads((BUNDLED_FOLDER / "manifest.json").read_text())
    files = preparing.parts(BUNDLED_FOLDER / "codes.xml")
    assert manifest["sha256"] == preparing.digest(files)
    assert list(manifest["classes"].values()) == CLASSES
    assert manifest["image_size"] == 640
    assert manifest["measured"]["scenes"] >= 1000
    assert sum(file.stat().st_size for file in files) <= MODEL_BYTES


def test_it_knows_its_classes_and_its_size(bundled):
    assert list(bundled.classes.values()) == CLASSES
    assert bundled.image_size == 640


@pytest.mark.parametrize("scene", sorted(FOLDER.glob("*.jpg")), ids=lambda file: file.stem)
def test_it_finds_every_code_in_the_sample_scenes_and_nothing_else(bundled, scene):
    found = bundled.predict(scene.read_bytes(), Options())
    with Image.open(scene) as picture:
        assert picture.size == (found.width, found.height)
    assert_found(as_results(found), scene.name)


def test_boxes_that_overlap_much_are_one_code_whatever_iou_allows(bundled):
    data = (FOLDER / "parcel.jpg").read_bytes()
    found = [bundled.predict(data, Options(confidence=0.01, iou=iou)).boxes for iou in (0.4, 1.0)]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["bus.jpg", "zidane.jpg"])
def test_it_finds_no_code_in_a_photo_without_one(bundled, name):
    assert bundled.predict((PHOTOS / name).read_bytes(), Options(confidence=0.5)).boxes == ()


def test_model_path_names_it(nothing_prepared, settings):
    settings.MODEL_PATH = "bundled"
    detector = detectors.choose_default()
    assert (detector.name, detector.backend, detector.classes) == ("bundled", "openvino", CLASSES)
    assert Detector.objects.default() == detector


def test_a_folder_of_the_same_name_does_not_take_its_place(nothing_prepared, settings, tmp_path, monkeypatch):
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert detectors.register("bundled").classes == CLASSES


def test_where_nothing_can_be_downloaded_it_is_the_default_and_stays_it(nothing_prepared, no_network, caplog):
    detector = detectors.choose_default()
    assert detector.name == "bundled"
    assert Detector.objects.default() == detector
    assert "yolo26n.pt could not be downloaded" in caplog.text
    caplog.clear()
    assert detectors.choose_default() == detector
    assert caplog.text == ""


def test_what_can_be_downloaded_comes_first(nothing_prepared, monkeypatch):
    asked = []
    monkeypatch.setattr(detectors, "register", lambda source, **_: asked.append(source))
    detectors.choose_default()
    assert asked == ["yolo26n.pt"]


def test_another_failure_than_the_download_is_not_hidden(nothing_prepared, monkeypatch):
    def fail(source, **_):
        raise PreparationError(f"{source} could not be exported")

    monkeypatch.setattr(detectors, "register", fail)
    with pytest.raises(PreparationError, match=r"yolo26n\.pt could not be exported"):
        detectors.choose_default()
