from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from detections import inference, local_files
from detections.lanes import through_lanes
from detections.local_files import Candidate
from detections.management.choices import chosen_classes, chosen_detector, load
from objectvision import terminal

COLUMNS = ("file", "width", "height", "object_class", "class_id", "confidence", "x1", "y1", "x2", "y2")
SHOWN = ("file", "object_class", "confidence", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class Report:
    path: str
    found: inference.Found | None = None
    error: str | None = None


class Command(terminal.TerminalCommand):
    help = (
        "Finds objects in files of this machine, without a server: prints them, and draws them if you like. "
        "Files are judged as uploads are. In a folder, files that are no pictures are passed over."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
        parser.add_argument("--recursive", action="store_true", help="folders with what lies below them")
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="put annotated JPEGs there; no file is overwritten"
        )
        terminal.add_format(parser)
        parser.add_argument("--detector", metavar="NAME", help="another than the default one")
        parser.add_argument(
            "--confidence", type=terminal.share, help=f"at least this ({settings.CONFIDENCE_THRESHOLD})"
        )
        parser.add_argument("--classes", default="", help="these alone: names or ids, separated by commas")

    def handle(
        self,
        *,
        paths: Sequence[Path],
        recursive: bool,
        output: Path | None,
        format: str,  # noqa: A002  # the option's name
        detector: str | None,
        confidence: float | None,
        classes: str,
        **_: Any,
    ) -> None:
        chosen = chosen_detector(detector)
        options = inference.Options(
            confidence=settings.CONFIDENCE_THRESHOLD if confidence is None else confidence,
            classes=chosen_classes(chosen, classes),
        )
        make_folder(output)
        candidates = local_files.candidates(paths, output, recursive=recursive)
        reports = self.reports(candidates, load(chosen), options)
        self.write(format, reports)
        for report in reports:
            if report.error:
                self.say(f"{shown(report.path)}: {report.error}")
        self.close(sentence(reports, output), failed=sum(report.error is not None for report in reports))

    def reports(
        self, candidates: Sequence[Candidate], detector: inference.LoadedDetector, options: inference.Options
    ) -> list[Report]:
        """Of the pictures: what is passed over has none."""

        def work(candidate: Candidate) -> inference.Found:
            return local_files.detect(candidate, detector, options, alone=len(candidates) == 1)

        reports = []
        done = through_lanes(detector.lanes, work, candidates)
        for candidate, future in self.progress(done, "Detecting", len(candidates)):
            path = str(candidate.path)
            if not (error := future.exception()):
                reports.append(Report(path, found=future.result()))
            elif not candidate.passes_over(error):
                reports.append(Report(path, error=local_files.reason(error)))
        return reports

    def write(self, form: str, reports: Sequence[Report]) -> None:
        if form == "json":
            terminal.write_json(self.stdout, [as_object(report) for report in reports])
            return
        rows = [row for report in reports if report.found for row in as_rows(report.path, report.found)]
        columns = COLUMNS if form == "csv" else SHOWN
        terminal.write(self.stdout, form, columns, [[row[name] for name in columns] for row in rows])


def make_folder(output: Path | None) -> None:
    try:
        if output:
            output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{output} cannot be the folder of pictures: {error.strerror}.") from error


def as_rows(path: str, found: inference.Found) -> list[dict[str, Any]]:
    size = {"file": shown(path), "width": found.width, "height": found.height}
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
    """Corners in pixels of the upright picture."""
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


def shown(path: str) -> str:
    """A name may hold what no terminal should be sent, and bytes that are no text."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in path)


def sentence(reports: Sequence[Report], output: Path | None) -> str:
    good = [report.found for report in reports if report.found]
    objects = sum(len(found.boxes) for found in good)
    where = f" Annotated pictures: {output}." if output and good else ""
    return f"Pictures: {len(good)} with {objects} objects, {len(reports) - len(good)} failed.{where}"
