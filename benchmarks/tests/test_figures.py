"""Ratios and verdicts of a benchmark's figures."""

import pytest

from benchmarks.figures import Row, Target, summarize

ROW = Row("ours", "images/s", "theirs", Target(least=0.8))


def test_the_ratio_is_the_median_of_each_rounds_own_ratio():
    """Rounds differ in speed: medians of all of them would compare different moments."""
    rounds = [{"ours": 10.0, "theirs": 10.0}, {"ours": 30.0, "theirs": 20.0}, {"ours": 20.0, "theirs": 40.0}]
    summary = summarize(ROW, rounds)
    assert (summary.figure, summary.other, summary.value) == (20, 20, 1)


def test_a_figure_without_another_is_compared_with_its_target_itself():
    summary = summarize(Row("memory", "MB", target=Target(most=150)), [{"memory": 140.0}, {"memory": 150.0}])
    assert (summary.other, summary.value, summary.verdict) == (None, 145, "met")


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.79, "missed"), (0.8, "met"), (1.0, "met"), (1.1, "met"), (1.11, "missed")]
)
def test_bounds_of_a_target_belong_to_it(value, verdict):
    row = Row("ours", "images/s", "theirs", Target(least=0.8, most=1.1))
    assert summarize(row, [{"ours": value, "theirs": 1.0}]).verdict == verdict


def test_a_row_without_target_has_no_verdict():
    assert summarize(Row("ours", "ms"), [{"ours": 3.0}]).verdict == ""


@pytest.mark.parametrize("failing", ["ours", "theirs"])
def test_an_error_in_one_round_fails_the_row_and_is_kept(failing):
    rounds = [{"ours": 1.0, "theirs": 1.0}, {"ours": 1.0, "theirs": 1.0, failing: "no such model"}]
    summary = summarize(ROW, rounds)
    assert (summary.value, summary.verdict) == (None, "failed")
    assert "no such model" in (summary.figure, summary.other)


def test_a_figure_relative_to_nothing_at_all_fails_instead_of_dividing_by_zero():
    assert summarize(ROW, [{"ours": 1.0, "theirs": 0.0}]).verdict == "failed"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(least=0.8), "at least 0.8"),
        (Target(most=15), "at most 15"),
        (Target(least=0.9, most=1.1), "at least 0.9, at most 1.1"),
    ],
)
def test_a_target_is_worded_with_its_bounds(target, text):
    assert str(target) == text
