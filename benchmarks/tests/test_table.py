"""The table of a benchmark."""

import pytest

from benchmarks import table
from benchmarks.figures import Measure, Row, Target


def measure(*rows):
    return Measure(rows, take=lambda _: {})


def test_the_table_has_a_line_for_each_row_with_ratio_target_and_verdict():
    measures = {
        "batch": measure(
            Row("production", "images/s", "engine", Target(least=0.8)),
            Row("production", "images/s", "LitServe"),
        ),
        "start": measure(Row("web", "MB", target=Target(most=150))),
    }
    rounds = [
        {"batch": {"production": 42.25, "engine": 50.0, "LitServe": "no module"}, "start": {"web": 151.0}},
        {"batch": {"production": 42.25, "engine": 60.0, "LitServe": "no module"}, "start": {"web": 153.0}},
    ]
    assert table.rendered(measures, rounds).splitlines() == [
        "| measure | figure | relative to | ratio | target |  |",
        "| --- | --- | --- | --- | --- | --- |",
        "| batch | production 42.2 images/s | engine 55.0 images/s | 0.77 | at least 0.8 | missed |",
        "| batch | production 42.2 images/s | LitServe: no module | - | - | failed |",
        "| start | web 152 MB | - | - | at most 150 | missed |",
    ]


@pytest.mark.parametrize(
    ("figure", "text"), [(0.126, "0.13"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12346")]
)
def test_figures_have_three_digits_or_all_before_the_point(figure, text):
    assert table.number(figure) == text


def test_a_long_error_of_several_lines_fits_one_cell():
    text = table.shortened("first | second\n" + "x" * 200)
    assert text.startswith("first / second xxx")
    assert len(text) == table.LONGEST_ERROR
