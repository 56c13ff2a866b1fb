"""Tiles of an image and the letterbox of a model's input: arithmetic on pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def tiles(picture: tuple[int, int], size: int, overlap: float) -> list[tuple[int, int]]:
    """Left and top, in pixels, of square tiles that cover a picture (width, height); none if one is enough.

    Neighbours share at least `overlap` (0..1) of a tile. The last tile of a row or column ends at the edge of
    the picture.
    """
    columns, rows = (_starts(side, size, overlap) for side in picture)
    return [(left, top) for top in rows for left in columns] if len(columns) * len(rows) > 1 else []


def tile_count(picture: tuple[int, int], size: int, overlap: float) -> int:
    """The number of tiles that `tiles` returns, without making the list."""
    columns, rows = (len(range(0, max(side - size, 0), _step(size, overlap))) + 1 for side in picture)
    return columns * rows if columns * rows > 1 else 0


def _starts(side: int, size: int, overlap: float) -> list[int]:
    last = max(side - size, 0)
    return [*range(0, last, _step(size, overlap)), last]


def _step(size: int, overlap: float) -> int:
    return max(1, round(size * (1 - overlap)))


@dataclass(frozen=True, slots=True)
class Letterbox:
    """An image scaled to fit a canvas with its aspect ratio kept, and centred there. In pixels."""

    picture_width: int
    picture_height: int
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def fit(cls, picture: tuple[int, int], canvas: tuple[int, int]) -> Letterbox:
        """`picture` and `canvas` are (width, height). Rounds as ultralytics' LetterBox and scale_boxes do."""
        scale = min(canvas[0] / picture[0], canvas[1] / picture[1])
        width, height = (max(round(side * scale), 1) for side in picture)
        left, top = round((canvas[0] - width) / 2 - 0.1), round((canvas[1] - height) / 2 - 0.1)
        return cls(*picture, left, top, width, height)

    def part_of(self, canvas: NDArray[Any]) -> NDArray[Any]:
        """A NumPy view of the part of the canvas (height, width, channels) that the scaled image covers."""
        return canvas[self.top : self.top + self.height, self.left : self.left + self.width]

    def restore(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corners x1 y1 x2 y2 (n, 4) on the canvas as corners in the image, clipped to it."""
        restored = corners.copy()
        for axis, offset, scaled, whole in (
            (0, self.left, self.width, self.picture_width),
            (1, self.top, self.height, self.picture_height),
        ):
            restored[:, axis::2] -= offset
            restored[:, axis::2] /= scaled / whole
            restored[:, axis::2] = restored[:, axis::2].clip(0, whole)
        return restored
