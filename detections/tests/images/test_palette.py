from itertools import combinations
from math import dist
from operator import mul

import pytest

from detections.images.palette import COLOURS, colour, css

# What people with a missing kind of cone see, of linear RGB (Machado, Oliveira, Fernandes 2009).
SEEN = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red cones": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green cones": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue cones": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
# OKLab of linear RGB (Ottosson 2020).
CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
OPPONENTS = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]


def linear(channel):
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def times(matrix, vector):
    return [sum(map(mul, row, vector)) for row in matrix]


def perceived(matrix, shown):
    light = [min(max(part, 0), 1) for part in times(matrix, [linear(channel / 255) for channel in shown])]
    return times(OPPONENTS, [part ** (1 / 3) for part in times(CONES, light)])


@pytest.mark.parametrize("matrix", SEEN.values(), ids=SEEN)
def test_all_colours_differ_for_people_with_any_colour_vision(matrix):
    differences = {
        (one, other): dist(perceived(matrix, COLOURS[one]), perceived(matrix, COLOURS[other]))
        for one, other in combinations(range(len(COLOURS)), 2)
    }
    assert min(differences.values()) > 0.1
    assert min(differences[one, one + 1] for one in range(len(COLOURS) - 1)) > 0.2


@pytest.mark.parametrize("class_id", [-1, 0, 10**9])
def test_every_class_number_has_a_colour(class_id):
    assert colour(class_id) in COLOURS
    assert colour(class_id + len(COLOURS)) == colour(class_id)


def test_colours_are_written_as_style_sheets_take_them():
    assert (css((255, 160, 0)), css((0, 0, 192))) == ("#ffa000", "#0000c0")
