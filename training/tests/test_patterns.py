"""Every surface and every distractor can be drawn at any size."""

import numpy as np
import pytest

from training.scenes import artwork, heldout
from training.scenes.patterns import mixed

DRAWN = {
    *mixed.EVERYTHING, mixed.photo, mixed.details, *artwork.KINDS,
    *heldout.SURFACES, *heldout.DISTRACTORS, *heldout.UNSEEN.artworks,
}  # fmt: skip


@pytest.mark.parametrize("size", [(24, 24), (30, 200), (200, 30), (90, 120)], ids=str)
@pytest.mark.parametrize(
    "pattern", sorted(DRAWN, key=lambda drawn: drawn.__name__), ids=lambda drawn: drawn.__name__
)
@pytest.mark.slow
def test_a_pattern_fills_its_picture(pattern, size):
    for seed in range(6):
        picture = pattern(np.random.default_rng(seed), *size)
        assert (picture.shape, picture.dtype) == ((*size, 3), np.uint8)
