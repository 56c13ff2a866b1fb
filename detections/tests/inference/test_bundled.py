"""The detector that ships with the project."""

import json

import pytest
from PIL import Image

from detections.detectors import preparation, registry
from detections.detectors.preparation import BUNDLED_FOLDER, PreparationError
from detections.inference import Options, load_detector
from detections.models import Detector
from testing.detectors import SCENES, assert_found, sample_photo
from testing.files import pictures

CLASSES = ["qr_code", "barcode", "marker"]
MODEL_BYTES = 4_000_000


@pytest.fixture(scope="module")
def bundled():
    return load_detector(BUNDLED_FOLDER, "openvino")


@pytest.fixture
def nothing_prepared(db, settings, tmp_path):
    settings.DETECTORS_DIR = tmp_path / "detectors"
    settings.MODEL_PATH = ""


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there


def as_results(found):
    """Boxes in pixels, as the API gives them."""
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


def test_the_bundled_manifest_matches_the_weights_beside_it():
    manifest = json.loads((BUNDLED_FOLDER / "manifest.json").read_text())
    files = preparation.weight_files(BUNDLED_FOLDER / "codes.xml")
    assert manifest["sha256"] == preparation.sha256_of(files)
    assert list(manifest["classes"].values()) == CLASSES
    assert manifest["image_size"] == 640
    assert manifest["measured"]["scenes"] >= 1000
    assert sum(file.stat().st_size for file in files) <= MODEL_BYTES


def test_the_bundled_detector_has_three_classes_and_image_size_640(bundled):
    assert list(bundled.classes.values()) == CLASSES
    assert bundled.image_size == 640


@pytest.mark.parametrize("scene", sorted(SCENES.glob("*.jpg")), ids=lambda file: file.stem)
def test_the_bundled_detector_finds_exactly_the_codes_of_the_sample_scenes(bundled, scene):
    found = bundled.predict(scene.read_bytes(), Options())
    with Image.open(scene) as picture:
        assert picture.size == (found.width, found.height)
    assert_found(as_results(found), scene.name)


def untidy_copies():
    """Of a sample, as cameras, archives and broken software write it."""
    photo = (SCENES / "parcel.jpg").read_bytes()
    image = Image.open(SCENES / "parcel.jpg")
    png, gif = pictures.encoded(image, "PNG"), pictures.encoded(image.quantize(256), "GIF")
    extra = pictures.with_wrong_checksum(pictures.png_chunk(b"pHYs", bytes(9)))
    raw = {256: image.width, 257: image.height, 258: 8, 259: 1, 262: 2, 273: 1000, 277: 3}
    return {
        "stray-bytes.jpg": photo.replace(b"\xff\xdb", b"\0stray\xff\xdb", 1),
        "zeros.jpg": photo[:-2] + bytes(100),
        "fill-bytes.jpg": photo[:-2] + b"\xff" * 100,
        "no-end.png": png[:-12],
        "wrong-sum.png": png[:33] + extra + png[33:],
        "no-end.gif": gif[:-1],
        "no-lengths.tif": pictures.tiff_of(raw, image.tobytes()),
    }


def test_the_bundled_detector_finds_the_same_codes_in_untidy_copies(bundled):
    for copy in untidy_copies().values():
        assert_found(as_results(bundled.predict(copy, Options())), "parcel.jpg")


def test_the_bundled_detector_merges_overlapping_boxes_even_at_iou_1(bundled):
    data = (SCENES / "parcel.jpg").read_bytes()
    found = [bundled.predict(data, Options(confidence=0.01, iou=iou)).boxes for iou in (0.4, 1.0)]
    assert found[0] == found[1]


@pytest.mark.torch  # the photos come with ultralytics
@pytest.mark.parametrize("name", ["bus.jpg", "zidane.jpg"])
def test_the_bundled_detector_finds_nothing_in_a_photo_without_codes(bundled, name):
    assert bundled.predict(sample_photo(name), Options(confidence=0.5)).boxes == ()


@pytest.mark.slow
def test_model_path_bundled_registers_the_bundled_detector(nothing_prepared, settings):
    settings.MODEL_PATH = "bundled"
    detector = registry.choose_default()
    assert (detector.name, detector.backend, detector.classes) == ("bundled", "openvino", CLASSES)
    assert Detector.objects.default() == detector


@pytest.mark.slow
def test_a_folder_named_bundled_does_not_replace_the_bundled_detector(
    nothing_prepared, settings, tmp_path, monkeypatch
):
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert registry.register("bundled").classes == CLASSES


@pytest.mark.slow
def test_without_network_the_bundled_detector_becomes_the_default(nothing_prepared, no_network, caplog):
    detector = registry.choose_default()
    assert detector.name == "bundled"
    assert Detector.objects.default() == detector
    assert "yolo26n.pt could not be downloaded" in caplog.text
    caplog.clear()
    assert registry.choose_default() == detector
    assert caplog.text == ""


def test_the_downloaded_detector_is_preferred_to_the_bundled_one(nothing_prepared, monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "register", lambda source, **_: asked.append(source))
    registry.choose_default()
    assert asked == ["yolo26n.pt"]


def test_a_failed_export_raises_instead_of_falling_back_to_the_bundled_detector(
    nothing_prepared, monkeypatch
):
    def fail(source, **_):
        raise PreparationError(f"{source} could not be exported")

    monkeypatch.setattr(registry, "register", fail)
    with pytest.raises(PreparationError, match=r"yolo26n\.pt could not be exported"):
        registry.choose_default()
