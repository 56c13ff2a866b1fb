import hashlib
import json
import os
import socket
from pathlib import Path

import pytest

from detections.detectors import preparation
from detections.detectors.preparation import Manifest, PreparationError, prepare_detector
from detections.inference import ModelError, Options, UnsafeWeightsError, load_detector
from detections.inference.checkpoints import check_pickle
from testing.detectors import build_standin, sample_photo, tiny_onnx

pytestmark = pytest.mark.usefixtures("ultralytics_settings")


@pytest.fixture
def detectors(tmp_path):
    return tmp_path / "detectors"


@pytest.fixture
def export(tmp_path):
    return build_standin(tmp_path / "Stand.In_int8_openvino_model")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """YOLO26 with random weights."""
    file = tmp_path_factory.mktemp("weights") / "untrained.pt"
    preparation.in_subprocess(save_untrained, file)
    return file


@pytest.fixture(scope="module")
def of_untrained(tmp_path_factory):
    """Detectors of these weights, which tests find prepared: exporting them takes seconds."""
    return tmp_path_factory.mktemp("untrained") / "detectors"


def save_untrained(file):
    from detections.inference.runtimes import import_ultralytics

    model = import_ultralytics().YOLO("yolo26n.yaml")
    model.ckpt = {"train_args": {"imgsz": 64}}
    model.save(file)


def boxes(folder, backend):
    return load_detector(folder, backend).predict(sample_photo("bus.jpg"), Options()).boxes


def test_an_export_is_prepared_in_a_folder_with_name_hash_and_manifest(export, detectors):
    folder, manifest = prepare_detector(str(export), "auto", detectors)
    data = b"".join((export / name).read_bytes() for name in ("standin.xml", "standin.bin", "metadata.yaml"))
    assert manifest.sha256 == hashlib.sha256(data).hexdigest()
    assert folder == detectors / f"stand-in-{manifest.sha256[:12]}-openvino"
    assert (manifest.name, manifest.version) == ("stand-in", manifest.sha256[:12])
    assert (manifest.backend, manifest.task, manifest.image_size) == ("openvino", "detect", 64)
    assert manifest.classes == {0: "alpha", 1: "beta"}
    assert manifest.libraries.keys() >= {"openvino", "torch"}
    assert boxes(folder, "openvino") == boxes(export, "openvino")


def test_the_manifest_reads_back_as_it_was_written(export, detectors):
    folder, manifest = prepare_detector(str(export), "openvino", detectors)
    assert Manifest.read(folder) == manifest
    assert json.loads((folder / "manifest.json").read_text())["classes"] == {"0": "alpha", "1": "beta"}


def test_preparing_again_returns_the_existing_folder(export, detectors):
    first = prepare_detector(str(export), "openvino", detectors)
    assert prepare_detector(str(export), "openvino", detectors) == first
    assert list(detectors.iterdir()) == [first[0]]


def test_other_weights_of_the_same_name_get_their_own_folder(export, detectors):
    first, _ = prepare_detector(str(export), "openvino", detectors)
    build_standin(export, classes=("gamma", "delta"))
    second, manifest = prepare_detector(str(export), "openvino", detectors)
    assert manifest.classes == {0: "gamma", 1: "delta"}
    assert sorted(detectors.iterdir()) == sorted([first, second])


def test_an_export_is_prepared_for_ultralytics_too(export, detectors):
    folder, manifest = prepare_detector(str(export), "ultralytics", detectors)
    assert (manifest.backend, manifest.classes) == ("ultralytics", {0: "alpha", 1: "beta"})
    assert len(boxes(folder, "ultralytics")) == 2


def test_the_xml_file_of_an_export_stands_for_its_folder(export, detectors):
    folder, manifest = prepare_detector(str(export / "standin.xml"), "openvino", detectors)
    assert manifest.name == "standin"
    assert len(boxes(folder, "openvino")) == 2


def test_a_prepared_folder_can_be_prepared_again_elsewhere(export, detectors, tmp_path):
    folder, manifest = prepare_detector(str(export), "openvino", detectors)
    assert prepare_detector(str(folder), "openvino", tmp_path / "elsewhere")[1].sha256 == manifest.sha256


def test_an_onnx_file_is_copied_unchanged(tmp_path, detectors):
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny_onnx())
    folder, manifest = prepare_detector(str(file), "auto", detectors)
    assert manifest.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "tiny.onnx"]


def test_torch_weights_are_exported_once(untrained, of_untrained):
    folder, manifest = prepare_detector(str(untrained), "openvino", of_untrained)
    assert (manifest.name, manifest.image_size, len(manifest.classes)) == ("untrained", 64, 80)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "untrained_openvino_model"]
    changed = (folder / "untrained_openvino_model/untrained.bin").stat().st_mtime_ns
    assert prepare_detector(str(untrained), "openvino", of_untrained) == (folder, manifest)
    assert (folder / "untrained_openvino_model/untrained.bin").stat().st_mtime_ns == changed


def test_torch_weights_are_kept_for_ultralytics(untrained, of_untrained):
    folder, manifest = prepare_detector(str(untrained), "ultralytics", of_untrained)
    assert (manifest.backend, len(manifest.classes)) == ("ultralytics", 80)
    assert (folder / "untrained.pt").read_bytes() == untrained.read_bytes()


def test_torch_weights_take_any_image_size_only_on_ultralytics(untrained, of_untrained, db, settings):
    from detections.detectors import registry  # processes that this module starts have no Django

    settings.DETECTORS_DIR = of_untrained
    rows = [registry.register(str(untrained), backend=backend) for backend in ("openvino", "ultralytics")]
    assert {row.backend: row.takes_any_size for row in rows} == {"openvino": False, "ultralytics": True}


def test_both_backends_may_be_prepared_from_the_same_weights(untrained, of_untrained):
    folders = {
        prepare_detector(str(untrained), backend, of_untrained)[0] for backend in ("openvino", "ultralytics")
    }
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (
            lambda folder: (folder / "standin.xml").write_text("<net>"),
            "^stand-in does not load with openvino",
        ),
        (lambda folder: (folder / "standin.bin").unlink(), r"standin\.bin is missing"),
        (lambda folder: (folder / "metadata.yaml").unlink(), r"metadata\.yaml is missing"),
        (lambda folder: (folder / "standin.xml").unlink(), r"no \.xml, \.onnx, \.pt file"),
        (lambda folder: (folder / "second.xml").touch(), r"several \.xml files"),
    ],
)
def test_a_broken_export_is_refused_and_leaves_nothing_behind(export, detectors, break_it, reason):
    break_it(export)
    with pytest.raises(PreparationError, match=reason):
        prepare_detector(str(export), "openvino", detectors)
    assert list(detectors.iterdir()) == []


def test_weights_that_are_no_pickle_are_refused(tmp_path, detectors):
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(PreparationError, match=r"broken\.pt is refused: it is no checkpoint"):
        prepare_detector(str(tmp_path / "broken.pt"), "openvino", detectors)
    assert list(detectors.iterdir()) == []


def test_weights_that_are_a_broken_archive_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"PK\3\4" + bytes(60))
    with pytest.raises(UnsafeWeightsError, match=r"^what it imports cannot be read: [^.]*[^.]$"):
        check_pickle(tmp_path / "broken.pt")


def test_a_model_that_crashes_its_process_is_refused_in_words():
    with pytest.raises(ModelError, match="the process that tried it crashed"):
        preparation.in_subprocess(os._exit, 1)


@pytest.mark.parametrize("source", ["nowhere/yolo26n.pt", "nowhere", "yolo26n.onnx", "../yolo26n.pt"])
def test_a_path_that_does_not_exist_is_refused(source, detectors):
    with pytest.raises(PreparationError, match="neither a file or folder"):
        prepare_detector(source, "auto", detectors)


def test_a_file_of_another_kind_is_refused(tmp_path, detectors):
    (tmp_path / "weights.txt").touch()
    with pytest.raises(PreparationError, match=r"none of \.xml"):
        prepare_detector(str(tmp_path / "weights.txt"), "auto", detectors)


def test_an_unknown_backend_is_refused(export, detectors):
    with pytest.raises(PreparationError, match="no backend 'abacus'"):
        prepare_detector(str(export), "abacus", detectors)


def test_weights_that_cannot_be_downloaded_are_refused(detectors, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(PreparationError, match=r"yolo26n\.pt could not be downloaded"):
        prepare_detector("yolo26n.pt", "openvino", detectors)
    assert list(detectors.iterdir()) == []


def test_a_download_from_a_silent_server_times_out(detectors, monkeypatch):
    monkeypatch.setattr(preparation, "REACH_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PreparationError, match=r"yolo26n\.pt could not be downloaded"):
            prepare_detector("yolo26n.pt", "openvino", detectors)
    assert list(detectors.iterdir()) == []


def publish(file, ready):
    ready.set()
    part = file.with_suffix(".part")
    part.write_bytes(Path(os.environ["UNTRAINED"]).read_bytes())
    part.rename(file)


def test_downloaded_weights_are_not_downloaded_again(untrained, detectors, monkeypatch):
    monkeypatch.setenv("UNTRAINED", str(untrained))
    monkeypatch.setattr(preparation, "_download", publish)
    first = prepare_detector("published.pt", "ultralytics", detectors)
    assert first[1].name == "published"
    monkeypatch.delattr(preparation, "_download")
    assert prepare_detector("published.pt", "ultralytics", detectors) == first


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("yolo26n.pt", "yolo26n"),
        ("models/yolo26n_int8_openvino_model", "yolo26n"),
        ("yolo26n_openvino_model/", "yolo26n"),
        ("Ware House (v2).onnx", "ware-house-v2"),
        ("___.pt", "detector"),
    ],
)
def test_the_detector_name_is_made_from_the_name_of_its_source(source, name):
    assert preparation.detector_name(source) == name
