"""The sample scenes, and which codes were rendered into them."""

import json

from detections.preparing import BUNDLED_FOLDER

FOLDER = BUNDLED_FOLDER / "samples"
LEAST_OVERLAP = 0.5


def codes(name):
    """Of a scene: `object_class` and `corners` in pixels."""
    return json.loads((FOLDER / "codes.json").read_text())[name]


def overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    return common / (area(first) + area(second) - common)


def area(corners):
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def assert_found(results, name):
    """The API's results are the codes of the scene, each once."""
    left = list(results)
    for code in codes(name):
        same = [result for result in left if result["object_class"] == code["object_class"]]
        best = max(same, key=lambda result: overlap(corners(result), code["corners"]))
        assert overlap(corners(best), code["corners"]) >= LEAST_OVERLAP
        left.remove(best)
    assert left == []


def corners(result):
    return [result["bbox"][side] for side in ("x1", "y1", "x2", "y2")]
