from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from detections import inference
from detections.operations import local_files
from detections.operations.choices import chosen_detector, chosen_options, loaded_detector
from detections.operations.local_files import Candidate
from objectvision.lib import terminal
from objectvision.lib.threads import map_in_order

COLUMNS = ("file", "width", "height", "object_class", "class_id", "confidence", "x1", "y1", "x2", "y2")
TABLE_COLUMNS = ("file", "object_class", "confidence", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class Report:
    path: str
    found: inference.Found | None = None
    error: str | None = None


class Command(terminal.TerminalCommand):
    help = (
        "Finds objects in files of this machine, without a server: prints them and, with --output, draws "
        "them. Files must pass the checks of uploads; in folders, files that are no pictures are skipped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
        parser.add_argument("--recursive", action="store_true", help="look into subfolders, too")
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="write annotated JPEGs there; never overwrites a file"
        )
        terminal.add_format(parser)
        parser.add_argument("--detector", metavar="NAME", help="detector to use (the default one)")
        terminal.add_confidence(parser, default=settings.CONFIDENCE_THRESHOLD)
        parser.add_argument(
            "--classes", default="", help="only these classes: names or ids, separated by commas"
        )

    def handle(
        self,
        *,
        paths: Sequence[Path],
        recursive: bool,
        output: Path | None,
        form: str,
        detector: str | None,
        confidence: float | None,
        classes: str,
        **_: Any,
    ) -> None:
        chosen = chosen_detector(detector)
        options = chosen_options(chosen, confidence=confidence, classes=classes)
        make_folder(output)
        candidates = local_files.candidates(paths, output, recursive=recursive)
        reports = self.reports(candidates, loaded_detector(chosen), options)
        self.print_reports(form, reports)
        for report in reports:
            if report.error:
                self.say(f"{printable_path(report.path)}: {report.error}")
        self.close(summary(reports, output), failed=sum(report.error is not None for report in reports))

    def reports(
        self, candidates: Sequence[Candidate], detector: inference.LoadedDetector, options: inference.Options
    ) -> list[Report]:
        """One for each candidate that was not skipped."""

        def work(candidate: Candidate) -> inference.Found:
            return local_files.detect_in_file(candidate, detector, options, alone=len(candidates) == 1)

        reports = []
        done = map_in_order(detector.lanes, work, candidates)
        for candidate, future in self.progress(done, "Detecting", len(candidates)):
            path = str(candidate.path)
            if not (error := future.exception()):
                reports.append(Report(path, found=future.result()))
            elif not candidate.may_skip(error):
                reports.append(Report(path, error=local_files.explain_error(error)))
        return reports

    def print_reports(self, form: str, reports: Sequence[Report]) -> None:
        if form == "json":
            terminal.write_json(self.stdout, [as_object(report) for report in reports])
            return
        rows = [row for report in reports if report.found for row in as_rows(report.path, report.found)]
        columns = COLUMNS if form == "csv" else TABLE_COLUMNS
        terminal.write_rows(self.stdout, form, columns, [[row[name] for name in columns] for row in rows])


def make_folder(output: Path | None) -> None:
    try:
        if output:
            output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{output} cannot be the folder of pictures: {error.strerror}.") from error


def as_rows(path: str, found: inference.Found) -> list[dict[str, Any]]:
    size = {"file": printable_path(path), "width": found.width, "height": found.height}
    return [size | as_result(box, found) for box in found.boxes]


def as_object(report: Report) -> dict[str, Any]:
    found = report.found
    return {
        "file": report.path,
        "width": found and found.width,
        "height": found and found.height,
        "error": report.error,
        "results": [as_result(box, found) for box in found.boxes] if found else [],
    }


def as_result(box: inference.Box, found: inference.Found) -> dict[str, Any]:
    """A box as a row, its corners in pixels of the upright picture."""
    corners = {
        "x1": box.x * found.width,
        "y1": box.y * found.height,
        "x2": (box.x + box.width) * found.width,
        "y2": (box.y + box.height) * found.height,
    }
    return {
        "object_class": box.object_class,
        "class_id": box.class_id,
        "confidence": round(box.confidence, 4),
        **{name: round(value) for name, value in corners.items()},
    }


def printable_path(path: str) -> str:
    """A path without control characters and undecodable bytes, which no terminal should get."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in path)


def summary(reports: Sequence[Report], output: Path | None) -> str:
    good = [report.found for report in reports if report.found]
    objects = sum(len(found.boxes) for found in good)
    where = f" Annotated pictures: {output}." if output and good else ""
    return f"Pictures: {len(good)} with {objects} objects, {len(reports) - len(good)} failed.{where}"
