"""What commands have in common at a terminal: options, a bar, Ctrl-C, tables and a closing sentence."""

import csv
import json
import signal
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

FORMATS = ("table", "json", "csv")
INTERRUPTED = 128 + signal.SIGINT  # the exit status that shells give


class TerminalCommand(BaseCommand):
    """Results go to standard output, everything else to standard error."""

    interrupted = False

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None

    def say(self, text: str) -> None:
        self.stderr.write(text, str)  # in no colour: most of it is no error

    def progress(self, items: Iterable[T], label: str, total: int) -> Iterator[T]:
        """The items, under a bar if a person looks on. Ctrl-C ends them after the one in hand."""
        with self._ending_at_ctrl_c(), bar(disable=not self.stderr.isatty()) as shown:
            for item in shown.track(items, total, description=label):
                yield item
                if self.interrupted:
                    return

    @contextmanager
    def _ending_at_ctrl_c(self) -> Iterator[None]:
        def end(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)  # the second one ends the process

        before = signal.signal(signal.SIGINT, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def close(self, sentence: str, *, failed: int = 0) -> None:
        """Say how it went; the exit status tells whether something failed or Ctrl-C ended it."""
        if self.interrupted:
            raise CommandError(f"Interrupted. {sentence}", returncode=INTERRUPTED)
        if failed:
            raise CommandError(sentence)
        self.say(sentence)


def bar(*, disable: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # else what goes to a file is shown at the terminal instead
        redirect_stderr=False,
        disable=disable,
    )


# Options


def add_format(parser: CommandParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed (table)")


def moment(text: str) -> datetime:
    """A date or a time in ISO 8601, in UTC unless it says otherwise."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{text!r} is neither a date (2026-11-25) nor a time (2026-11-25T14:30:00+00:00)")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        refuse(f"{text!r} is no number from 0 to 1")
    return value


def count(text: str) -> int:
    if not text.isdecimal():
        refuse(f"{text!r} is no whole number from 0 up")
    return int(text)


def refuse(reason: str) -> NoReturn:
    raise ArgumentTypeError(reason)


# Results


class Writable(Protocol):
    def write(self, text: str, /) -> Any: ...


def write(file: Writable, form: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """One of FORMATS; JSON as a list of objects."""
    if form == "json":
        write_json(file, [dict(zip(columns, row, strict=True)) for row in rows])
    elif form == "csv":
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    else:
        write_table(file, columns, rows)


def write_json(file: Writable, value: Any) -> None:
    file.write(json.dumps(value, indent=2) + "\n")


def write_table(file: Writable, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Numbers to the right, with two decimals where they have any."""
    texts = [columns, *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [any(isinstance(value, int | float) for value in column) for column in zip(*rows, strict=True)]
    for line in texts:
        cells = zip(line, widths, right or [False] * len(columns), strict=True)
        padded = (cell.rjust(width) if number else cell.ljust(width) for cell, width, number in cells)
        file.write("  ".join(padded).rstrip() + "\n")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
