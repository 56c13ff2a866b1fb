from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import CommandError, CommandParser

from detections import comparison, inference, local_files
from detections.comparison import Agreement
from detections.lanes import through_lanes
from detections.management.choices import chosen_detector, chosen_user, load
from detections.models import DetectionImage, DetectionImageQuerySet, Detector
from objectvision import terminal

LEAST_IOU = 0.5
MOST_IMAGES = 1000
COLUMNS = ("class", "only_a", "both", "only_b", "agreement", "mean_iou", "mean_confidence_difference")

Stored = tuple[UUID, str, str]
"""An image: its id, its path in the storage, its name."""
Findings = dict[UUID, tuple[inference.Box, ...]]


class Command(terminal.TerminalCommand):
    help = (
        "Runs two detectors on the same stored images and prints by class how far they agree. Boxes of a "
        f"class are paired greedily, those that overlap most first, at an IoU of {LEAST_IOU} or more. "
        "A difference in confidence is that of B less that of A. Writes no rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "a", metavar="A", help="a detector's NAME, or NAME:VERSION, NAME:BACKEND or all three"
        )
        parser.add_argument("b", metavar="B", help="another's")
        parser.add_argument("--user", metavar="EMAIL", help="this user's images alone")
        parser.add_argument("--since", type=terminal.moment, metavar="TIME", help="sent then or later")
        parser.add_argument("--until", type=terminal.moment, metavar="TIME", help="sent before")
        parser.add_argument(
            "--limit",
            type=terminal.count,
            default=MOST_IMAGES,
            metavar="N",
            help=f"the newest N ({MOST_IMAGES}); what is found on them is kept in memory",
        )
        parser.add_argument(
            "--confidence", type=terminal.share, help=f"at least this ({settings.CONFIDENCE_THRESHOLD})"
        )
        terminal.add_format(parser)
        parser.add_argument("--csv", type=Path, metavar="FILE", help="write a CSV there, too")

    def handle(
        self,
        *,
        a: str,
        b: str,
        user: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        confidence: float | None,
        format: str,  # noqa: A002  # the option's name
        csv: Path | None,
        **_: Any,
    ) -> None:
        detectors = [chosen_detector(name) for name in (a, b)]
        images = list(choose(user, since, until).values_list("pk", "image_path", "original_name")[:limit])
        if csv:
            check_writable(csv)
        options = inference.Options(settings.CONFIDENCE_THRESHOLD if confidence is None else confidence)
        found_a = self.findings(detectors[0], images, options)
        readable = [image for image in images if image[0] in found_a]
        found_b = self.findings(detectors[1], readable, options)
        found = [(found_a[image], found_b[image]) for image in found_b]
        rows = as_rows(comparison.compare(found, LEAST_IOU))
        terminal.write(self.stdout, format, COLUMNS, rows)
        if csv:
            with csv.open("w", encoding="utf-8") as file:
                terminal.write(file, "csv", COLUMNS, rows)
        missing = len(images) - len(found)
        self.close(
            f"Images: {len(found)} compared, {missing} not. A: {detectors[0]}, B: {detectors[1]}.",
            failed=missing,
        )

    def findings(self, detector: Detector, images: Sequence[Stored], options: inference.Options) -> Findings:
        """What is found on each image that could be read. The detector is gone from memory afterwards."""
        if self.interrupted:
            return {}
        loaded = load(detector)

        def work(image: Stored) -> inference.Found:
            with default_storage.open(image[1]) as file:
                data = file.read()
            return loaded.predict(data, options)

        findings: Findings = {}
        failures = []
        done = through_lanes(loaded.lanes, work, images)
        for image, future in self.progress(done, str(detector), len(images)):
            if error := future.exception():
                failures.append(f"{image[0]} ({image[2]}), {detector}: {local_files.reason(error)}")
            else:
                findings[image[0]] = future.result().boxes
        for failure in failures:  # once the bar is gone
            self.say(failure)
        return findings


def choose(user: str | None, since: datetime | None, until: datetime | None) -> DetectionImageQuerySet:
    """Images with a file, newest first."""
    images = DetectionImage.objects.exclude(image_path="").order_by("-pk")
    if user:
        images = images.filter(user=chosen_user(user))
    if since:
        images = images.filter(detection__created_at__gte=since)
    if until:
        images = images.filter(detection__created_at__lt=until)
    return images


def as_rows(classes: dict[str, Agreement]) -> list[list[Any]]:
    """One for each class and one for all together."""
    return [row(name, agreement) for name, agreement in classes.items()] + [
        row("all", comparison.total(classes.values()))
    ]


def row(name: str, agreement: Agreement) -> list[Any]:
    means = (agreement.share, agreement.mean_iou, agreement.mean_difference)
    rounded = (None if mean is None else round(mean, 4) for mean in means)
    return [name, agreement.only_a, agreement.both, agreement.only_b, *rounded]


def check_writable(path: Path) -> None:
    """Before the detectors run for an hour."""
    try:
        path.open("a").close()
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
