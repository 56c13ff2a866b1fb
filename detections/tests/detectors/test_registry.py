"""Prepared weights become rows; a real export on the real runtime, in a folder of the test's own."""

import shutil

import pytest

from detections.detectors import registry
from detections.detectors.preparation import PreparationError
from detections.models import Detector


@pytest.fixture
def weights(db, settings, standin_folder, tmp_path):
    """An exported folder outside DETECTORS_DIR."""
    settings.DETECTORS_DIR = tmp_path / "detectors"
    settings.DETECTORS_DIR.mkdir()
    return shutil.copytree(standin_folder, tmp_path / "street")


def other_weights(weights, name):
    folder = shutil.copytree(weights, weights.parent / name)
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("alpha", "gamma"))
    return folder


@pytest.mark.slow
def test_registering_weights_creates_a_row_and_a_prepared_folder(weights, settings):
    detector = registry.register(str(weights))
    assert detector == Detector.objects.get()
    assert (detector.name, detector.task, detector.backend) == ("street", "detect", "openvino")
    assert (detector.image_size, detector.classes) == (64, ["alpha", "beta"])
    assert len(detector.sha256) == 64
    assert detector.folder.parent == settings.DETECTORS_DIR
    assert detector.folder.is_dir()


@pytest.mark.slow
def test_only_the_first_detector_becomes_the_default_unless_requested(weights):
    first = registry.register(str(weights))
    second = registry.register(str(other_weights(weights, "harbour")))
    assert Detector.objects.default() == first
    assert registry.register(str(weights.parent / "harbour"), default=True) == second
    assert Detector.objects.default() == second


@pytest.mark.slow
def test_registering_again_reactivates_the_existing_row(weights):
    detector = registry.register(str(weights))
    Detector.objects.update(is_active=False, is_default=False)
    assert registry.register(str(weights)) == detector
    assert Detector.objects.get().is_active is True


def test_weights_that_fail_to_load_leave_no_row(weights, tmp_path):
    (weights / "standin.xml").write_text("nonsense")
    with pytest.raises(PreparationError):
        registry.register(str(weights))
    with pytest.raises(PreparationError):
        registry.register(str(tmp_path / "nowhere"))
    assert not Detector.objects.exists()


@pytest.mark.slow
def test_setup_makes_the_model_path_detector_the_default(weights, settings):
    first = registry.register(str(weights))
    settings.MODEL_PATH = str(other_weights(weights, "harbour"))
    chosen = registry.choose_default()
    assert (chosen.name, chosen == first) == ("harbour", False)
    assert Detector.objects.default() == chosen


def test_setup_without_model_path_keeps_the_existing_default(weights, settings):
    first = registry.register(str(weights))
    settings.MODEL_PATH = ""
    assert registry.choose_default() == first
    assert Detector.objects.count() == 1
