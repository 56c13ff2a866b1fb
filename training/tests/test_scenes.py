"""Scenes depend only on their seeds, and their boxes lie around codes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from training.render import render_set
from training.scenes import composition, linear, symbols
from training.scenes.composition import crowd, scene
from training.scenes.heldout import barrel, held_out
from training.scenes.surfaces import Pose, carried, lay, on_cylinder, wrinkled
from training.scenes.symbols import UNCLEAR, Code, Sheet

pytestmark = pytest.mark.slow
SEEDS = range(30)
SIZES = {scene: 200, crowd: 400, held_out: 200}


@pytest.fixture(scope="module", params=SIZES, ids=["training", "crowd", "held-out"])
def make(request):
    return lambda seed: request.param(seed, SIZES[request.param])


@pytest.fixture(scope="module")
def made(make):
    return [make(seed) for seed in SEEDS]


def marked(width=200, height=120):
    """White, with a black square that is a code."""
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[40:80, 60:100] = 0
    return Sheet(picture, [Code(symbols.MARKER, symbols.outline(60, 40, 40, 40), (8, 8))])


def dark_box(picture):
    rows, columns = np.nonzero(picture[..., 0] < 60)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def box_of(code):
    return [*code.outline.min(axis=0), *code.outline.max(axis=0)]


@pytest.mark.slow
def test_a_seed_always_gives_the_same_scene(make, made):
    again = make(SEEDS[3])
    assert np.array_equal(again.picture, made[3].picture)
    assert (again.boxes, again.quality) == (made[3].boxes, made[3].quality)


def test_other_seeds_give_other_scenes(made):
    assert len({one.picture.tobytes() for one in made}) == len(made)


def test_boxes_lie_in_the_picture_and_are_not_tiny(made):
    for one in made:
        height, width = one.picture.shape[:2]
        for box in one.boxes:
            assert -0.5 <= box.x1 < box.x2 <= width + 0.5
            assert -0.5 <= box.y1 < box.y2 <= height + 0.5
            assert min(box.x2 - box.x1, box.y2 - box.y1) >= composition.SMALLEST


def test_scenes_have_codes_of_every_class(made):
    assert {box.class_id for one in made for box in one.boxes} == {0, 1, 2}


@pytest.mark.parametrize("make", [scene, held_out])
def test_some_scenes_have_no_code(make):
    assert any(not make(seed, 200).boxes for seed in range(10))


def test_a_code_less_than_a_third_visible_does_not_count():
    picture = np.zeros((100, 100, 3), np.uint8)
    most, least = (Code(0, symbols.outline(x, 10, 40, 40), (21, 21)) for x in (-20, -30))
    (box,) = composition.boxes([most, least], picture)
    assert (box.x1, box.x2, box.y1, box.y2) == pytest.approx((0, 20, 10, 50), abs=0.01)


@pytest.mark.parametrize("bend", [on_cylinder, wrinkled])
@pytest.mark.parametrize("seed", range(5))
def test_a_box_follows_its_code_on_a_bent_surface(bend, seed):
    sheet = bend(np.random.default_rng(seed), marked())
    assert box_of(sheet.codes[0]) == pytest.approx(dark_box(sheet.picture), abs=6)


def test_a_box_follows_its_code_on_a_turned_sheet():
    sheet = marked()
    pose = Pose((80, 60), (150, 140), 1.5, 0.6, (0.3, -0.4), 400)
    picture = lay(np.full((300, 300, 3), 255, np.uint8), sheet, pose.matrix(), shadow=0)
    assert box_of(carried(sheet.codes[0], pose.matrix())) == pytest.approx(dark_box(picture), abs=2)


def test_a_box_follows_its_code_through_a_wide_lens():
    sheet = marked()
    picture, codes = barrel(np.random.default_rng(1), sheet.picture, sheet.codes)
    assert box_of(codes[0]) == pytest.approx(dark_box(picture), abs=2)


def test_a_set_is_written_in_the_layout_of_yolo(tmp_path):
    render_set(tmp_path, scene, range(3), 120)
    assert [file.name for file in sorted((tmp_path / "images").iterdir())] == [
        f"{seed:08}.jpg" for seed in range(3)
    ]
    for seed in range(3):
        made = scene(seed, 120)
        height, width = made.picture.shape[:2]
        assert cv2.imread(str(tmp_path / f"images/{seed:08}.jpg")).shape == (height, width, 3)
        rows = [line.split() for line in (tmp_path / f"labels/{seed:08}.txt").read_text().splitlines()]
        classes = [box.class_id for box in made.boxes] + [UNCLEAR] * len(made.unclear)
        assert [int(row[0]) for row in rows] == classes
        for box, (_, x, y, w, h) in zip(made.boxes + made.unclear, rows, strict=True):
            assert float(x) == pytest.approx((box.x1 + box.x2) / 2 / width, abs=1e-5)
            assert float(w) * width == pytest.approx(box.x2 - box.x1, abs=0.01)
            assert float(y) + float(h) / 2 == pytest.approx(box.y2 / height, abs=1e-5)


@pytest.mark.slow
def test_a_crowd_has_more_codes_than_a_scene():
    codes = {make: sum(len(make(seed, 400).boxes) for seed in range(10)) for make in (scene, crowd)}
    assert codes[crowd] > 2 * codes[scene]


# Legible codes


def printed():
    """A grey picture of 300 x 200 with a code of 120 pixels, and the code."""
    picture = np.full((200, 300, 3), 230, np.uint8)
    modules = symbols.qr_modules(np.random.default_rng(1))
    ink = symbols.matrix_field(modules, 120, "squares")
    picture[40:160, 50:170] = (230 - 200 * ink).astype(np.uint8)[..., None]
    return picture, Code(symbols.QR_CODE, symbols.outline(50, 40, 120, 120), modules.shape)


def test_a_clearly_photographed_code_counts():
    picture, code = printed()
    assert composition.legible(code, picture, picture)
    assert composition.legible(code, picture, (picture * 0.1 + 90).astype(np.uint8))


@pytest.mark.parametrize(("modules", "counts"), [((119, 21), True), ((241, 21), False), ((21, 241), False)])
def test_a_code_of_less_than_half_a_pixel_a_module_does_not_count(modules, counts):
    picture, code = printed()
    assert composition.legible(replace(code, modules=modules), picture, picture) is counts


def test_a_module_is_as_long_as_the_code_divided_by_their_number():
    flat = Code(symbols.BARCODE, symbols.outline(5, 5, 190, 60), (95, 1))
    turned = carried(flat, Pose((100, 35), (200, 200), 1.5, 0.8, (0, 0), 1000).matrix())
    assert (flat.module, turned.module) == (pytest.approx(2), pytest.approx(3))


def test_a_code_lost_in_noise_does_not_count():
    picture, code = printed()
    noise = np.random.default_rng(1).normal(0, 60, picture.shape)
    faint = picture * 0.04 + 110
    assert not composition.legible(code, picture, np.clip(faint + noise, 0, 255).astype(np.uint8))


def test_a_blurred_code_does_not_count():
    picture, code = printed()
    assert composition.legible(code, picture, cv2.GaussianBlur(picture, (0, 0), 1))
    assert not composition.legible(code, picture, cv2.GaussianBlur(picture, (0, 0), 12))


@pytest.mark.parametrize(("hidden", "counts"), [(0.4, True), (0.9, False)])
def test_a_code_counts_while_glare_leaves_a_third_of_it(hidden, counts):
    picture, code = printed()
    photo = picture.copy()
    photo[:, : int(50 + 120 * hidden)] = 255
    assert composition.legible(code, picture, photo) is counts


def test_a_large_linear_code_under_shadows_of_a_blind_counts():
    """At scales coarser than the modules, most of the detail is shadows."""
    modules = np.array(list(linear.ean13("4006381333931")), int)
    picture = np.full((300, 420, 3), 230, np.uint8)
    picture[50:250, 20:400] -= np.repeat(200 * modules, 4).astype(np.uint8)[None, :, None]
    code = Code(symbols.BARCODE, symbols.outline(20, 50, 380, 200), (95, 1))
    photo = picture.copy()
    for y in range(0, 300, 48):
        photo[y : y + 24] //= 2
    assert composition.legible(code, picture, photo)


def test_a_code_under_a_shadow_counts():
    picture, code = printed()
    photo = picture.copy()
    photo[:, 90:130] //= 8
    assert composition.legible(code, picture, photo)
