"""Turns weights that an operator names into a detector that workers can load. Never runs in a worker."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import multiprocessing
import re
import shutil
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from detections import inference
from detections.detectors.trial import Trial, try_out
from detections.inference import checkpoints, metadata, runtimes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

P = ParamSpec("P")
R = TypeVar("R")

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"
BACKENDS = ("auto", "openvino", "ultralytics")
MANIFEST = "manifest.json"
LONGEST_NAME = 100
PUBLISHED = re.compile(r"[\w-]+\.pt")
DISTRIBUTIONS = ("openvino", "torch", "ultralytics", "ultralytics-opencv-headless")
IMPORT_SECONDS, REACH_SECONDS, DOWNLOAD_SECONDS = 60, 10, 600
SPAWN = multiprocessing.get_context("spawn")


class PreparationError(Exception):
    """Why no detector can be made of a source, as a sentence for the operator."""


class DownloadError(PreparationError):
    """Published weights that could not be downloaded."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Describes a prepared folder. `sha256` is of the source's files, `image_size` in pixels."""

    name: str
    version: str
    sha256: str
    classes: dict[int, str]
    image_size: int
    backend: str
    task: str
    libraries: dict[str, str]
    prepared_at: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        fields["classes"] = {int(class_id): name for class_id, name in fields["classes"].items()}
        return cls(**fields)

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def prepare_detector(source: str, backend: str, detectors: Path) -> tuple[Path, Manifest]:
    """A folder below `detectors` that was loaded once on trial, and its manifest.

    `source` is a .pt, .onnx or .xml file, a folder with one of them, the name of weights that ultralytics
    publishes, such as yolo26n.pt, or `bundled` for the detector that comes with the project. A .pt file is a
    pickle: one that names anything but a model's layers is refused before any of it runs. Preparing the same
    source again returns the existing folder. Raises PreparationError.
    """
    if backend not in BACKENDS:
        raise PreparationError(f"There is no backend {backend!r}: choose one of {', '.join(BACKENDS)}.")
    detectors.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".preparing-", dir=detectors) as scratch:
        file = locate_weights(source, detectors, Path(scratch))
        return prepare_weights(file, detector_name(source), backend, Path(scratch), detectors)


def prepare_weights(
    file: Path, name: str, backend: str, scratch: Path, detectors: Path
) -> tuple[Path, Manifest]:
    files = weight_files(file)
    sha256 = sha256_of(files)
    if backend == "auto":
        backend = "ultralytics" if file.suffix == ".pt" and in_subprocess(_has_cuda) else "openvino"
    target = detectors / f"{name}-{sha256[:12]}-{backend}"
    if not (target / MANIFEST).exists():
        folder = scratch / "prepared"
        source = copy_weights(files, backend, folder)
        trial = try_detector(folder, backend, name)
        if source and not trial.agrees_with(source):
            raise PreparationError(
                f"{name}: the export finds other boxes than {file.name} on sample pictures."
            )
        manifest = Manifest(
            name=name,
            version=sha256[:12],
            sha256=sha256,
            classes=trial.classes,
            image_size=trial.image_size,
            backend=backend,
            task="detect",
            libraries=installed_libraries(),
            prepared_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        manifest.write(folder)
        move_into_place(folder, target)
    return target, Manifest.read(target)


def locate_weights(source: str, detectors: Path, scratch: Path) -> Path:
    """The main file of the source's weights, downloaded if the source is only a name."""
    path = BUNDLED_FOLDER if source == BUNDLED else Path(source).expanduser()
    if path.is_dir():
        try:
            return checkpoints.find_weights(path)
        except ValueError as error:
            raise PreparationError(f"{path} is no detector: {error}.") from error
    if path.is_file():
        if path.suffix not in checkpoints.KINDS:
            raise PreparationError(f"{path} is none of {', '.join(checkpoints.KINDS)}.")
        return path
    if PUBLISHED.fullmatch(source):
        return download_weights(source, detectors / ".downloads", scratch / "download")
    raise PreparationError(f"{source} is neither a file or folder nor the name of published weights.")


def detector_name(source: str) -> str:
    """yolo26n for yolo26n.pt, yolo26n_int8_openvino_model and the like."""
    name = re.sub(r"(_int8|_fp16|_half)?(_openvino_model)?(\.pt|\.onnx|\.xml)?$", "", Path(source).name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].rstrip("-") or "detector"


def weight_files(file: Path) -> list[Path]:
    """All files that the weights consist of, the main file first."""
    beside = file.with_name(metadata.FILE)
    if file.suffix == ".onnx" and beside.is_file():
        return [file, beside]
    if file.suffix != ".xml":
        return [file]
    files = [file, file.with_suffix(".bin"), beside]
    for part in files:
        if not part.is_file():
            raise PreparationError(f"{part} is missing.")
    return files


def sha256_of(files: list[Path]) -> str:
    """SHA-256 of the files' bytes, one after another; a single file's own SHA-256."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def copy_weights(files: list[Path], backend: str, folder: Path) -> Trial | None:
    """Copy the files into `folder`, in the form that the backend loads; a trial of what was exported."""
    # ultralytics recognises an IR only by this ending of its folder's name
    inner = folder / f"{files[0].stem}_openvino_model" if files[0].suffix == ".xml" else folder
    inner.mkdir(parents=True)
    copies = [shutil.copyfile(file, inner / file.name) for file in files]
    if backend != "openvino" or files[0].suffix != checkpoints.PICKLE:
        return None
    trial = export_to_openvino(copies[0])
    copies[0].unlink()
    return trial


def export_to_openvino(file: Path) -> Trial:
    """Write the export beside the file; a trial of the file itself, by its own framework."""
    try:
        return in_subprocess(_export, file)
    except inference.LoadError as error:
        raise PreparationError(str(error).replace(str(file.parent), file.name)) from error
    except inference.ModelError as error:
        raise PreparationError(f"{file.name} is refused: {error}.") from error
    except Exception as error:  # ultralytics and torch promise no types
        raise PreparationError(
            f"{file.name} could not be exported to OpenVINO: {inference.reason_of(error)}"
        ) from error


def try_detector(folder: Path, backend: str, name: str) -> Trial:
    """Raises PreparationError."""
    try:
        return in_subprocess(try_out, folder, backend)
    except inference.LoadError as error:
        raise PreparationError(str(error).replace(str(folder), name)) from error
    except inference.ModelError as error:
        raise PreparationError(f"{name} is refused: {error}.") from error
    except Exception as error:  # as above
        raise PreparationError(f"{name} does not run with {backend}: {inference.reason_of(error)}") from error


def installed_libraries() -> dict[str, str]:
    """The installed versions of the libraries that export and run detectors."""
    installed = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def move_into_place(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not (target / MANIFEST).exists():  # else another preparation of the same source was faster
            raise


def download_weights(name: str, kept: Path, scratch: Path) -> Path:
    """Weights that ultralytics publishes, from `kept` or downloaded. Gives up if no byte comes in 10 s."""
    if (kept / name).exists():
        return kept / name
    scratch.mkdir()
    ready = SPAWN.Event()
    process = SPAWN.Process(target=_download, args=(scratch / name, ready))
    process.start()
    wait_until(lambda: ready.is_set() or not process.is_alive(), IMPORT_SECONDS)
    wait_until(lambda: any(scratch.iterdir()) or not process.is_alive(), REACH_SECONDS)
    process.join(DOWNLOAD_SECONDS if any(scratch.iterdir()) else 0)
    process.kill()
    process.join()
    if not (scratch / name).exists():
        raise DownloadError(f"{name} could not be downloaded: give the path of a file instead.")
    kept.mkdir(exist_ok=True)
    return (scratch / name).replace(kept / name)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def in_subprocess(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Torch's memory is freed when the process ends. Raises ModelError if it crashes."""
    try:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            return pool.submit(function, *args, **kwargs).result()
    except BrokenProcessPool as error:
        raise inference.ModelError("the process that tried it crashed or had too little memory") from error


# The functions below run in processes of their own.


def _download(file: Path, ready: Event) -> None:
    runtimes.import_ultralytics(offline=False)
    from ultralytics.utils.downloads import attempt_download_asset

    ready.set()
    with contextlib.suppress(Exception):  # the parent sees by the missing file that it failed
        attempt_download_asset(file, retry=0, progress=False)


def _export(file: Path) -> Trial:
    trial = try_out(file.parent, "ultralytics")
    warnings.simplefilter("ignore")  # ultralytics still exports through functions that torch deprecates
    inference.open_model(str(file)).export(format="openvino")
    return trial


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
