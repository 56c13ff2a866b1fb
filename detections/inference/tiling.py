"""Several views of one picture, each seen by the same backend, and what they found put together.

Tiles show small objects larger than the whole picture does once it is scaled to a model's input. Mirrored
views (`augment`) show everything once more. An object is found once, whatever number of views show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detections import geometry

from .contract import InterruptedPrediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from .contract import Backend, Options, Rows

# Boxes of one class that overlap by so much (IoU) are one object seen in two views: views differ in scale, so
# their boxes agree less than those of one view do.
SAME = 0.5
# A box that a tile's edge cuts off is a part of what covers at least half of it.
COVERED = 0.5
# Of all views together, the surest: what comes behind costs time by its square.
MOST_CANDIDATES = 10_000
# How near an edge cuts, in pixels: models hardly ever draw a box to the very last one.
NEAR = 2.0


@dataclass(frozen=True, slots=True)
class View:
    """Part of a picture, perhaps mirrored. `left` and `top` are its place in the picture, in pixels."""

    pixels: NDArray[np.uint8]
    left: int = 0
    top: int = 0
    mirrored: bool = False

    def restore(self, rows: Rows) -> Rows:
        """Rows found in this view, in pixels of the whole picture."""
        rows = rows.copy()
        if self.mirrored:
            rows[:, [0, 2]] = self.pixels.shape[1] - rows[:, [2, 0]]
        rows[:, [0, 2]] += self.left
        rows[:, [1, 3]] += self.top
        return rows

    def cuts(self, rows: Rows, width: int, height: int) -> NDArray[np.bool_]:
        """Which restored rows reach an edge of this view that is none of the picture's."""
        right, bottom = self.left + self.pixels.shape[1], self.top + self.pixels.shape[0]
        x1, y1, x2, y2 = rows[:, :4].T
        reached: NDArray[np.bool_] = (
            ((x1 < self.left + NEAR) & (self.left > 0))
            | ((y1 < self.top + NEAR) & (self.top > 0))
            | ((x2 > right - NEAR) & (right < width))
            | ((y2 > bottom - NEAR) & (bottom < height))
        )
        return reached


def find(
    backend: Backend,
    image: NDArray[np.uint8],
    options: Options,
    *,
    alone: bool,
    stopped: Callable[[], bool],
) -> Rows:
    """Rows as a backend gives them, from all views that the options want, in pixels of the picture.

    Asks before every view whether it is stopped. Raises InterruptedPrediction.
    """
    import numpy as np

    if not options.tile and not options.augment:
        return backend.find(image, options, alone=alone)
    height, width = image.shape[:2]
    found, cut = [], []
    for view in views(image, options):
        if stopped():
            raise InterruptedPrediction
        rows = view.restore(backend.find(view.pixels, options, alone=alone))
        found.append(rows)
        cut.append(view.cuts(rows, width, height))
    return merge(np.concatenate(found), np.concatenate(cut), options)


def views(image: NDArray[np.uint8], options: Options) -> Iterator[View]:
    """The whole picture first, then its tiles, each followed by its mirror image where that is wanted."""
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


def merge(rows: Rows, cut: NDArray[np.bool_], options: Options) -> Rows:
    """Each object once: of whole boxes by NMS, and of cut ones what no box of their class covers."""
    import numpy as np

    best = np.argsort(-rows[:, 4], kind="stable")[:MOST_CANDIDATES]
    rows, cut = rows[best], cut[best]
    whole = suppress(rows[~cut], min(options.iou, SAME))
    kept = np.empty((len(whole) + int(cut.sum()), 6), np.float32)
    kept[: len(whole)], count = whole, len(whole)
    for row in rows[cut]:
        if (kept[:count, 4] >= row[4]).sum() >= options.max_detections:
            break  # the rest is less sure than all that is wanted
        alike = kept[:count][kept[:count, 5] == row[5]]
        if not (share_covered(row, alike) >= COVERED).any():
            kept[count], count = row, count + 1
    found = kept[:count]
    return found[np.argsort(-found[:, 4], kind="stable")][: options.max_detections]


def suppress(rows: Rows, iou: float) -> Rows:
    """NMS of each class by itself."""
    import cv2
    import numpy as np

    if not len(rows):
        return rows
    boxes = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2]]).astype(float)
    kept = cv2.dnn.NMSBoxesBatched(boxes, rows[:, 4], rows[:, 5].astype(np.int32), 0.0, iou)  # type: ignore[arg-type]  # takes arrays
    return rows[list(kept)]


def share_covered(row: Any, others: Rows) -> Any:
    """How much of this row's box each of the others covers, 0..1."""
    import numpy as np

    width = np.minimum(row[2], others[:, 2]) - np.maximum(row[0], others[:, 0])
    height = np.minimum(row[3], others[:, 3]) - np.maximum(row[1], others[:, 1])
    area = max((row[2] - row[0]) * (row[3] - row[1]), 1e-9)
    return width.clip(0) * height.clip(0) / area
