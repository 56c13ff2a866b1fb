"""Weights that would run code are refused before any of it runs."""

import collections
import io
import os
import pickle
import struct
import zipfile

import pytest

from detections.detectors import preparation
from detections.detectors.preparation import PreparationError, prepare_detector
from detections.inference import LoadError, checkpoints, load_detector

pytestmark = pytest.mark.usefixtures("ultralytics_settings")


@pytest.fixture
def canary(tmp_path):
    """The file that a payload creates if it runs."""
    return tmp_path / "canary"


def touching(path):
    return f"touch {path}"


class Calls:
    """Pickles as a call of this function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def checkpoint(data, **more):
    """A file laid out as torch does, with this pickle in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {"data.pkl": data, "version": b"3\n", "byteorder": b"little", **more}.items():
            archive.writestr(f"weights/{name}", content)
    return out.getvalue()


def saved(content, **options):
    import torch

    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def doubled(first, second):
    """An archive with two pickles of one name: readers differ in which they take."""
    out = io.BytesIO(checkpoint(first))
    with (
        zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("weights/data.pkl", second)
    return out.getvalue()


def torchscript():
    import torch

    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    out = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(Twice()), out)
    return out.getvalue()


def hidden_name(module, name, argument):
    """A call whose module's and function's names come out of the memo, so that no opcode holds both."""
    texts = b"".join(
        b"\x8c" + bytes([len(text)]) + text.encode() + b"\x94" for text in (module, name, argument)
    )
    return b"\x80\x04" + texts + b"000h\x00h\x01\x93h\x02\x85R."


def plain_call(name, argument):
    """A call in the oldest opcodes, in text."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n(V{argument}\ntR.".encode()


def by_inst(name, argument):
    module, _, function = name.rpartition(".")
    return f"(V{argument}\ni{module}\n{function}\n.".encode()


def extension_code(argument):
    """A function by its number in copyreg's registry."""
    return b"\x80\x02\x82\x01X" + struct.pack("<I", len(argument)) + argument.encode() + b"\x85R."


def named(name, argument="x"):
    """Torch's own form of a call."""
    module, _, function = name.rpartition(".")
    text = argument.encode()
    return (
        b"\x80\x02c" + f"{module}\n{function}\n".encode()
        + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."
    )  # fmt: skip  # opcodes, one after the other


IMPORTS = {
    "system": "posix.system",
    "eval": "builtins.eval",
    "exec": "builtins.exec",
    "import": "builtins.__import__",
    "subprocess": "subprocess.Popen",
    "runpy": "runpy.run_path",
    "pickle within": "pickle.loads",
    "torch's loader": "torch.load",
    "torch hub": "torch.hub.load_state_dict_from_url",
    "installer": "ultralytics.utils.checks.check_requirements",
    "downloader": "ultralytics.utils.downloads.safe_download",
    "unrestricted loader": "ultralytics.nn.tasks.torch_safe_load",
    "what a layer's module has imported": "torch.nn.modules.module.warnings.warn",
    "a function beside the layers": "torch.nn.modules.utils._ntuple",
    "a name that only begins like a layer's": "torch.nn.modules.conv.Conv2d.__init__.__globals__",
    "a module that only begins like torch's": "torch.nn.modules_evil.Conv2d",
    "partial": "functools.partial",
    "attrgetter": "operator.attrgetter",
    "numpy's loader": "numpy.load",
    "file": "io.open",
}


@pytest.mark.parametrize("backend", ["openvino", "ultralytics"])
def test_weights_that_run_a_command_are_refused_with_its_name_and_without_running_it(
    tmp_path, canary, backend
):
    file = tmp_path / "evil.pt"
    file.write_bytes(saved({"model": Calls(os.system, touching(canary))}))
    with pytest.raises(
        PreparationError, match=r"refused: it imports posix\.system, which may run anything\.$"
    ):
        prepare_detector(str(file), backend, tmp_path / "detectors")
    assert not canary.exists()
    assert list((tmp_path / "detectors").iterdir()) == []


def refusal(folder):
    """Why a folder with weights is not loaded, by this process itself."""
    with pytest.raises(LoadError) as error:
        load_detector(folder, "ultralytics")
    return str(error.value)


@pytest.mark.parametrize("imported", IMPORTS.values(), ids=IMPORTS)
def test_a_checkpoint_that_imports_more_than_layers_is_refused_by_name(tmp_path, imported):
    (tmp_path / "evil.pt").write_bytes(checkpoint(named(imported)))
    assert f"is refused: it imports {imported}, which may run anything." in refusal(tmp_path)


FORMS = {
    "of long ago": lambda command: saved(
        {"model": Calls(os.system, command)}, _use_new_zipfile_serialization=False
    ),
    "several pickles in a row": lambda command: pickle.dumps(1) + pickle.dumps(Calls(os.system, command)),
    "a bare pickle": lambda command: pickle.dumps(Calls(os.system, command)),
    "a bare pickle in text": lambda command: plain_call("posix.system", command),
    "protocol 4, names from the memo": lambda command: checkpoint(hidden_name("posix", "system", command)),
    "protocol 0": lambda command: checkpoint(plain_call("posix.system", command)),
    "an instance": lambda command: checkpoint(by_inst("posix.system", command)),
    "a number for a name": lambda command: checkpoint(extension_code(command)),
    "protocol 5": lambda command: checkpoint(pickle.dumps(Calls(os.system, command), 5)),
    "behind a harmless one": lambda command: checkpoint(
        pickle.dumps({}, 2) + pickle.dumps(Calls(os.system, command), 2)
    ),
    "the second of two of a name": lambda command: doubled(
        pickle.dumps({}, 2), pickle.dumps(Calls(os.system, command), 2)
    ),
    "the first of two of a name": lambda command: doubled(
        pickle.dumps(Calls(os.system, command), 2), pickle.dumps({}, 2)
    ),
    "cut off": lambda command: checkpoint(pickle.dumps(Calls(os.system, command), 2)[:-1]),
    "by getattr": lambda _: checkpoint(pickle.dumps(Calls(getattr, collections.OrderedDict, "__init__"), 2)),
    "TorchScript": lambda _: torchscript(),
    "empty": lambda _: b"",
    "an archive of something else": lambda _: checkpoint(b""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_hostile_pickle_is_refused_in_every_file_format_without_running(tmp_path, canary, form):
    (tmp_path / "evil.pt").write_bytes(form(touching(canary)))
    assert refusal(tmp_path)
    assert not canary.exists()


def test_code_in_the_activation_of_a_model_description_does_not_run(tmp_path, canary):
    """A model's description names its activation in Python, which ultralytics evaluates by itself."""
    description = tmp_path / "evil.yaml"
    description.write_text(
        f"activation: __import__('os').system('{touching(canary)}')\nnc: 1\nbackbone: []\nhead: []\n"
    )
    (tmp_path / "evil.pt").write_bytes(
        checkpoint(named("ultralytics.nn.tasks.DetectionModel", str(description)))
    )
    assert refusal(tmp_path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "kind", [".pth", ".torchscript", ".pkl", ".pdmodel", ".engine", ".npz", ".yaml", ".py"]
)
def test_other_file_types_that_may_hold_a_pickle_are_refused(tmp_path, canary, kind):
    file = tmp_path / f"evil{kind}"
    file.write_bytes(pickle.dumps(Calls(os.system, touching(canary))))
    with pytest.raises(PreparationError, match=r"none of \.xml, \.onnx, \.pt"):
        prepare_detector(str(file), "auto", tmp_path / "detectors")
    with pytest.raises(PreparationError, match=r"holds no \.xml, \.onnx, \.pt"):
        prepare_detector(str(tmp_path), "auto", tmp_path / "detectors")
    assert not canary.exists()


@pytest.mark.parametrize("kind", [".onnx", ".xml"])
def test_a_pickle_named_onnx_or_xml_is_refused_without_running(tmp_path, canary, kind):
    file = tmp_path / f"evil{kind}"
    for part in (file, tmp_path / "evil.bin"):
        part.write_bytes(saved({"model": Calls(os.system, touching(canary))}))
    (tmp_path / "metadata.yaml").write_text(f'!!python/object/apply:os.system ["{touching(canary)}"]')
    for backend in ("openvino", "ultralytics"):
        with pytest.raises(PreparationError):
            prepare_detector(str(file), backend, tmp_path / "detectors")
    assert not canary.exists()


def save_untrained(names, folder):
    from detections.inference.runtimes import import_ultralytics

    for name in names:
        model = import_ultralytics().YOLO(f"{name}.yaml")
        model.ckpt = {"train_args": {"imgsz": 64}, "date": "2026-11-25", "best_fitness": None}
        model.save(folder / f"{name}.pt")


ARCHITECTURES = ["yolov5nu", "yolov6n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("architectures")
    preparation.in_subprocess(save_untrained, ARCHITECTURES, folder)
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_of_every_yolo_family_are_loaded(untrained, tmp_path, name):
    (tmp_path / "weights.pt").write_bytes((untrained / f"{name}.pt").read_bytes())
    assert len(load_detector(tmp_path, "ultralytics").classes) == 80


def test_weights_swapped_after_the_check_are_refused_by_the_loader(tmp_path, canary, untrained, monkeypatch):
    """The loader does not rely on the check that ran before it."""
    file = tmp_path / "weights.pt"
    file.write_bytes((untrained / "yolo26n.pt").read_bytes())

    def swap(checked):
        file.write_bytes(saved({"model": Calls(os.system, touching(canary))}))

    monkeypatch.setattr(checkpoints, "check_pickle", swap)
    assert "outside the supported Ultralytics checkpoint format" in refusal(tmp_path)
    assert not canary.exists()
