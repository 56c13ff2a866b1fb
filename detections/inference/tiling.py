"""Tiling and mirroring: runs a backend on several views of an image and merges the boxes.

A view is the whole image, a tile of it, or the mirror image of either. Tiles show small objects larger than
the whole image does once it is scaled to the model's input. An object that several views show is one box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detections.inference import geometry
from detections.inference.types import PredictionInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from detections.inference.types import Backend, Options, Rows

# IoU from which boxes of one class in different views are one object. Views differ in scale, so their boxes
# agree less than boxes of the same view.
SAME_OBJECT_IOU = 0.5
# A box that a tile's edge cuts is dropped if another box covers this share of it.
COVERED_SHARE = 0.5
# Of all views together, the most confident: the time for merging grows with the square of their number.
MOST_CANDIDATES = 10_000
# Pixels from an edge within which a box counts as cut: models rarely draw a box to the very last pixel.
EDGE_PIXELS = 2.0


@dataclass(frozen=True, slots=True)
class View:
    """Part of an image, perhaps mirrored. `left` and `top` are its position in the image, in pixels."""

    pixels: NDArray[np.uint8]
    left: int = 0
    top: int = 0
    mirrored: bool = False

    def restore(self, rows: Rows) -> Rows:
        """Rows found in this view, in pixels of the whole image."""
        rows = rows.copy()
        if self.mirrored:
            rows[:, [0, 2]] = self.pixels.shape[1] - rows[:, [2, 0]]
        rows[:, [0, 2]] += self.left
        rows[:, [1, 3]] += self.top
        return rows

    def cuts(self, rows: Rows, width: int, height: int) -> NDArray[np.bool_]:
        """Which restored rows reach an edge of this view that is no edge of the image."""
        right, bottom = self.left + self.pixels.shape[1], self.top + self.pixels.shape[0]
        x1, y1, x2, y2 = rows[:, :4].T
        reached: NDArray[np.bool_] = (
            ((x1 < self.left + EDGE_PIXELS) & (self.left > 0))
            | ((y1 < self.top + EDGE_PIXELS) & (self.top > 0))
            | ((x2 > right - EDGE_PIXELS) & (right < width))
            | ((y2 > bottom - EDGE_PIXELS) & (bottom < height))
        )
        return reached


def find_in_views(
    backend: Backend,
    image: NDArray[np.uint8],
    options: Options,
    *,
    alone: bool,
    stopped: Callable[[], bool],
) -> Rows:
    """Rows as a backend returns them, from all views that the options ask for, in pixels of the image.

    Calls `stopped` before every view. Raises PredictionInterruptedError.
    """
    import numpy as np

    if not options.tile and not options.augment:
        return backend.find(image, options, alone=alone)
    height, width = image.shape[:2]
    found, cut = [], []
    for view in make_views(image, options):
        if stopped():
            raise PredictionInterruptedError
        rows = view.restore(backend.find(view.pixels, options, alone=alone))
        found.append(rows)
        cut.append(view.cuts(rows, width, height))
    return merge_rows(np.concatenate(found), np.concatenate(cut), options)


def make_views(image: NDArray[np.uint8], options: Options) -> Iterator[View]:
    """The whole image, then its tiles; each followed by its mirror image if `augment` is set."""
    import numpy as np

    plain = [View(image)]
    if options.tile:
        size, height, width = options.tile, *image.shape[:2]
        for left, top in geometry.tiles((width, height), size, options.overlap):
            part = np.ascontiguousarray(image[top : top + size, left : left + size])
            plain.append(View(part, left, top))
    for view in plain:
        yield view
        if options.augment:
            yield View(np.ascontiguousarray(view.pixels[:, ::-1]), view.left, view.top, mirrored=True)


def merge_rows(rows: Rows, cut: NDArray[np.bool_], options: Options) -> Rows:
    """Each object once: whole boxes after NMS, then cut boxes that no box of their class covers."""
    import numpy as np

    best = np.argsort(-rows[:, 4], kind="stable")[:MOST_CANDIDATES]
    rows, cut = rows[best], cut[best]
    whole = suppress_by_class(rows[~cut], min(options.iou, SAME_OBJECT_IOU))
    kept = np.empty((len(whole) + int(cut.sum()), 6), np.float32)
    kept[: len(whole)], count = whole, len(whole)
    for row in rows[cut]:
        if (kept[:count, 4] >= row[4]).sum() >= options.max_detections:
            break  # the rest is less confident than all that will be returned
        alike = kept[:count][kept[:count, 5] == row[5]]
        if not (share_covered(row, alike) >= COVERED_SHARE).any():
            kept[count], count = row, count + 1
    found = kept[:count]
    return found[np.argsort(-found[:, 4], kind="stable")][: options.max_detections]


def suppress_by_class(rows: Rows, iou: float) -> Rows:
    """NMS within each class."""
    import cv2
    import numpy as np

    if not len(rows):
        return rows
    boxes = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2]]).astype(float)
    # The stubs of OpenCV name sequences; it takes arrays.
    kept = cv2.dnn.NMSBoxesBatched(boxes, rows[:, 4], rows[:, 5].astype(np.int32), 0.0, iou)  # type: ignore[arg-type]
    return rows[list(kept)]


def share_covered(row: Any, others: Rows) -> Any:
    """The share of this row's box, 0..1, that each of the others covers."""
    import numpy as np

    width = np.minimum(row[2], others[:, 2]) - np.maximum(row[0], others[:, 0])
    height = np.minimum(row[3], others[:, 3]) - np.maximum(row[1], others[:, 1])
    area = max((row[2] - row[0]) * (row[3] - row[1]), 1e-9)
    return width.clip(0) * height.clip(0) / area
