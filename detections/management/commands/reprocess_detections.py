from datetime import UTC, datetime
from math import ceil
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from kombu.exceptions import OperationalError

from detections.jobs.reprocessing import Reprocessing
from detections.models import LOCKED_AT_ONCE, Detection, DetectionQuerySet
from detections.operations.choices import chosen_detector, chosen_user, matching_detectors
from objectvision.lib import doorbell, terminal

STATUSES = [Detection.Status.COMPLETED, Detection.Status.FAILED]


class Command(terminal.TerminalCommand):
    help = (
        "Puts the images of finished detections back into the backlog, behind new uploads. Results stay "
        "until new ones replace them. Cancelled detections are left alone, and so are images with reviews."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        moment = terminal.parse_moment
        parser.add_argument("--status", choices=STATUSES, help="only detections with this status")
        parser.add_argument("--detector", metavar="NAME", help="only detections that ran on this detector")
        parser.add_argument("--user", metavar="EMAIL", help="only this user's detections")
        parser.add_argument("--since", type=moment, metavar="TIME", help="only detections sent then or later")
        parser.add_argument("--until", type=moment, metavar="TIME", help="only detections sent before")
        parser.add_argument("--failed-only", action="store_true", help="only the images that failed")
        parser.add_argument("--to-detector", metavar="NAME", help="run them on this detector")
        parser.add_argument(
            "--before",
            type=moment,
            metavar="TIME",
            help="only images processed before (now); to complete an interrupted run, give the run's time",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count the detections and images")

    def handle(
        self,
        *,
        failed_only: bool,
        to_detector: str | None,
        before: datetime | None,
        dry_run: bool,
        **filters: Any,
    ) -> None:
        if failed_only and to_detector:
            raise CommandError("--to-detector takes detections as a whole: leave out --failed-only.")
        reprocessing = Reprocessing(
            among=chosen_detections(**filters),
            before=before or timezone.now(),
            failed_only=failed_only,
            to_detector=chosen_detector(to_detector) if to_detector else None,
        )
        if reviewed := reprocessing.reviewed():
            self.say(f"Images with reviews stay as they are: {reviewed}.")
        total = reprocessing.chosen().count()
        if dry_run:
            images = reprocessing.chosen_images().count()
            self.close(f"Nothing done: {total} detections with {images} images would be put back.")
            return
        time = reprocessing.before.astimezone(UTC).isoformat()
        self.say(f"Detections: {total}. If this is interrupted, complete it with --before {time}")
        self.put_back(reprocessing, total)

    def put_back(self, reprocessing: Reprocessing, total: int) -> None:
        for ids in self.progress(reprocessing.batches(), "Putting back", ceil(total / LOCKED_AT_ONCE)):
            reprocessing.put_back(ids)
        if reprocessing.images:
            self.wake_workers()
        for sentence in reprocessing.left_alone:
            self.say(sentence)
        left = len(reprocessing.left_alone)
        self.close(
            f"Put back: {reprocessing.detections} detections with {reprocessing.images} images; "
            f"left alone: {left}.",
            failed=left,
        )

    def wake_workers(self) -> None:
        try:
            doorbell.ring_doorbell("detections.process_images")
        except OperationalError:
            self.say("The broker is away: workers find the work once it is back.")


def chosen_detections(
    *,
    status: str | None,
    detector: str | None,
    user: str | None,
    since: datetime | None,
    until: datetime | None,
    **_: Any,
) -> DetectionQuerySet:
    detections = Detection.objects.all()
    if status:
        detections = detections.filter(status=status)
    if detector:
        detections = detections.filter(detector__in=matching_detectors(detector))
    if user:
        detections = detections.filter(user=chosen_user(user))
    if since:
        detections = detections.filter(created_at__gte=since)
    if until:
        detections = detections.filter(created_at__lt=until)
    return detections
