"""Shared by commands: options, a progress bar, Ctrl-C, tables and a closing sentence."""

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
    """A command that writes its results to standard output and all else to standard error."""

    interrupted = False

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None

    def say(self, text: str) -> None:
        self.stderr.write(text, str)  # without red: most messages are no errors

    def progress(self, items: Iterable[T], label: str, total: int) -> Iterator[T]:
        """The items, with a progress bar at a terminal. Ctrl-C ends the iteration after the current one."""
        with self._ctrl_c_interrupts(), progress_bar(disable=not self.stderr.isatty()) as shown:
            for item in shown.track(items, total, description=label):
                yield item
                if self.interrupted:
                    return

    @contextmanager
    def _ctrl_c_interrupts(self) -> Iterator[None]:
        def end(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)  # the second one ends the process

        before = signal.signal(signal.SIGINT, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def close(self, sentence: str, *, failed: int = 0) -> None:
        """End with a sentence. Raises CommandError if something failed or Ctrl-C interrupted the command."""
        if self.interrupted:
            raise CommandError(f"Interrupted. {sentence}", returncode=INTERRUPTED)
        if failed:
            raise CommandError(sentence)
        self.say(sentence)


def progress_bar(*, disable: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # else rich sends output meant for a file to the terminal
        redirect_stderr=False,
        disable=disable,
    )


# Options


def add_format(parser: CommandParser) -> None:
    parser.add_argument(
        "--format", dest="form", choices=FORMATS, default="table", help="output format (table)"
    )


def add_confidence(parser: CommandParser, *, default: float) -> None:
    parser.add_argument("--confidence", type=parse_share, help=f"lowest confidence, 0 to 1 ({default})")


def parse_moment(text: str) -> datetime:
    """A date or time in ISO 8601, in UTC if it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        refuse_option(f"{text!r} is neither a date (2026-11-25) nor a time (2026-11-25T14:30:00+00:00)")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def parse_share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        refuse_option(f"{text!r} is no number from 0 to 1")
    return value


def parse_count(text: str) -> int:
    if not text.isdecimal():
        refuse_option(f"{text!r} is no whole number from 0 up")
    return int(text)


def refuse_option(reason: str) -> NoReturn:
    raise ArgumentTypeError(reason)


# Results


class Writable(Protocol):
    def write(self, text: str, /) -> Any: ...


def write_rows(file: Writable, form: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows in one of FORMATS; JSON is a list of objects."""
    if form == "json":
        write_json(file, [dict(zip(columns, row, strict=True)) for row in rows])
    elif form == "csv":
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    else:
        write_table(file, columns, rows)


def write_json(file: Writable, value: Any) -> None:
    file.write(json.dumps(value, indent=2) + "\n")


def write_table(file: Writable, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write aligned columns: numbers to the right, floats with two decimals."""
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
