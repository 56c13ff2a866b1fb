"""Predictions in tiles and mirrored views find more objects, without duplicates."""

import io
import time
from itertools import pairwise

import pytest
from PIL import Image

from detections.detectors.preparation import BUNDLED_FOLDER
from detections.inference import Options, PredictionInterruptedError, geometry, load_detector, tiling
from testing.detectors import COCO, build_standin, family_of, sample_photo
from testing.files.pictures import encoded

NO_COCO = pytest.param(None, marks=pytest.mark.skip(reason="COCO_DETECTORS names no detectors"), id="none")
WIDTH, HEIGHT = 4000, 3000


def boxes_of(found):
    return [
        (box.object_class, box.x * found.width, box.y * found.height, box.width * found.width,
         box.height * found.height)
        for box in found.boxes
    ]  # fmt: skip  # a list to read at a glance


def overlap(first, second):
    """IoU of boxes given by class, corner and size; 0 for different classes."""
    (name, x, y, w, h), (other, u, v, p, q) = first, second
    inside = max(0, min(x + w, u + p) - max(x, u)) * max(0, min(y + h, v + q) - max(y, v))
    return inside / (w * h + p * q - inside) if name == other else 0


# Tiles


@pytest.mark.parametrize(
    ("picture", "size", "share"),
    [((4000, 3000), 640, 0.2), ((641, 640), 640, 0.2), ((1000, 10), 100, 0.5), ((999, 1001), 333, 0.0)],
)
def test_tiles_cover_the_picture_and_overlap_by_at_least_the_given_share(picture, size, share):
    starts = geometry.tiles(picture, size, share)
    assert len(starts) == geometry.tile_count(picture, size, share)
    for axis, side in enumerate(picture):
        along = sorted({start[axis] for start in starts})
        assert along[0] == 0
        assert along[-1] == max(side - size, 0)
        steps = [later - earlier for earlier, later in pairwise(along)]
        assert max(steps, default=0) <= round(size * (1 - share))


def test_a_picture_that_fits_one_tile_is_not_tiled():
    assert geometry.tiles((640, 480), 640, 0.2) == []
    assert geometry.tile_count((640, 480), 640, 0.2) == 0


def test_tile_count_does_not_create_the_tiles():
    assert geometry.tile_count((10**9, 10**9), 64, 0.5) == (10**9 // 32 - 1) ** 2


# Putting together


def rows(*boxes):
    import numpy as np

    return np.array(boxes, np.float32).reshape(-1, 6)


def blank(width, height):
    import numpy as np

    return np.zeros((height, width, 3), np.uint8)


def merged(found, cut, **options):
    import numpy as np

    return tiling.merge_rows(found, np.array(cut, bool), Options(**options)).tolist()


def test_a_whole_box_replaces_the_partial_boxes_of_other_tiles():
    whole, left, right = [0, 0, 100, 50, 0.6, 0], [0, 0, 60, 50, 0.9, 0], [40, 0, 100, 50, 0.8, 0]
    assert [row[:4] for row in merged(rows(whole, left, right), [False, True, True])] == [whole[:4]]


def test_a_partial_box_without_a_whole_one_is_kept():
    alone, other = [0, 0, 60, 50, 0.9, 0], [500, 500, 600, 600, 0.8, 0]
    assert len(merged(rows(alone, other), [True, False])) == 2


def test_a_partial_box_of_another_class_is_kept():
    whole, part = [0, 0, 100, 50, 0.6, 0], [0, 0, 60, 50, 0.9, 1]
    assert len(merged(rows(whole, part), [False, True])) == 2


def test_two_whole_boxes_of_one_object_are_merged():
    first, second = [10, 10, 110, 60, 0.9, 0], [14, 12, 118, 66, 0.8, 0]
    assert [row[4] for row in merged(rows(second, first), [False, False])] == pytest.approx([0.9])


def test_merged_boxes_are_ordered_by_confidence_and_limited():
    found = rows(*([100 * number, 0, 100 * number + 50, 50, number / 10, 0] for number in range(1, 8)))
    assert [row[4] for row in merged(found, [False] * 7, max_detections=3)] == pytest.approx([0.7, 0.6, 0.5])


def test_merging_100000_boxes_takes_under_30_seconds():
    import numpy as np

    dice = np.random.default_rng(1)
    corners = dice.random((100_000, 2)).astype(np.float32) * 4000
    found = np.column_stack([corners, corners + 50, dice.random(100_000), dice.integers(0, 80, 100_000)])
    started = time.monotonic()
    assert len(merged(found.astype(np.float32), dice.random(100_000) < 0.5)) == 300
    assert time.monotonic() - started < 30  # seconds: it was minutes when all of them were compared


def test_a_tiled_prediction_can_be_stopped_between_tiles(tmp_path):
    detector = load_detector(build_standin(tmp_path / "standin"), "openvino")
    data = encoded(Image.new("RGB", (400, 400), "white"))
    asked = []

    def stopped():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(PredictionInterruptedError):
        detector.predict(data, Options(tile=64), stopped=stopped)
    assert len(asked) == 4


def test_merging_no_boxes_gives_none():
    assert merged(rows(), []) == []


def test_a_mirrored_view_maps_its_boxes_back_to_the_picture():
    view = tiling.View(blank(100, 50), left=200, top=30, mirrored=True)
    assert view.restore(rows([10, 5, 30, 25, 0.9, 0])).tolist() == rows([270, 35, 290, 55, 0.9, 0]).tolist()


def test_a_box_is_partial_at_inner_tile_edges_but_not_at_picture_edges():
    view = tiling.View(blank(100, 100), left=0, top=100)
    found = rows([0, 120, 50, 150, 1, 0], [10, 100, 50, 150, 1, 0], [50, 120, 100, 150, 1, 0])
    assert view.cuts(found, 200, 200).tolist() == [False, True, True]


def test_a_picture_smaller_than_a_tile_gets_one_view(tmp_path):
    detector = load_detector(build_standin(tmp_path / "standin"), "openvino")
    data = encoded(Image.new("RGB", (200, 200), "white"))
    plain = detector.predict(data, Options())
    assert detector.predict(data, Options(tile=640)).boxes == plain.boxes
    assert len(detector.predict(data, Options(tile=64)).boxes) > len(plain.boxes)


# On real detectors


@pytest.fixture(scope="module", params=COCO or [NO_COCO], ids=family_of)
def detector(request):
    return load_detector(request.param, "openvino")


@pytest.fixture(scope="module")
def scene():
    """A photo of a bus with people, small 48 times and large once, 4,000 pixels wide."""
    bus = Image.open(io.BytesIO(sample_photo("bus.jpg")))
    picture = Image.new("RGB", (WIDTH, HEIGHT), (120, 130, 125))
    for number in range(48):
        picture.paste(bus.resize((243, 324)), (100 + number % 8 * 490, 80 + number // 8 * 490))
    picture.paste(bus.resize((1620, 2160)), (1200, 400))
    return encoded(picture, "JPEG", quality=92)


def test_tiles_find_small_objects_missed_without_them_and_no_duplicates(detector, scene):
    plain, tiled = (boxes_of(detector.predict(scene, Options(tile=tile))) for tile in (0, 640))
    people = [sum(box[0] == "person" for box in boxes) for boxes in (plain, tiled)]
    assert people[0] < 10
    assert people[1] > 100
    buses = [box for box in tiled if box[0] == "bus"]
    assert 28 <= len(buses) <= 40  # 28 small ones are in full view besides the large one
    assert any(box[3] > 1400 for box in buses)  # the large one, in one piece
    pairs = [(box, other) for number, box in enumerate(tiled) for other in tiled[:number]]
    assert [pair for pair in pairs if overlap(*pair) > 0.5] == []


@pytest.mark.slow
def test_tiles_find_small_codes_on_a_large_picture(tmp_path):
    import cv2
    import numpy as np

    picture = np.full((HEIGHT, WIDTH), 235, np.uint8)
    for number in range(12):
        code = cv2.QRCodeEncoder.create().encode(f"https://example.com/{number}")
        code = cv2.resize(code, (96, 96), interpolation=cv2.INTER_NEAREST)
        top, left = 300 + number // 4 * 900, 400 + number % 4 * 900
        picture[top : top + 96, left : left + 96] = code
    data = encoded(Image.fromarray(picture), "PNG")
    bundled = load_detector(BUNDLED_FOLDER, "openvino")
    plain, tiled = (bundled.predict(data, Options(tile=tile)).boxes for tile in (0, 640))
    assert sum(box.object_class == "qr_code" for box in plain) <= 2
    assert sum(box.object_class == "qr_code" for box in tiled) >= 10


def test_a_mirrored_view_keeps_the_boxes_and_adds_no_duplicates(detector):
    plain = boxes_of(detector.predict(sample_photo("zidane.jpg"), Options(confidence=0.4)))
    more = boxes_of(detector.predict(sample_photo("zidane.jpg"), Options(confidence=0.25, augment=True)))
    assert [max(overlap(box, other) for other in more) > 0.7 for box in plain] == [True] * len(plain)
    pairs = [(box, other) for number, box in enumerate(more) for other in more[:number]]
    assert [pair for pair in pairs if overlap(*pair) > 0.5] == []


def test_tiled_predictions_are_equal_on_both_engines(detector, scene):
    options = Options(tile=960, augment=True)
    assert detector.predict(scene, options, alone=True).boxes == detector.predict(scene, options).boxes
