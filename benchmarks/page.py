"""Fills the computed cells of docs/scaling.md from its measured figures: `python -m benchmarks.page`.

The first table holds figures by name. In each table whose second column is `formula`, a row's formula is
computed in each further column: for the kind of load, or the images a second, that heads the column. The kind
of a table of rates is its first header.
"""

from __future__ import annotations

import ast
import math
import operator
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip  # a list to read at a glance

Figures = dict[str, dict[str, float]]
"""By kind of load and name."""


def cells_of(line: str) -> list[str]:
    """The cells of a table's row; none of another line."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def number_of(text: str) -> float:
    return float(text.replace(",", ""))


def measured(text: str) -> Figures:
    table = text[text.index("| name |") :].partition("\n\n")[0]
    (_, *kinds, _), _, *rows = map(cells_of, table.splitlines())
    return {
        kind: {row[0].strip("`"): number_of(row[column]) for row in rows}
        for column, kind in enumerate(kinds, 1)
    }


def compute(formula: str, values: dict[str, float]) -> float:
    """Sums, products and `ceil` of named values."""

    def value_of(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return values[name]
            case ast.BinOp(left=left, op=op, right=right):
                return float(OPERATORS[type(op)](value_of(left), value_of(right)))
            case ast.Call(func=ast.Name(id="ceil"), args=[inner]):
                return math.ceil(value_of(inner))
        raise ValueError(f"No formula: {formula}")

    return value_of(ast.parse(formula, mode="eval").body)


def shown(value: float) -> str:
    """Two digits that count; whole numbers as they are."""
    return f"{value if isinstance(value, int) else float(f'{value:.2g}'):,.10g}"


def computed_row(row: list[str], header: list[str], figures: Figures) -> list[str]:
    what, formula, *_ = row
    values = [
        figures[column] if column in figures else {**figures[header[0]], "rate": number_of(column)}
        for column in header[2:]
    ]
    return [what, formula, *(shown(compute(formula.strip("`"), each)) for each in values)]


def recomputed(text: str) -> str:
    """The page with all of its formulas computed from its first table."""
    figures, header, lines = measured(text), list[str](), []
    for line in text.splitlines():
        cells = cells_of(line)
        if not cells or (len(cells) > 1 and cells[1] == "formula"):
            header = cells
        elif header and cells[1].startswith("`"):
            lines.append(f"| {' | '.join(computed_row(cells, header, figures))} |")
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(recomputed(PAGE.read_text("utf-8")), "utf-8")
