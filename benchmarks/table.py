"""The table of a benchmark, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Figures, Measure, Summary, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEAD = ("measure", "figure", "relative to", "ratio", "target", "")
NOTHING = "-"
LONGEST_ERROR = 100


def rendered(measures: Mapping[str, Measure], rounds: Sequence[Mapping[str, Figures]]) -> str:
    """A line for each row of each measure."""
    lines = [HEAD, ("---",) * len(HEAD), *cells_of(measures, rounds)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cells_of(
    measures: Mapping[str, Measure], rounds: Sequence[Mapping[str, Figures]]
) -> Iterator[tuple[str, ...]]:
    for name, measure in measures.items():
        taken = [figures[name] for figures in rounds]
        for row in measure.rows:
            yield name, *cells(summarize(row, taken))


def cells(summary: Summary) -> tuple[str, ...]:
    row = summary.row
    other = NOTHING
    if row.relative_to is not None and summary.other is not None:
        other = worded(row.relative_to, summary.other, row.unit)
    return (
        worded(row.figure, summary.figure, row.unit),
        other,
        NOTHING if summary.value is None or row.relative_to is None else f"{summary.value:.2f}",
        str(row.target or NOTHING),
        summary.verdict,
    )


def worded(name: str, figure: Figure, unit: str) -> str:
    if isinstance(figure, str):
        return f"{name}: {shortened(figure)}"
    return f"{name} {number(figure)} {unit}".rstrip()


def number(figure: float) -> str:
    """Three digits, or all those before the point."""
    digits = max(0, 3 - len(str(int(abs(figure)))))
    return f"{figure:.{digits}f}"


def shortened(error: str) -> str:
    """An error in one line that does not end a cell."""
    line = " ".join(error.replace("|", "/").split())
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR - 1]}…"
