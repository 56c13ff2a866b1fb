"""Measures, and how figures of several rounds become ratios with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.systems import Systems

Figure = float | str
"""A number, or why there is none."""

Figures = Mapping[str, Figure]
"""The figures of one measure in one round, by what they are of."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio, or a figure that is compared with nothing, should reach. None means no bound."""

    least: float | None = None
    most: float | None = None

    def is_met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = (("at least", self.least), ("at most", self.most))
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a figure, alone or relative to another one of the same round."""

    figure: str
    unit: str
    relative_to: str | None = None
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """`take` measures once, in one round."""

    rows: Sequence[Row]
    take: Callable[[Systems], Figures]


@dataclass(frozen=True, slots=True)
class Summary:
    """A row's medians. `value` is the ratio, or the figure itself where there is nothing to compare with."""

    row: Row
    figure: Figure
    other: Figure | None
    value: float | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "failed"
        if self.row.target is None:
            return ""
        return "met" if self.row.target.is_met(self.value) else "missed"


def summarize(row: Row, rounds: Sequence[Figures]) -> Summary:
    """The medians of all rounds; the ratio's is that of each round's own ratio, since machines drift."""
    figure = typical([figures[row.figure] for figures in rounds])
    if row.relative_to is None:
        return Summary(row, figure, None, figure if isinstance(figure, float) else None)
    other = typical([figures[row.relative_to] for figures in rounds])
    ratios = [ratio(figures[row.figure], figures[row.relative_to]) for figures in rounds]
    numbers = [each for each in ratios if each is not None]
    return Summary(row, figure, other, median(numbers) if len(numbers) == len(rounds) else None)


def typical(figures: Sequence[Figure]) -> Figure:
    """The median, or the first error."""
    errors = (figure for figure in figures if isinstance(figure, str))
    return next(errors, None) or float(median(float(figure) for figure in figures))


def ratio(figure: Figure, other: Figure) -> float | None:
    if isinstance(figure, str) or isinstance(other, str) or not other:
        return None
    return figure / other
