from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import CommandError, CommandParser

from detections import inference
from detections.models import DetectionImage, Detector
from detections.operations import comparison, local_files
from detections.operations.choices import chosen_detector, chosen_options, chosen_user, loaded_detector
from detections.operations.comparison import Agreement, Boxes
from objectvision.lib import terminal
from objectvision.lib.threads import map_in_order

LEAST_IOU = 0.5
MOST_IMAGES = 1000
COLUMNS = ("class", "only_a", "both", "only_b", "agreement", "mean_iou", "mean_confidence_difference")

BoxesById = dict[UUID, tuple[inference.Box, ...]]


class StoredImage(NamedTuple):
    id: UUID
    path: str
    name: str


class Command(terminal.TerminalCommand):
    help = (
        "Runs two detectors on the same stored images and prints for each class how far they agree. Boxes of "
        f"a class are paired greedily, highest IoU first, from an IoU of {LEAST_IOU} up. A difference in "
        "confidence is B's minus A's. Writes no rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        moment = terminal.parse_moment
        parser.add_argument(
            "a", metavar="A", help="a detector's NAME, or NAME:VERSION, NAME:BACKEND or all three"
        )
        parser.add_argument("b", metavar="B", help="the other detector's")
        parser.add_argument("--user", metavar="EMAIL", help="only this user's images")
        parser.add_argument("--since", type=moment, metavar="TIME", help="only images sent then or later")
        parser.add_argument("--until", type=moment, metavar="TIME", help="only images sent before")
        parser.add_argument(
            "--limit",
            type=terminal.parse_count,
            default=MOST_IMAGES,
            metavar="N",
            help=f"at most the newest N images ({MOST_IMAGES}); their boxes are kept in memory",
        )
        terminal.add_confidence(parser, default=settings.CONFIDENCE_THRESHOLD)
        terminal.add_format(parser)
        parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a CSV file")

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
        form: str,
        csv: Path | None,
        **_: Any,
    ) -> None:
        detectors = chosen_detector(a), chosen_detector(b)
        options = chosen_options(detectors[0], confidence=confidence)
        images = stored_images(user, since, until, limit)
        if csv:
            check_writable(csv)
        pairs = self.find_by_both(detectors, images, options)
        self.print_agreement(pairs, form, csv)
        missing = len(images) - len(pairs)
        self.close(
            f"Images: {len(pairs)} compared, {missing} not. A: {detectors[0]}, B: {detectors[1]}.",
            failed=missing,
        )

    def find_by_both(
        self, detectors: tuple[Detector, Detector], images: Sequence[StoredImage], options: inference.Options
    ) -> list[tuple[Boxes, Boxes]]:
        """A's and B's boxes on each image that both could read."""
        by_a = self.find_by_one(detectors[0], images, options)
        readable = [image for image in images if image.id in by_a]
        by_b = self.find_by_one(detectors[1], readable, options)
        return [(by_a[image], by_b[image]) for image in by_b]

    def find_by_one(
        self, detector: Detector, images: Sequence[StoredImage], options: inference.Options
    ) -> BoxesById:
        """The boxes on each image that could be read. Only one detector is in memory at a time."""
        if self.interrupted:
            return {}
        loaded = loaded_detector(detector)

        def predict(image: StoredImage) -> inference.Found:
            with default_storage.open(image.path) as file:
                data = file.read()
            return loaded.predict(data, options)

        found: BoxesById = {}
        failures = []
        finished = map_in_order(loaded.lanes, predict, images)
        for image, future in self.progress(finished, str(detector), len(images)):
            if error := future.exception():
                reason = local_files.explain_error(error)
                failures.append(f"{image.id} ({image.name}), {detector}: {reason}")
            else:
                found[image.id] = future.result().boxes
        for failure in failures:  # once the progress bar is gone
            self.say(failure)
        return found

    def print_agreement(self, pairs: list[tuple[Boxes, Boxes]], form: str, csv: Path | None) -> None:
        rows = as_rows(comparison.compare(pairs, LEAST_IOU))
        terminal.write_rows(self.stdout, form, COLUMNS, rows)
        if csv:
            with csv.open("w", encoding="utf-8") as file:
                terminal.write_rows(file, "csv", COLUMNS, rows)


def stored_images(
    user: str | None, since: datetime | None, until: datetime | None, limit: int
) -> list[StoredImage]:
    """Images with a file, newest first."""
    images = DetectionImage.objects.exclude(image_path="").order_by("-pk")
    if user:
        images = images.filter(user=chosen_user(user))
    if since:
        images = images.filter(detection__created_at__gte=since)
    if until:
        images = images.filter(detection__created_at__lt=until)
    return [StoredImage(*row) for row in images.values_list("pk", "image_path", "original_name")[:limit]]


def as_rows(classes: dict[str, Agreement]) -> list[list[Any]]:
    """A row for each class and one for all classes."""
    return [agreement_row(name, agreement) for name, agreement in classes.items()] + [
        agreement_row("all", comparison.total_agreement(classes.values()))
    ]


def agreement_row(name: str, agreement: Agreement) -> list[Any]:
    means = (agreement.share, agreement.mean_iou, agreement.mean_difference)
    rounded = (None if mean is None else round(mean, 4) for mean in means)
    return [name, agreement.only_a, agreement.both, agreement.only_b, *rounded]


def check_writable(path: Path) -> None:
    """Raises CommandError now, and not after the detectors have run for an hour."""
    try:
        path.open("a").close()
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
