"""The measures of a detector, on made-up findings."""

import numpy as np
import pytest

from detections.inference import Box, Found
from training import evaluate
from training.scenes.composition import Box as TrueBox
from training.scenes.composition import Scene

PICTURE = np.zeros((100, 200, 3), np.uint8)


class Detector:
    """Answers with the boxes it was given: class, confidence, x1, y1, x2, y2 in pixels."""

    def __init__(self, *scenes):
        self.scenes = list(scenes)

    def predict(self, *_):
        boxes = [
            Box(number, "", confidence, x1 / 200, y1 / 100, (x2 - x1) / 200, (y2 - y1) / 100)
            for number, confidence, x1, y1, x2, y2 in self.scenes.pop(0)
        ]
        return Found(200, 100, tuple(boxes), 1.0)


def measured(*scenes):
    """Each scene is a tuple of true boxes, found boxes and, optionally, unclear true boxes."""
    detector = Detector(*(found for _, found, *_ in scenes))
    return evaluate.measure(evaluate.outcomes(detector, (true(there, *rest[1:]) for there, *rest in scenes)))


def true(there, unclear=()):
    return Scene(PICTURE, [TrueBox(*box) for box in there], [TrueBox(*box) for box in unclear], 90)


QR, BARCODE, MARKER = (0, 10, 10, 50, 50), (1, 60, 10, 160, 40), (2, 100, 50, 140, 90)


def found(box, confidence=0.9, shift=0):
    number, x1, y1, x2, y2 = box
    return number, confidence, x1 + shift, y1, x2 + shift, y2


def test_a_perfect_detector_has_full_marks():
    measures = measured(([QR, BARCODE, MARKER], [found(QR), found(BARCODE), found(MARKER)]), ([], []))
    assert measures.map50 == pytest.approx(1)
    assert (measures.precision, measures.threshold) == (1, 0.9)
    assert measures.false_alarms == {"0.25": 0, "0.5": 0}
    assert measures.recall["qr_code"] == measures.recall["barcode"] == 1


def test_boxes_of_little_overlap_or_another_class_do_not_count_as_found():
    measures = measured(([QR, BARCODE], [found(QR, shift=25), (2, 0.9, *BARCODE[1:])]))
    assert measures.ap50["qr_code"] == measures.ap50["barcode"] == 0
    assert measures.precision_at["0.25"] == 0


def test_a_code_found_twice_counts_once():
    measures = measured(([QR], [found(QR, 0.9), found(QR, 0.8)]))
    assert measures.precision_at["0.5"] == 0.5


def test_false_alarms_are_counted_by_confidence_in_empty_scenes():
    measures = measured(([], [found(QR, 0.3)]), ([], []), ([QR], [found(QR), found(MARKER)]))
    assert measures.false_alarms == {"0.25": 0.5, "0.5": 0}


def test_finding_an_unclear_code_changes_no_measure():
    measures = measured(([QR], [found(QR, 0.5), found(BARCODE)], [BARCODE]), ([QR], [found(QR)], [BARCODE]))
    assert measures.map50 == pytest.approx((1 + 0 + 0) / 3)
    assert measures.precision_at["0.5"] == 1
    assert measures.codes == 2


def test_an_unclear_code_found_as_another_class_is_a_false_alarm():
    measures = measured(([], [(2, 0.9, *BARCODE[1:])], [BARCODE]))
    assert measures.false_alarms["0.5"] == 1


def test_recall_is_measured_by_size():
    measures = measured(([QR, BARCODE], [found(BARCODE)]))
    assert (measures.recall["32 to 64"], measures.recall["64 to 128"]) == (0, 1)


def test_precision_is_measured_at_a_recall_of_90_percent():
    nine = [([QR], [found(QR, 0.9)])] * 9
    measures = measured(*nine, ([QR], [found(MARKER, 0.95)]))
    assert (measures.precision, measures.threshold) == (0.9, 0.9)
