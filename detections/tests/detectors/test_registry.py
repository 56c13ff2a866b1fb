"""Prepared weights become rows; a real export on the real runtime, in a folder of the test's own."""

import shutil

import pytest

from detections import detectors
from detections.models import Detector
from detections.preparing import PreparationError


@pytest.fixture
def weights(db, settings, standin_folder, tmp_path):
    """What somebody exported: a folder outside the detectors', under a name of its own."""
    settings.DETECTORS_DIR = tmp_path / "detectors"
    settings.DETECTORS_DIR.mkdir()
    return shutil.copytree(standin_folder, tmp_path / "street")


def other_weights(weights, name):
    folder = shutil.copytree(weights, weights.parent / name)
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("alpha", "gamma"))
    return folder


def test_weights_become_a_row_with_a_prepared_folder(weights, settings):
    detector = detectors.register(str(weights))
    assert detector == Detector.objects.get()
    assert (detector.name, detector.task, detector.backend) == ("street", "detect", "openvino")
    assert (detector.image_size, detector.classes) == (64, ["alpha", "beta"])
    assert len(detector.sha256) == 64
    assert detector.folder.parent == settings.DETECTORS_DIR
    assert detector.folder.is_dir()


def test_the_first_detector_becomes_the_default_and_the_next_only_when_asked(weights):
    first = detectors.register(str(weights))
    second = detectors.register(str(other_weights(weights, "harbour")))
    assert Detector.objects.default() == first
    assert detectors.register(str(weights.parent / "harbour"), default=True) == second
    assert Detector.objects.default() == second


def test_registering_again_finds_the_row_and_makes_it_active(weights):
    detector = detectors.register(str(weights))
    Detector.objects.update(is_active=False, is_default=False)
    assert detectors.register(str(weights)) == detector
    assert Detector.objects.get().is_active is True


def test_what_is_no_detector_leaves_no_row(weights, tmp_path):
    (weights / "standin.xml").write_text("nonsense")
    with pytest.raises(PreparationError):
        detectors.register(str(weights))
    with pytest.raises(PreparationError):
        detectors.register(str(tmp_path / "nowhere"))
    assert not Detector.objects.exists()


def test_setting_up_takes_what_model_path_names(weights, settings):
    first = detectors.register(str(weights))
    settings.MODEL_PATH = str(other_weights(weights, "harbour"))
    chosen = detectors.choose_default()
    assert (chosen.name, chosen == first) == ("harbour", False)
    assert Detector.objects.default() == chosen


def test_setting_up_leaves_an_existing_default_where_nothing_is_named(weights, settings):
    first = detectors.register(str(weights))
    settings.MODEL_PATH = ""
    assert detectors.choose_default() == first
    assert Detector.objects.count() == 1
