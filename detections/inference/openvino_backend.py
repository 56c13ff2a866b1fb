"""OpenVINO with the letterbox and post-processing of ultralytics, but a third faster and without torch."""

from __future__ import annotations

import os
import queue
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detections.inference import checkpoints
from detections.inference.geometry import Letterbox
from detections.inference.metadata import COLOUR, read_metadata
from detections.inference.runtimes import import_openvino, shared_core
from detections.inference.types import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from detections.inference.metadata import Metadata
    from detections.inference.types import Options, Rows

INPUT = ("pictures", "channels", "height", "width")
GREY = 1
PADDING = 114
MAX_CANDIDATES = 30_000  # ultralytics' max_nms


class OpenVINOBackend:
    """Compiles the model twice: with one stream for each core, and with all cores for a single image."""

    def __init__(self, folder: Path) -> None:
        ov = import_openvino()
        core = shared_core()
        file = checkpoints.find_weights(folder)
        model = core.read_model(file)
        metadata = read_metadata(file)
        self.classes = metadata.names
        fix_input(model, metadata)
        self._choose = choose_output_reader(model, metadata)
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

    def is_sound_on(self, image: NDArray[np.uint8]) -> bool:
        import numpy as np

        _, output = self._lone.infer(image)
        return bool(np.isfinite(output).all())


class Engine:
    def __init__(self, ov: Any, core: Any, model: Any, hint: str) -> None:
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": usable_cores(),
            "ENABLE_CPU_PINNING": False,  # pinned, all processes of a machine would share the same cores
        }
        compiled = core.compile_model(model, "CPU", settings)
        self.lanes: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for _ in range(self.lanes):
            self._free.put(Lane(ov, compiled))

    def infer(self, image: NDArray[np.uint8]) -> tuple[Letterbox, Rows]:
        with self._free_lane() as lane:
            return lane.infer(image)

    @contextmanager
    def _free_lane(self) -> Iterator[Lane]:
        lane = self._free.get()
        try:
            yield lane
        finally:
            self._free.put(lane)


class Lane:
    """One inference request and the input canvas that it reads. Used by one thread at a time."""

    def __init__(self, ov: Any, compiled: Any) -> None:
        import numpy as np

        self._canvas = np.empty(tuple(compiled.input().shape), np.uint8)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(self._canvas, shared_memory=True))

    def infer(self, image: NDArray[np.uint8]) -> tuple[Letterbox, Rows]:
        canvas = self._canvas[0] if self._canvas.shape[-1] == COLOUR else self._canvas[0, :, :, 0]
        letterbox = Letterbox.fit((image.shape[1], image.shape[0]), (canvas.shape[1], canvas.shape[0]))
        fill_canvas(image, letterbox, canvas)
        self._request.infer()
        return letterbox, self._request.get_output_tensor().data[0].copy()


def fill_canvas(image: NDArray[np.uint8], letterbox: Letterbox, canvas: NDArray[np.uint8]) -> None:
    """The canvas is (height, width, 3), or (height, width) for a model that sees grey."""
    import cv2

    if canvas.ndim < image.ndim:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    canvas.fill(PADDING)
    cv2.resize(image, (letterbox.width, letterbox.height), dst=letterbox.part_of(canvas))


def fix_input(model: Any, metadata: Metadata) -> None:
    """Give the model's input the shape of one picture. Raises ModelError."""
    if len(model.inputs) != 1:
        raise ModelError(f"it has {len(model.inputs)} inputs, and a picture is one")
    shape = model.input().partial_shape
    sides = [side.get_length() if side.is_static else None for side in shape] if shape.rank.is_static else []
    if len(sides) != len(INPUT):
        raise ModelError(f"its input {shape} is not ({', '.join(INPUT)})")
    if not (kind := model.input().element_type).is_real():
        raise ModelError(
            f"its input holds numbers of type {kind.get_type_name()}, and pictures are given in fractions"
        )
    count, channels, height, width = sides
    if (channels := channels or metadata.channels or COLOUR) not in (GREY, COLOUR):
        raise ModelError(
            f"its input {shape} ({', '.join(INPUT)}) has {channels} channels, and pictures 3, or 1 in grey"
        )
    if count not in {None, 1}:
        raise ModelError(f"it takes {count} pictures at once: export it with a batch of 1")
    check_agreement(sides, metadata)
    size = metadata.size or (None, None)
    fixed = [1, channels, height or size[0], width or size[1]]
    if None in fixed:
        raise ModelError(
            f"neither its input {shape} nor `imgsz` in its metadata says how large its pictures are"
        )
    if model.is_dynamic():
        model.reshape(fixed)


def check_agreement(sides: list[int | None], metadata: Metadata) -> None:
    """Raises ModelError where the metadata notes another input than the model has."""
    noted = dict(zip(INPUT[1:], (metadata.channels, *(metadata.size or (None, None))), strict=True))
    for (name, said), side in zip(noted.items(), sides[1:], strict=True):
        if None not in (said, side) and said != side:
            raise ModelError(f"its metadata says {name} {said}, and its input has {side}")


def choose_output_reader(model: Any, metadata: Metadata) -> Callable[[Rows, Options], Rows]:
    """The function that reads rows out of the model's output. Raises ModelError for unknown outputs."""
    if len(model.outputs) != 1:
        raise ModelError(f"it has {len(model.outputs)} outputs, and detection models have one")
    if not (kind := model.output().element_type).is_real():
        raise ModelError(f"its output holds numbers of type {kind.get_type_name()}, and boxes need fractions")
    shape = model.output().partial_shape
    sides = [side.get_max_length() for side in shape] if shape.rank.is_static else []
    match sides, metadata.end_to_end:
        case [_, _, 6], True | None:
            return rows_from_end_to_end
        case [_, rows, _], False | None if rows == 4 + len(metadata.names):
            return rows_by_nms
    noted = {True: "end to end", False: "without NMS", None: "nothing"}[metadata.end_to_end]
    raise ModelError(
        f"its output {shape} is neither (1, n, 6), end to end, nor (1, 4 + classes, anchors), without NMS; "
        f"it has {len(metadata.names)} classes, and its metadata says {noted}"
    )


def with_preprocessing(ov: Any, model: Any) -> Any:
    """The model with an input of bytes (1, height, width, BGR or grey) and an output of 32-bit floats."""
    steps = ov.preprocess.PrePostProcessor(model)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.model().set_layout(ov.Layout("NCHW"))
    if model.input().shape[1] == COLOUR:
        picture.tensor().set_color_format(ov.preprocess.ColorFormat.BGR)
        picture.preprocess().convert_color(ov.preprocess.ColorFormat.RGB)
    picture.preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    steps.output().tensor().set_element_type(ov.Type.f32)
    return steps.build()


def rows_from_end_to_end(output: Rows, options: Options) -> Rows:
    """From rows (n, 6), best first: corners x1 y1 x2 y2, confidence, class id. They need no NMS."""
    chosen = (output[:, 4] > options.confidence) & has_wanted_class(output[:, 5], options)
    return output[chosen][: options.max_detections]


def rows_by_nms(output: Rows, options: Options) -> Rows:
    """The same rows by NMS from (4 + classes, anchors): centre, size, a confidence for each class."""
    import cv2
    import numpy as np

    columns = output[:, output[4:].max(axis=0) > options.confidence]
    class_ids = columns[4:].argmax(axis=0)
    wanted = has_wanted_class(class_ids, options)
    columns, class_ids = columns[:, wanted], class_ids[wanted]
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


def has_wanted_class(class_ids: NDArray[Any], options: Options) -> NDArray[np.bool_]:
    import numpy as np

    if options.classes is None:
        return np.ones(class_ids.shape, np.bool_)
    return np.isin(class_ids, options.classes)


def usable_cores() -> int:
    """How many cores this process may use, by its affinity and its container's quota."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    own = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(own, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return own
