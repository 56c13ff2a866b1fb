"""All formats that ultralytics loads, with its own predictor: torch on a CPU or on CUDA."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detections.inference import checkpoints
from detections.inference.metadata import Metadata, read_metadata
from detections.inference.runtimes import import_ultralytics
from detections.inference.types import ModelError, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detections.inference.types import Rows


class UltralyticsBackend:
    lanes = 1  # its predictor keeps the current image as an attribute

    def __init__(self, folder: Path) -> None:
        import numpy as np

        file = checkpoints.find_weights(folder)
        self._model = open_model(loadable_path(file))
        self.classes = metadata_of(self._model, file).names
        self._predictor = predictor_without_warm_up()
        self._lock = threading.Lock()
        self.find(np.zeros((64, 64, 3), np.uint8), Options(), alone=True)  # YOLO() loads lazily
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

    def is_sound_on(self, image: NDArray[np.uint8]) -> bool:
        self.find(image, Options(), alone=True)
        return bool(self._model.predictor.output.isfinite().all())


def open_model(path: str) -> Any:
    """Open a model with ultralytics; a pickle only after `check_pickle`. Raises ModelError."""
    ultralytics = import_ultralytics()
    if not path.endswith(checkpoints.PICKLE):
        return ultralytics.YOLO(path)
    checkpoints.check_pickle(Path(path))
    try:
        model = ultralytics.YOLO(path)
    except (AttributeError, TypeError) as error:  # numbers alone, for example
        raise ModelError(f"it holds no model of ultralytics: {error}") from error
    if not isinstance(model.model, ultralytics.nn.tasks.BaseModel):
        raise ModelError(f"it holds no model of ultralytics, but a {type(model.model).__name__}")
    return model


def loadable_path(file: Path) -> str:
    """The path that ultralytics recognises the format by: of an IR its folder. Raises ModelError."""
    if file.suffix == ".xml" and not file.parent.name.endswith("_openvino_model"):
        raise ModelError("ultralytics reads an IR only from a folder whose name ends in _openvino_model")
    return str(file.parent if file.suffix == ".xml" else file)


def metadata_of(model: Any, file: Path) -> Metadata:
    """What an export's exporter noted; of torch weights what the model says. Raises ModelError."""
    if file.suffix != checkpoints.PICKLE:
        return read_metadata(file)
    return Metadata.of(
        {"task": model.task, "head": type(model.model.model[-1]).__name__, "names": model.names}
    )


def predictor_without_warm_up() -> Any:
    from ultralytics.models.yolo.detect import DetectionPredictor

    class Predictor(DetectionPredictor):  # type: ignore[misc]
        """Keeps the last output.

        On a CPU the warm-up only imports torchvision, which fails beside a torch of another build.
        """

        def setup_model(self, *args: Any, **kwargs: Any) -> None:
            super().setup_model(*args, **kwargs)
            self.done_warmup = self.device.type == "cpu"

        def postprocess(self, preds: Any, *args: Any, **kwargs: Any) -> Any:
            self.output = preds[0] if isinstance(preds, list | tuple) else preds
            if not self.output.is_floating_point():
                raise ModelError(
                    f"its output holds numbers of type {self.output.dtype}, and boxes need fractions"
                )
            return super().postprocess(preds, *args, **kwargs)

    return Predictor
