"""A detector whose output means something else than it is taken for is refused before it is registered."""

import pytest

from detections.detectors import trial
from detections.detectors.trial import Trial, try_out
from detections.images.boxes import Box
from detections.inference import ModelError
from testing.detectors import CENTRES, COCO, CORNERS, build_standin, family_of

SIDE = 64
ANOTHER_ORDER = [CORNERS[2], CORNERS[3], CORNERS[0], CORNERS[1]]


def in_shares(form, side):
    return [[number / side for number in row] for row in form]


FORMS = {
    "shares": in_shares(CORNERS, SIDE),
    "centres in shares": in_shares(CENTRES, SIDE),
    "another order": ANOTHER_ORDER,
}
BACKENDS = ["openvino", pytest.param("ultralytics", marks=pytest.mark.torch)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_output_in_another_form_is_refused(tmp_path, backend, form, ultralytics_settings):
    folder = build_standin(tmp_path / "standin_openvino_model", image_size=SIDE, form=form)
    with pytest.raises(
        ModelError, match="most confident boxes on sample pictures are empty or single pixels"
    ):
        try_out(folder, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_output_of_no_finite_numbers_is_refused(tmp_path, backend, number, ultralytics_settings):
    form = [*CORNERS[:2], [0, 0, number, 0], CORNERS[3]]
    folder = build_standin(tmp_path / "standin_openvino_model", image_size=SIDE, form=form)
    with pytest.raises(ModelError, match="its output on sample pictures holds NaN or infinite numbers"):
        try_out(folder, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_output_as_it_is_meant_is_taken(tmp_path, backend, ultralytics_settings):
    found = try_out(build_standin(tmp_path / "standin_openvino_model", image_size=SIDE), backend)
    assert (found.classes, found.image_size) == ({0: "alpha", 1: "beta"}, SIDE)
    assert [len(boxes) for boxes in found.boxes] == [3] * len(trial.sample_files())


@pytest.mark.skipif(not COCO, reason="COCO_DETECTORS names none")
@pytest.mark.parametrize("form", [CENTRES, in_shares(CORNERS, 640)], ids=["centres", "shares"])
def test_a_real_detector_whose_output_was_turned_into_another_form_is_refused(tmp_path, form):
    folder = next((folder for folder in COCO if family_of(folder) == "yolo26n"), None)
    if folder is None:
        pytest.skip("no end-to-end detector is named")
    with pytest.raises(ModelError, match="sample pictures are empty or single pixels"):
        try_out(reformed(folder, tmp_path / "reformed", form), "openvino")


def reformed(source, folder, form):
    """A copy whose output holds something else than corners in pixels."""
    import numpy as np

    from detections.inference.runtimes import import_openvino, shared_core

    ov = import_openvino()
    model = shared_core().read_model(next(source.glob("*.xml")))
    matrix = np.eye(6, dtype=np.float32)
    matrix[:4, :4] = form
    rows = model.output().get_node().input_value(0)
    output = ov.opset13.matmul(rows, ov.opset13.constant(matrix), transpose_a=False, transpose_b=True)
    folder.mkdir()
    ov.save_model(ov.Model([output], model.get_parameters()), folder / "reformed.xml")
    (folder / "metadata.yaml").write_bytes((source / "metadata.yaml").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([8, 8, 40, 40, 1.5, 1], "confidences of its boxes are not between 0 and 1"),
        ([8, 8, 40, 40, float("nan"), 1], "confidences of its boxes are not between 0 and 1"),
        ([8, 8, 40, 40, 0.5, 2], "classes that are none of its 2"),
        ([8, 8, 40, 40, 0.5, 0.25], "classes that are none of its 2"),
        ([float("nan"), 8, 40, 40, 0.5, 1], "1 of its 1 most confident boxes"),
        ([8, 8, 8, 40, 0.5, 1], "1 of its 1 most confident boxes"),
        ([8, 8, 9, 9, 0.5, 1], "1 of its 1 most confident boxes"),
    ],
    ids=str,
)
def test_rows_that_can_be_no_boxes_are_refused(row, reason):
    import numpy as np

    with pytest.raises(ModelError, match=reason):
        trial.check_rows([np.array([row], np.float32)], range(2))


def test_most_rows_have_to_be_boxes_and_there_may_be_none():
    import numpy as np

    good, empty = [8, 8, 40, 40, 0.5, 1], [8, 8, 8, 8, 0.5, 1]
    trial.check_rows([np.array([good, good, empty], np.float32)], range(2))
    trial.check_rows([np.empty((0, 6), np.float32)], range(2))
    with pytest.raises(ModelError):
        trial.check_rows([np.array([good, empty, empty], np.float32)], range(2))


def box(x, class_id=0, confidence=0.5):
    return Box(class_id, "alpha", confidence, x, 0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        ([box(0.1), box(0.5)], True),
        ([box(0.12), box(0.49), box(0.8)], True),
        ([box(0.1)], True),
        ([box(0.1, class_id=1), box(0.5, class_id=1)], False),
        ([box(0.3), box(0.7)], False),
        ([], False),
    ],
)
def test_an_export_has_to_find_most_of_what_its_source_finds(found, agrees):
    noise = [box(0.8, confidence=0.001)] * 5
    source = Trial({}, SIDE, ((box(0.1), box(0.5), *noise), ()))
    assert Trial({}, SIDE, (tuple(found), ())).agrees_with(source) is agrees


def test_a_source_that_finds_nothing_is_agreed_with():
    assert Trial({}, SIDE, ((), ())).agrees_with(Trial({}, SIDE, ((), (box(0.1, confidence=0.001),))))
