"""Which models are read, and how the others are refused: in words, not by a trace of the runtime."""

import re
import sys
import types

import pytest
import yaml
from PIL import Image

from detections.inference import LoadError, ModelError, Options, load_detector
from detections.inference.metadata import LONGEST_CLASS_NAME, Metadata
from testing.detectors import NOTED, build_standin, tiny_onnx
from testing.files.pictures import encoded

LOOSE = Options(confidence=0.3)


def refusal(folder, backend="openvino"):
    with pytest.raises(LoadError) as error:
        load_detector(folder, backend)
    return str(error.value).removeprefix(f"{folder} ")


def onnx(folder, **options):
    (folder / "tiny.onnx").write_bytes(tiny_onnx(**options))
    return folder


def found(folder, backend="openvino"):
    boxes = load_detector(folder, backend).predict(encoded(Image.new("RGB", (64, 64), "white")), LOOSE).boxes
    return [(box.object_class, box.x, box.y, box.width, box.height) for box in boxes]


def without(*keys):
    return {key: text for key, text in NOTED.items() if key not in keys}


BETA = [("beta", 0.125, 0.125, 0.5, 0.5)]


@pytest.mark.parametrize("backend", ["openvino", "ultralytics"])
@pytest.mark.parametrize("head", ["RTDETRDecoder", "LRPCHead"])
def test_an_unknown_head_is_refused_by_name(tmp_path, backend, head, ultralytics_settings):
    folder = build_standin(tmp_path / "standin_openvino_model", head=head)
    assert refusal(folder, backend).startswith(
        f"is refused: its head is {head}, and only the outputs of Detect, "
    )


@pytest.mark.parametrize("head", ["Detect", "v10Detect"])
def test_a_known_head_is_loaded(tmp_path, head):
    assert len(found(build_standin(tmp_path / "standin", head=head))) == 2


@pytest.mark.parametrize(
    "about", [{"end2end": False}, {"head": "Detect", "end2end": False, "args": {"nms": False}}], ids=str
)
def test_an_output_that_the_metadata_contradicts_is_refused(tmp_path, about):
    folder = build_standin(tmp_path / "standin", **about)
    assert "its output [1,3,6] is neither (1, n, 6), end to end, nor" in refusal(folder)
    assert "it has 2 classes, and its metadata says without NMS." in refusal(folder)


@pytest.mark.parametrize(
    ("noted", "end_to_end"),
    [
        ({}, None),
        ({"args": {"nms": False}}, None),
        ({"args": "{'nms': True}"}, True),
        ({"head": "Detect", "end2end": "False", "args": {"nms": True}}, True),
        ({"head": "Detect"}, False),
        ({"end2end": True}, True),
        ({"end2end": "False"}, False),
    ],
)
def test_whether_an_output_needs_nms_is_read_from_the_metadata(noted, end_to_end):
    assert Metadata.of({"names": ["a"], **noted}).end_to_end is end_to_end


@pytest.mark.parametrize("about", [without("task"), without("imgsz"), without("task", "imgsz")], ids=str)
def test_an_onnx_file_that_notes_neither_task_nor_size_is_read(tmp_path, about):
    assert found(onnx(tmp_path, about=about)) == BETA


@pytest.mark.parametrize("size", ["64", "[64]", "[64, 64]"])
def test_a_size_is_noted_as_one_number_or_two(tmp_path, size):
    folder = onnx(tmp_path, side=-1, about={**NOTED, "imgsz": size})
    assert load_detector(folder, "openvino").image_size == 64


def test_a_metadata_file_beside_an_onnx_file_names_its_classes(tmp_path):
    onnx(tmp_path, about={})
    assert refusal(tmp_path).endswith(
        "what its classes are called: write `names` into a metadata.yaml beside it."
    )
    (tmp_path / "metadata.yaml").write_text("names: [alpha, beta]")
    assert found(tmp_path) == BETA


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"side": -1, "about": without("imgsz")},
            "neither its input [1,3,?,?] nor `imgsz` in its metadata says how large its pictures are",
        ),
        ({"shape": (1, 4, 64, 64)}, "has 4 channels, and pictures 3, or 1 in grey"),
        ({"shape": (1, 64, 64, 3)}, "(pictures, channels, height, width) has 64 channels"),
        ({"shape": (8, 3, 64, 64)}, "it takes 8 pictures at once: export it with a batch of 1"),
        ({"shape": (1, 64, 64)}, "its input [1,64,64] is not (pictures, channels, height, width)"),
        ({"about": {**NOTED, "task": "segment"}}, "its task is segment, not detect"),
        ({"about": {**NOTED, "imgsz": "large"}}, "its metadata has no readable imgsz: 'large'"),
        ({"about": {**NOTED, "imgsz": "[1, 2, 3]"}}, "its imgsz is [1, 2, 3], no height and width"),
        ({"about": {**NOTED, "names": "{0: 'a', 5: 'b'}"}}, "the ids of its 2 classes are not 0 to 1"),
        ({"about": {**NOTED, "names": "{}"}}, "it does not say what its classes are called"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_an_onnx_file_that_cannot_be_used_says_why(tmp_path, options, reason):
    said = refusal(onnx(tmp_path, **options))
    assert said.startswith("is refused: ")
    assert reason in said


def of_type(folder, kind, *, part):
    """A stand-in whose input or output holds numbers of another type."""
    from detections.inference.runtimes import import_openvino, shared_core

    ov = import_openvino()
    build_standin(folder)
    steps = ov.preprocess.PrePostProcessor(shared_core().read_model(folder / "standin.xml"))
    getattr(steps, part)().tensor().set_element_type(getattr(ov.Type, kind))
    model = steps.build()
    for file in folder.glob("standin.*"):
        file.unlink()
    ov.save_model(model, folder / "other.xml")
    return folder


def test_a_model_that_takes_bytes_is_refused(tmp_path):
    """Scaled to fractions, all of a picture would be 0."""
    assert refusal(of_type(tmp_path / "standin", "u8", part="input")) == (
        "is refused: its input holds numbers of type u8, and pictures are given in fractions."
    )


@pytest.mark.parametrize(
    ("backend", "kind"),
    [("openvino", "i32"), pytest.param("ultralytics", "torch.int32", marks=pytest.mark.torch)],
)
def test_a_model_that_answers_in_integers_is_refused(tmp_path, backend, kind, ultralytics_settings):
    folder = of_type(tmp_path / "standin_openvino_model", "i32", part="output")
    assert refusal(folder, backend) == (
        f"is refused: its output holds numbers of type {kind}, and boxes need fractions."
    )


@pytest.mark.parametrize("backend", ["openvino", "ultralytics"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "x" * (LONGEST_CLASS_NAME + 1),
            "class 0, " + "x" * 30 + "…, has 101 characters; at most 100 are allowed",
        ),
        ("car\0", "the name of its class 0 holds characters that results cannot hold"),
        ("car\x1b", "the name of its class 0 holds characters that results cannot hold"),
        ("", "its class 0 has no name"),
    ],
    ids=["long", "NUL", "ESC", "empty"],
)
def test_a_class_name_that_no_result_can_hold_is_refused(
    tmp_path, backend, name, reason, ultralytics_settings
):
    folder = build_standin(tmp_path / "standin_openvino_model", classes=[name, "beta"])
    assert reason in refusal(folder, backend)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            (f"car{letter}", "holds characters that results cannot hold")
            for letter in "\t\n\x7f\x85\ufffe\uffff"
        ),
        (" \u3000", "its class 1 has no name"),
        (None, "its class 1 has no name"),
        ("car ", "the name of its class 1, 'car ', begins or ends with a space"),
        ("\u00a0car", "begins or ends with a space"),
    ],
    ids=ascii,
)
def test_a_class_name_that_no_list_or_file_can_hold_is_refused(name, reason):
    with pytest.raises(ModelError, match=reason):
        Metadata.of({"names": ["car", name]})


@pytest.mark.parametrize("noted", [[-640, 0], [100_000, 100_000], 0, "[640, 100000]"])
def test_an_input_size_that_no_picture_has_is_refused(noted):
    with pytest.raises(ModelError, match="sides have 1 to 8192 pixels"):
        Metadata.of({"names": ["car"], "imgsz": noted})


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"channels": 1}, "its metadata says channels 1, and its input has 3"),
        ({"channels": [3]}, "its channels are [3], no number"),
        ({"imgsz": [64, 32]}, "its metadata says width 32, and its input has 64"),
        ({"imgsz": 640}, "its metadata says height 640, and its input has 64"),
    ],
    ids=str,
)
def test_metadata_that_contradicts_the_input_is_refused(tmp_path, about, reason):
    folder = build_standin(tmp_path / "standin")
    noted = folder / "metadata.yaml"
    noted.write_text(yaml.safe_dump(yaml.safe_load(noted.read_text()) | about))
    assert reason in refusal(folder)


def test_a_class_name_may_have_a_hundred_letters(tmp_path):
    names = ["\N{CJK UNIFIED IDEOGRAPH-4EBA}" * LONGEST_CLASS_NAME, "beta"]
    assert (
        list(load_detector(build_standin(tmp_path / "standin", classes=names), "openvino").classes.values())
        == names
    )


@pytest.mark.parametrize("text", ["- a list", "{", "!!python/object:os.system {}", "\x00"])
def test_metadata_that_is_no_mapping_is_refused(tmp_path, text):
    folder = build_standin(tmp_path / "standin")
    (folder / "metadata.yaml").write_text(text)
    assert re.match(r"is refused: its metadata\.yaml is no ", refusal(folder))


def test_names_in_a_list_are_numbered(tmp_path):
    folder = build_standin(tmp_path / "standin")
    about = folder / "metadata.yaml"
    about.write_text(yaml.safe_dump(yaml.safe_load(about.read_text()) | {"names": ["one", "two"]}))
    assert load_detector(folder, "openvino").classes == {0: "one", 1: "two"}


@pytest.mark.parametrize("content", [b"<net>", b"junk"])
@pytest.mark.parametrize("name", ["broken.onnx", "broken.xml"])
def test_a_broken_file_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert re.fullmatch(
        r"does not load with openvino: RuntimeError: Unable to read the model: [^\n]*", refusal(tmp_path)
    )


def test_weights_that_are_cut_short_are_refused_in_one_line(tmp_path):
    folder = build_standin(tmp_path / "standin")
    weights = folder / "standin.bin"
    weights.write_bytes(weights.read_bytes()[:10])
    assert refusal(folder) == "does not load with openvino: RuntimeError: Incorrect weights in bin file!"


def test_a_model_with_one_channel_sees_the_picture_in_grey(tmp_path):
    import cv2
    import numpy as np

    grey = load_detector(build_standin(tmp_path / "grey", channels=1), "openvino")
    picture = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    picture.paste((250, 20, 90), (0, 0, 64, 20))
    brightness = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2GRAY).mean() / 255
    first = grey.predict(encoded(picture), LOOSE).boxes[0]
    assert first.confidence == pytest.approx(0.5 + 0.5 * brightness, abs=0.001)
    wide = grey.predict(encoded(Image.new("RGB", (128, 64))), LOOSE).boxes[0]
    assert (wide.x, wide.width) == pytest.approx((0.125, 0.5))


@pytest.mark.torch
def test_both_backends_see_the_same_grey(tmp_path, ultralytics_settings):
    folder = build_standin(tmp_path / "grey_openvino_model", channels=1)
    about = folder / "metadata.yaml"
    about.write_text(about.read_text() + "channels: 1\n")
    picture = encoded(Image.linear_gradient("L").convert("RGB").resize((90, 60)))
    ours, theirs = (
        load_detector(folder, backend).predict(picture, LOOSE) for backend in ("openvino", "ultralytics")
    )
    assert [box.confidence for box in ours.boxes] == pytest.approx(
        [box.confidence for box in theirs.boxes], abs=0.002
    )


def saved_by(module, tmp_path, monkeypatch):
    """A checkpoint of a class Model in a module of this name."""
    import torch

    for name in ("models", module):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    model = type("Model", (torch.nn.Module,), {"__module__": module})
    monkeypatch.setattr(sys.modules[module], "Model", model, raising=False)
    torch.save({"model": model(), "epoch": 1}, tmp_path / "weights.pt")
    return tmp_path


@pytest.mark.torch
def test_weights_of_yolov5s_own_repository_are_refused_by_name(tmp_path, monkeypatch, ultralytics_settings):
    said = refusal(saved_by("models.yolo", tmp_path, monkeypatch), "ultralytics")
    assert "is refused: it was saved by the repository of YOLOv5 or of a relative (models.yolo.Model)" in said


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["numbers", "list", "state", "layer", "foreign model"])
def test_a_checkpoint_without_a_model_of_ultralytics_is_refused(tmp_path, kind, ultralytics_settings):
    import torch

    layer = torch.nn.Conv2d(3, 3, 1)
    contents = {
        "numbers": {"weights": torch.zeros(3)},
        "list": [torch.zeros(3)],
        "state": {"model": layer.state_dict(), "epoch": 1},
        "layer": layer,
        "foreign model": {"model": layer, "epoch": 1},
    }
    torch.save(contents[kind], tmp_path / "weights.pt")
    assert refusal(tmp_path, "ultralytics").startswith("is refused: it holds no model of ultralytics")
