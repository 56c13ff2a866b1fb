"""Tries a detector on known pictures before it is registered: are its boxes what they are taken for?"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detections import inference
from detections.images.boxes import Box, iou

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

SCENES = Path(__file__).parents[1] / "bundled" / "samples"
PADDING = 114
# With so little confidence, every model finds something on every picture.
LEAST_CONFIDENT = inference.Options(confidence=0.0, max_detections=300)
MOST_JUDGED = 20  # boxes of a picture, the most confident ones
LEAST_COMPARED = 0.01  # below, boxes are noise, which every runtime rounds otherwise
# Of boxes that are read as they are meant, 90 % and more are plausible; of others at most 30 %.
LEAST_SHARE = 0.5
SAME_OBJECT_IOU = 0.5
POINT = 2  # pixels of the input: boxes in shares of it, taken for pixels, are smaller

Boxes = tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a detector says of itself, and its boxes on each sample picture, most confident first."""

    classes: dict[int, str]
    image_size: int
    boxes: tuple[Boxes, ...]

    def agrees_with(self, source: Trial) -> bool:
        """Whether most boxes that its source finds are found here, too."""
        found = [
            has_like(mine, box)
            for mine, boxes in zip(self.boxes, source.boxes, strict=True)
            for box in boxes[:MOST_JUDGED]
            if box.confidence >= LEAST_COMPARED
        ]
        return sum(found) >= LEAST_SHARE * len(found)


def has_like(boxes: Boxes, box: Box) -> bool:
    return any(other.class_id == box.class_id and iou(other, box) >= SAME_OBJECT_IOU for other in boxes)


def try_out(folder: Path, backend: str) -> Trial:
    """Load the folder and predict. Raises LoadError, ModelError."""
    detector = inference.load_detector(folder, backend)
    side = detector.image_size
    pictures = [sample_picture(file, side) for file in sample_files()]
    if not all(detector.is_sound_on(picture) for picture in pictures):
        raise inference.ModelError("its output on sample pictures holds NaN or infinite numbers")
    found = [detector.find(picture, LEAST_CONFIDENT, alone=True) for picture in pictures]
    check_rows([rows[:MOST_JUDGED] for rows in found], detector.classes)
    detector.find(pictures[0], LEAST_CONFIDENT, alone=False)
    boxes = tuple(inference.boxes_from(rows, (side, side), detector.classes) for rows in found)
    return Trial(detector.classes, side, boxes)


def sample_files() -> list[Path]:
    """Scenes that come with the project, and the photos that come with ultralytics where it is installed."""
    package = find_spec("ultralytics")
    folders = [SCENES]
    if package and package.origin:
        folders.append(Path(package.origin).parent / "assets")
    return [file for folder in folders for file in sorted(folder.glob("*.jpg"))]


def sample_picture(file: Path, side: int) -> NDArray[np.uint8]:
    """As a square of this side: ultralytics pads pictures less for torch weights than for exports."""
    import cv2

    image = inference.decode(file.read_bytes())
    height, width = image.shape[:2]
    below, right = max(width - height, 0), max(height - width, 0)
    square = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    picture: NDArray[np.uint8] = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return picture


def check_rows(found: list[Any], classes: Collection[int]) -> None:
    """Raises ModelError unless the rows, as a backend returns them, can be boxes."""
    import numpy as np

    rows = np.concatenate(found)
    left, top, right, bottom, confidence, class_id = rows.T
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise inference.ModelError("the confidences of its boxes are not between 0 and 1")
    if not np.isin(class_id, list(classes)).all():
        raise inference.ModelError(f"its boxes have classes that are none of its {len(classes)}")
    width, height = right - left, bottom - top
    plausible = (width > 0) & (height > 0) & (np.maximum(width, height) > POINT)
    if plausible.sum() < LEAST_SHARE * len(rows):
        raise inference.ModelError(
            f"{(~plausible).sum()} of its {len(rows)} most confident boxes on sample pictures are empty or "
            "single pixels: its output is in another form than its metadata says"
        )
