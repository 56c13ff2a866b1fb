"""The agreement of two detectors: the arithmetic, and the command on stored images."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from detections.images.boxes import Box, iou
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from detections.operations import comparison
from testing.commands import run
from testing.detectors import build_standin
from testing.files.pictures import photo

HEAD = ["class", "only_a", "both", "only_b", "agreement", "mean_iou", "mean_confidence_difference"]


def box(x, width=0.4, name="cat", confidence=0.5):
    """A box of full height."""
    return Box(0, name, confidence, x, 0, width, 1)


@pytest.mark.parametrize(
    ("x", "width", "expected"),
    [(0, 0.4, 1), (0.2, 0.4, 1 / 3), (0, 0.2, 1 / 2), (0.4, 0.4, 0), (0.5, 0.4, 0)],
)
def test_iou_of_overlapping_touching_and_separate_boxes(x, width, expected):
    assert iou(box(0), box(x, width)) == pytest.approx(expected)
    assert iou(box(x, width), box(0)) == pytest.approx(expected)


def test_boxes_that_overlap_most_are_paired_first_and_only_once():
    near, far = box(0.01), box(0.05)
    assert [(one, other) for one, other, _ in comparison.match_boxes([box(0)], [far, near], 0.5)] == [
        (box(0), near)
    ]
    a, b = [box(0), box(0.06)], [near, far]
    assert {(one.x, other.x) for one, other, _ in comparison.match_boxes(a, b, 0.5)} == {
        (0, 0.01),
        (0.06, 0.05),
    }
    assert comparison.match_boxes([box(0)], [box(0.2)], 0.5) == []
    assert comparison.match_boxes([], [box(0)], 0.5) == []


def test_agreement_is_counted_by_class_over_all_pictures():
    first = [box(0, confidence=0.5), box(0.5, name="dog")], [box(0, confidence=0.75), box(0.5, name="cow")]
    second = [box(0)], [box(0.1, confidence=0.25)]
    agreements = comparison.compare([first, second, ([], [])], 0.5)
    assert list(agreements) == ["cat", "cow", "dog"]
    cat, cow, dog = agreements.values()
    assert (cat.only_a, cat.both, cat.only_b, cat.share) == (0, 2, 0, 1)
    assert cat.mean_iou == pytest.approx((1 + 0.6) / 2)
    assert cat.mean_difference == pytest.approx((0.25 - 0.25) / 2)
    assert (cow.only_a, cow.both, cow.only_b, cow.share, cow.mean_iou) == (0, 0, 1, 0, None)
    assert (dog.only_a, dog.both, dog.only_b) == (1, 0, 0)
    everything = comparison.total_agreement(agreements.values())
    assert (everything.only_a, everything.both, everything.only_b, everything.share) == (1, 2, 1, 0.5)
    assert comparison.total_agreement([]).share is None


@pytest.fixture
def other(detector, standin_folder):
    """A detector with the same boxes, half of them with another class name."""
    folder = build_standin(standin_folder.parent / "other", classes=("alpha", "gamma"))
    return Detector.objects.create(
        name="other", version="1", path=folder.name, backend="openvino", image_size=64,
        classes=["alpha", "gamma"],
    )  # fmt: skip  # a row at a glance


def rows():
    return [
        list(model.objects.order_by("pk").values()) for model in (Detection, DetectionImage, DetectionResult)
    ]


def test_two_detectors_are_compared_on_the_same_stored_images(submit, user, other, tmp_path):
    submit(user, photo(), photo())
    before = rows()
    file = tmp_path / "agreement.csv"
    status, out, err = run("compare_detectors", "standin", "other", "--csv", file)
    assert status == 0
    assert err == "Images: 2 compared, 0 not. A: standin 1 (openvino), B: other 1 (openvino).\n"
    assert [line.split() for line in out.splitlines()] == [
        HEAD,
        ["alpha", "0", "2", "0", "1.00", "1.00", "0.00"],
        ["beta", "2", "0", "0", "0.00", "-", "-"],
        ["gamma", "0", "0", "2", "0.00", "-", "-"],
        ["all", "2", "2", "2", "0.33", "1.00", "0.00"],
    ]
    head, alpha, *_ = csv.reader(file.read_text().splitlines())
    assert (head, alpha) == (HEAD, ["alpha", "0", "2", "0", "1.0", "1.0", "0.0"])
    assert rows() == before


def compared(*options):
    _, out, _ = run("compare_detectors", "standin", "standin", "--format", "json", *options)
    return json.loads(out)[-1]["both"] // 2


@pytest.mark.slow
def test_filters_choose_the_images_and_the_newest_come_first(submit, user, stranger, detector):
    old, new = submit(user, photo()), submit(stranger, photo(), photo())
    now = timezone.now()
    Detection.objects.filter(pk=old.pk).update(created_at=now - timedelta(days=10))
    DetectionImage.objects.create(detection=new, user=stranger, detector=detector, state="failed")
    week_ago = (now - timedelta(days=7)).date().isoformat()
    assert compared() == 3
    assert compared("--user", user.email.upper()) == 1
    assert compared("--since", week_ago) == 2
    assert compared("--until", week_ago) == 1
    assert compared("--limit", "2") == 2
    assert compared("--limit", "0") == 0
    assert compared("--confidence", "0.45") == 1  # of three images one box each, not two


def test_an_unreadable_image_is_named_and_the_others_are_compared(submit, user, detector):
    gone, _ = submit(user, photo(), photo()).images.order_by("pk")
    default_storage.delete(gone.image_path)
    status, out, err = run("compare_detectors", "standin", "standin", "--format", "csv")
    assert status == 1
    assert next(csv.DictReader(io.StringIO(out)))["both"] == "1"
    assert err.splitlines() == [
        f"{gone.pk} (photo-1.jpg), standin 1 (openvino): No such file or directory.",
        "Images: 1 compared, 1 not. A: standin 1 (openvino), B: standin 1 (openvino).",
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["yolo", "standin"], "There is no detector 'yolo', but standin:1:openvino."),
        (["standin", "standin", "--user", "nobody@example.com"], "There is no user 'nobody@example.com'."),
        (["standin", "standin", "--since", "monday"], "argument --since: 'monday' is neither a date"),
        (["standin", "standin", "--limit", "-1"], "argument --limit: '-1' is no whole number"),
        (["standin", "standin", "--csv", "/gone/x.csv"], "/gone/x.csv cannot be written: No such file"),
    ],
)
def test_a_wrong_option_is_refused_before_comparing(detector, options, complaint):
    status, out, err = run("compare_detectors", *options)
    assert (status != 0, out) == (True, "")
    assert complaint in err
