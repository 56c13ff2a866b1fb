"""Makes a detector that workers can load out of what an operator names: once, checked, never at run time."""

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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from PIL import Image

from detections import inference
from detections.inference import runtimes, weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

P = ParamSpec("P")
R = TypeVar("R")

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"
BACKENDS = ("auto", "openvino", "ultralytics")
MANIFEST = "manifest.json"
PUBLISHED = re.compile(r"[\w-]+\.pt")
DISTRIBUTIONS = ("openvino", "torch", "ultralytics", "ultralytics-opencv-headless")
IMPORT_SECONDS, REACH_SECONDS, DOWNLOAD_SECONDS = 60, 10, 600
SPAWN = multiprocessing.get_context("spawn")


class PreparationError(Exception):
    """A source that no detector can be made of, and why."""


class DownloadError(PreparationError):
    """Published weights that did not come."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared folder holds. `sha256` is of the source's files, `image_size` in pixels."""

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


def prepare(source: str, backend: str, detectors: Path) -> tuple[Path, Manifest]:
    """A folder below `detectors` that `inference.load` has loaded, and its manifest. Raises PreparationError.

    `source` is a .pt, .onnx or .xml file, a folder with one of them, the name of weights that ultralytics
    publishes, such as yolo26n.pt, or `bundled` for those that come with the project. A .pt file is a pickle:
    one that names anything but a model's layers is refused before any of it runs. Preparing the same again
    answers with the folder that is there.
    """
    if backend not in BACKENDS:
        raise PreparationError(f"There is no backend {backend!r}: choose one of {', '.join(BACKENDS)}.")
    detectors.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".preparing-", dir=detectors) as scratch:
        file = locate(source, detectors, Path(scratch))
        return prepare_file(file, name_of(source), backend, Path(scratch), detectors)


def prepare_file(
    file: Path, name: str, backend: str, scratch: Path, detectors: Path
) -> tuple[Path, Manifest]:
    files = parts(file)
    sha256 = digest(files)
    if backend == "auto":
        backend = "ultralytics" if file.suffix == ".pt" and apart(_has_cuda) else "openvino"
    target = detectors / f"{name}-{sha256[:12]}-{backend}"
    if not (target / MANIFEST).exists():
        folder = scratch / "prepared"
        collect(files, backend, folder)
        classes, image_size = try_out(folder, backend, name)
        manifest = Manifest(
            name=name,
            version=sha256[:12],
            sha256=sha256,
            classes=classes,
            image_size=image_size,
            backend=backend,
            task="detect",
            libraries=libraries(),
            prepared_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        manifest.write(folder)
        move(folder, target)
    return target, Manifest.read(target)


def locate(source: str, detectors: Path, scratch: Path) -> Path:
    """The source's main weights file, downloaded where it is only a name."""
    path = BUNDLED_FOLDER if source == BUNDLED else Path(source).expanduser()
    if path.is_dir():
        try:
            return weights.find(path)
        except ValueError as error:
            raise PreparationError(f"{path} is no detector: {error}.") from error
    if path.is_file():
        if path.suffix not in weights.KINDS:
            raise PreparationError(f"{path} is none of {', '.join(weights.KINDS)}.")
        return path
    if PUBLISHED.fullmatch(source):
        return download(source, detectors / ".downloads", scratch / "download")
    raise PreparationError(f"{source} is neither a file or folder nor the name of published weights.")


def name_of(source: str) -> str:
    """yolo26n for yolo26n.pt, yolo26n_int8_openvino_model and the like."""
    name = re.sub(r"(_int8|_fp16|_half)?(_openvino_model)?(\.pt|\.onnx|\.xml)?$", "", Path(source).name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "detector"


def parts(file: Path) -> list[Path]:
    """All files that the weights consist of, the main one first."""
    if file.suffix != ".xml":
        return [file]
    files = [file, file.with_suffix(".bin"), file.with_name("metadata.yaml")]
    for part in files:
        if not part.is_file():
            raise PreparationError(f"{part} is missing.")
    return files


def digest(files: list[Path]) -> str:
    """SHA-256 of the files' bytes, one after another: of a single file, its own."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def collect(files: list[Path], backend: str, folder: Path) -> None:
    """Put into `folder` what the backend loads."""
    # ultralytics recognises an IR only by this ending of its folder's name
    inner = folder / f"{files[0].stem}_openvino_model" if files[0].suffix == ".xml" else folder
    inner.mkdir(parents=True)
    copies = [shutil.copyfile(file, inner / file.name) for file in files]
    if backend == "openvino" and files[0].suffix == ".pt":
        export(copies[0])
        copies[0].unlink()


def export(file: Path) -> None:
    try:
        apart(_export, str(file))
    except inference.UnsafeWeightsError as error:
        raise PreparationError(f"{file.name} is refused: {error}.") from error
    except Exception as error:  # ultralytics and torch promise no types, and the process itself may have died
        raise PreparationError(f"{file.name} could not be exported to OpenVINO: {error}") from error


def try_out(folder: Path, backend: str, name: str) -> tuple[dict[int, str], int]:
    """The classes and the image size of a folder that loads and predicts."""
    try:
        return apart(_try_out, folder, backend)
    except inference.LoadError as error:
        raise PreparationError(str(error).replace(str(folder), name)) from error
    except Exception as error:  # as above
        raise PreparationError(f"{name} does not run with {backend}: {error}") from error


def libraries() -> dict[str, str]:
    """The installed versions of what loads and makes detectors."""
    installed = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def move(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not (target / MANIFEST).exists():  # else another preparation of the same was first
            raise


def download(name: str, kept: Path, scratch: Path) -> Path:
    """Weights that ultralytics publishes: kept from before, else downloaded if that begins within 10 s."""
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


def apart(deed: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """In a process of its own: torch and its memory end with it, and if it dies that is an exception here."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(deed, *args, **kwargs).result()


# What follows runs in processes of its own.


def _download(file: Path, ready: Event) -> None:
    runtimes.import_ultralytics(offline=False)
    from ultralytics.utils.downloads import attempt_download_asset

    ready.set()
    with contextlib.suppress(Exception):  # whatever the reason: the parent looks for the file
        attempt_download_asset(file, retry=0, progress=False)


def _export(file: str) -> None:
    warnings.simplefilter("ignore")  # ultralytics still exports by what torch deprecates
    inference.open_model(file).export(format="openvino")


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _try_out(folder: Path, backend: str) -> tuple[dict[int, str], int]:
    stream = BytesIO()
    Image.linear_gradient("L").save(stream, "PNG")
    detector = inference.load(folder, backend)
    for alone in (True, False):
        detector.predict(stream.getvalue(), inference.Options(), alone=alone)
    return detector.classes, detector.image_size
