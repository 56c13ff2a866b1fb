"""Everything that ultralytics loads, on its own engine and post-processing: torch on CPU or CUDA."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import pickles, weights
from .contract import Options
from .runtimes import import_ultralytics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .contract import Rows


PICKLES = ".pt"


class UltralyticsBackend:
    lanes = 1  # its predictor keeps the image in work on itself

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self._model = open_model(source(folder))
        check(self._model)
        self._predictor = predictor_without_warm_up()
        self._lock = threading.Lock()
        self.find(np.zeros((64, 64, 3), np.uint8), Options(), alone=True)  # loads what YOLO() left for later
        self.classes = {int(class_id): str(name) for class_id, name in self._model.names.items()}
        self.image_size = max(self._model.predictor.imgsz)

    def find(self, image: NDArray[np.uint8], options: Options, *, alone: bool) -> Rows:  # noqa: ARG002 - one engine
        with self._lock:
            [result] = self._model.predict(
                image,
                conf=options.confidence,
                iou=options.iou,
                classes=None if options.classes is None else list(options.classes),
                max_det=options.max_detections,
                **({"imgsz": options.image_size} if options.image_size else {}),
                predictor=self._predictor,
                verbose=False,
            )
        rows: Rows = result.boxes.data.cpu().numpy()
        return rows


def open_model(path: str) -> Any:
    """Whatever ultralytics loads; a pickle only once it is known to name nothing but layers.

    Raises UnsafeWeightsError.
    """
    ultralytics = import_ultralytics()
    if path.endswith(PICKLES):
        pickles.check(Path(path))
    return ultralytics.YOLO(path)


def source(folder: Path) -> str:
    """The path that ultralytics recognises the format by: for an OpenVINO IR its folder."""
    file = weights.find(folder)
    if file.suffix == ".xml" and not file.parent.name.endswith("_openvino_model"):
        raise ValueError("ultralytics reads an IR only from a folder whose name ends in _openvino_model")
    return str(file.parent if file.suffix == ".xml" else file)


def check(model: Any) -> None:
    if model.task != "detect":
        raise ValueError(f"its task is {model.task}, not detect")


def predictor_without_warm_up() -> Any:
    from ultralytics.models.yolo.detect import DetectionPredictor

    class Predictor(DetectionPredictor):  # type: ignore[misc]
        """On a CPU the warm-up only imports torchvision, which fails beside a torch of another build."""

        def setup_model(self, *args: Any, **kwargs: Any) -> None:
            super().setup_model(*args, **kwargs)
            self.done_warmup = self.device.type == "cpu"

    return Predictor
