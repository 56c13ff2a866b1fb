"""OpenVINO without ultralytics: its letterbox and post-processing again, a third faster and without torch."""

from __future__ import annotations

import ast
import os
import queue
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from detections.geometry import Letterbox

from . import weights
from .runtimes import import_openvino

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from .contract import Options, Rows

PADDING = 114
MAX_CANDIDATES = 30_000  # ultralytics' max_nms


class OpenVINOBackend:
    """Two engines of the same model: one stream a core for many images, all cores for a lone one."""

    def __init__(self, folder: Path) -> None:
        ov = import_openvino()
        core = the_core()
        file = weights.find(folder)
        model = core.read_model(file)
        about = read_metadata(file, model)
        self.classes = {int(class_id): str(name) for class_id, name in about["names"].items()}
        self._choose = head(model, about)
        if model.is_dynamic():
            model.reshape([1, 3, *about["imgsz"]])
        self.image_size = max(list(model.input().shape)[2:])
        model = with_preprocessing(ov, model)
        self._many = Engine(ov, core, model, "THROUGHPUT")
        self._lone = Engine(ov, core, model, "LATENCY")
        self.lanes = self._many.lanes

    def find(self, image: NDArray[np.uint8], options: Options, *, alone: bool) -> Rows:
        engine = self._lone if alone else self._many
        letterbox, output = engine.infer(image)
        rows = self._choose(output, options)
        rows[:, :4] = letterbox.restore(rows[:, :4])
        return rows


# One a process, for its life. A core's CPU plugin gives its thread a stack for signal handlers, and the one
# before when it goes: of two whose lives overlap, the last leaves a stack behind that is gone.
@cache
def the_core() -> Any:
    return import_openvino().Core()


class Engine:
    def __init__(self, ov: Any, core: Any, model: Any, hint: str) -> None:
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": cores(),
            "ENABLE_CPU_PINNING": False,  # pinned, all processes of a machine would share the same cores
        }
        compiled = core.compile_model(model, "CPU", settings)
        self.lanes: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for _ in range(self.lanes):
            self._free.put(Lane(ov, compiled))

    def infer(self, image: NDArray[np.uint8]) -> tuple[Letterbox, Rows]:
        with self._lane() as lane:
            return lane.infer(image)

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self._free.get()
        try:
            yield lane
        finally:
            self._free.put(lane)


class Lane:
    """One request with the canvas that it reads; for one thread at a time."""

    def __init__(self, ov: Any, compiled: Any) -> None:
        import numpy as np

        self._canvas = np.empty(tuple(compiled.input().shape), np.uint8)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(self._canvas, shared_memory=True))

    def infer(self, image: NDArray[np.uint8]) -> tuple[Letterbox, Rows]:
        canvas = self._canvas[0]
        letterbox = Letterbox.fit((image.shape[1], image.shape[0]), (canvas.shape[1], canvas.shape[0]))
        draw(image, letterbox, canvas)
        self._request.infer()
        return letterbox, self._request.get_output_tensor().data[0].copy()


def draw(image: NDArray[np.uint8], letterbox: Letterbox, canvas: NDArray[np.uint8]) -> None:
    import cv2

    canvas.fill(PADDING)
    cv2.resize(image, (letterbox.width, letterbox.height), dst=letterbox.place(canvas))


def read_metadata(file: Path, model: Any) -> dict[str, Any]:
    """What ultralytics' exporter wrote about the model: `names`, `imgsz`, `task` and more."""
    beside = file.with_name("metadata.yaml")
    if beside.exists():
        return dict(yaml.safe_load(beside.read_text(encoding="utf-8")))
    if model.has_rt_info("framework"):  # ONNX carries it inside, every value as text
        inside = model.get_rt_info("framework").value
        return {key: ast.literal_eval(inside[key]) for key in ("names", "imgsz")} | {"task": inside["task"]}
    raise ValueError("it holds no metadata.yaml with the names of the classes")


def head(model: Any, about: dict[str, Any]) -> Callable[[Rows, Options], Rows]:
    """How the model's output is read. Raises ValueError for another task and for other forms of output."""
    if about["task"] != "detect":
        raise ValueError(f"its task is {about['task']}, not detect")
    shape = model.output().partial_shape
    match [side.get_max_length() for side in shape]:
        case [_, _, 6]:
            return choose_end_to_end
        case [_, rows, _] if rows == 4 + len(about["names"]):
            return choose_by_nms
    raise ValueError(f"its output {shape} is neither (1, n, 6) nor (1, 4 + classes, anchors)")


def with_preprocessing(ov: Any, model: Any) -> Any:
    """The model with an input of BGR bytes (1, height, width, 3) and an output of 32-bit floats."""
    steps = ov.preprocess.PrePostProcessor(model)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.tensor().set_color_format(ov.preprocess.ColorFormat.BGR)
    picture.model().set_layout(ov.Layout("NCHW"))
    picture.preprocess().convert_color(ov.preprocess.ColorFormat.RGB)
    picture.preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    steps.output().tensor().set_element_type(ov.Type.f32)
    return steps.build()


def choose_end_to_end(output: Rows, options: Options) -> Rows:
    """Of rows (n, 6), best first: corners x1 y1 x2 y2, confidence, class id."""
    chosen = (output[:, 4] > options.confidence) & allowed(output[:, 5], options)
    return output[chosen][: options.max_detections]


def choose_by_nms(output: Rows, options: Options) -> Rows:
    """The same rows from columns (4 + classes, anchors): centre, size, a confidence for each class."""
    import cv2
    import numpy as np

    columns = output[:, output[4:].max(axis=0) > options.confidence]
    class_ids = columns[4:].argmax(axis=0)
    columns, class_ids = columns[:, allowed(class_ids, options)], class_ids[allowed(class_ids, options)]
    centres, sizes, confidences = columns[:2].T, columns[2:4].T, columns[4:].max(axis=0)
    corners = centres - sizes / 2
    kept = cv2.dnn.NMSBoxesBatched(
        np.hstack([corners, sizes]).astype(float),  # type: ignore[arg-type]  # takes arrays
        confidences,
        class_ids.astype(np.int32),
        options.confidence,
        options.iou,
        top_k=MAX_CANDIDATES,
    )
    rows = np.column_stack([corners, centres + sizes / 2, confidences, class_ids])
    return rows[list(kept)[: options.max_detections]].astype(np.float32)


def allowed(class_ids: NDArray[Any], options: Options) -> NDArray[np.bool_]:
    import numpy as np

    if options.classes is None:
        return np.ones(class_ids.shape, np.bool_)
    return np.isin(class_ids, options.classes)


def cores() -> int:
    """The cores that this process may use: its affinity, and a container's quota."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    own = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(own, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return own
