from datetime import UTC, datetime
from math import ceil
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from detections import cleanup, seeding
from detections.management.choices import chosen_detector
from detections.seeding import Seeding
from objectvision import demonstration, terminal


class Command(terminal.TerminalCommand):
    help = (
        "Fills the database with made-up users and their detections of the last half-year, as the default "
        "detector might have found them. The same options make the same rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--users", type=terminal.count, default=10, metavar="N", help="how many (10)")
        parser.add_argument(
            "--detections", type=terminal.count, default=200, metavar="N", help="of all of them (200)"
        )
        parser.add_argument(
            "--seed", type=terminal.count, default=1, metavar="S", help="another makes other rows (1)"
        )
        parser.add_argument(
            "--files",
            type=terminal.count,
            default=100,
            metavar="N",
            help="the newest N detections have image files (100); those of the others are missing",
        )
        parser.add_argument(
            "--until", type=terminal.moment, metavar="TIME", help="the end of the half-year (today, 0:00 UTC)"
        )
        parser.add_argument("--replace", action="store_true", help="delete first what this seed has made")
        parser.add_argument("--force", action="store_true", help="also in staging and production")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be made")

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
        for _batch in self.progress(seeding.remove(seed), "Deleting", ceil(earlier[1] / cleanup.BATCH)):
            pass
        if self.interrupted:
            self.close("What this seed has made before is deleted in part.")
        self.make(made)

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
            self.say(f"Log in as seed-{made.seed}-1@example.com, password {demonstration.PASSWORD}.")
