"""Mining of scenes on which a detector errs."""

import numpy as np
import pytest

from training.evaluate import Outcome
from training.mine import errs


@pytest.mark.parametrize(
    ("codes", "confidences", "matches", "expected"),
    [
        (1, [0.9], [0], False),
        (1, [0.3], [0], True),
        (1, [0.9, 0.3], [0, -1], True),
        (1, [0.9, 0.1], [0, -1], False),
        (1, [], [], True),
        (0, [], [], False),
        (0, [0.3], [-1], True),
    ],
    ids=["found", "unsure", "false alarm", "faint", "missed", "nothing", "out of nothing"],
)
def test_a_detector_errs_by_misses_and_by_false_alarms(codes, confidences, matches, expected):
    found = np.zeros(len(matches), int)
    outcome = Outcome(
        np.zeros(codes, int), np.zeros(codes), found, np.array(confidences), np.array(matches, int)
    )
    assert errs(outcome) == expected
