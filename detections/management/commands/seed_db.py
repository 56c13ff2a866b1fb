from datetime import UTC, datetime
from math import ceil
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from detections.models import LOCKED_AT_ONCE
from detections.operations import demo, seeding
from detections.operations.choices import chosen_detector
from detections.operations.seeding import Seeding
from objectvision.lib import terminal


class Command(terminal.TerminalCommand):
    help = (
        "Fills the database with made-up users and their detections of the last half-year, with classes of "
        "the default detector. The same options make the same rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        count = terminal.parse_count
        parser.add_argument("--users", type=count, default=10, metavar="N", help="number of users (10)")
        parser.add_argument(
            "--detections", type=count, default=200, metavar="N", help="number of detections, in all (200)"
        )
        parser.add_argument(
            "--seed", type=count, default=1, metavar="S", help="another seed makes other rows (1)"
        )
        parser.add_argument(
            "--files",
            type=count,
            default=100,
            metavar="N",
            help="only the newest N detections have image files (100)",
        )
        parser.add_argument(
            "--until",
            type=terminal.parse_moment,
            metavar="TIME",
            help="end of the half-year (today, 0:00 UTC)",
        )
        parser.add_argument("--replace", action="store_true", help="first delete what this seed made before")
        parser.add_argument("--force", action="store_true", help="allow it in staging and production")
        parser.add_argument("--dry-run", action="store_true", help="only count the rows")

    def handle(
        self,
        *,
        users: int,
        detections: int,
        seed: int,
        files: int,
        until: datetime | None,
        replace: bool,
        force: bool,
        dry_run: bool,
        **_: Any,
    ) -> None:
        if settings.DEPLOYED and not force:
            raise CommandError(f"Made-up rows get into {settings.ENVIRONMENT} with --force alone.")
        if detections and not users:
            raise CommandError("Detections need users: --users 0 goes with --detections 0 alone.")
        today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        made = Seeding(seed, until or today, chosen_detector(None), users, detections, files)
        earlier = seeding.made_before(seed)
        there = f"{earlier[0]} users and {earlier[1]} detections" if any(earlier) else ""
        if there and not replace:
            raise CommandError(f"Seed {seed} is there already, with {there}: --replace makes it anew.")
        if dry_run:
            first = f"{there} would be deleted; " if there else ""
            self.close(f"Nothing done: {first}{users} users and {detections} detections would be made.")
            return
        self.remove(seed, earlier[1])
        self.make(made)

    def remove(self, seed: int, detections: int) -> None:
        for _batch in self.progress(seeding.remove(seed), "Deleting", ceil(detections / LOCKED_AT_ONCE)):
            pass
        if self.interrupted:
            self.close("What this seed has made before is deleted in part.")

    def make(self, made: Seeding) -> None:
        start = monotonic()
        for _ in self.progress(made.run(), "Seeding", ceil(made.detections / seeding.CHUNK)):
            pass
        seconds = monotonic() - start
        self.close(
            f"Made in {seconds:.1f} s: {made.users} users, {made.made} detections, {made.images} images, "
            f"{made.results} results. The files of {made.made - made.stored} detections are missing."
        )
        if made.users and not settings.DEPLOYED:
            self.say(f"Log in as seed-{made.seed}-1@example.com, password {demo.PASSWORD}.")
