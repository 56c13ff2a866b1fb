import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connection, models, transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import RowNumber
from django.utils import timezone
from uuid_utils.compat import uuid7

from detections.images.extensions import given_extension
from objectvision.lib import leases, rows

MAX_ATTEMPTS = 3
LOCKED_AT_ONCE = 200  # detections: a bound on what one transaction holds
NAME_LENGTH = 255
CLASS_LENGTH = 100
SAFE_NAME_LENGTH, SAFE_NAME_BYTES = 100, 180  # file systems take 255 bytes, of which an id has 36
MOST_NAMES_SHOWN = 100
QUEUE_FIELDS = (
    "state", "claim", "claimed_at", "attempts", "turn", "priority", "detector", "error", "error_code",
    "processed_at",
)  # fmt: skip  # a list to read at a glance
OUTCOME_FIELDS = (
    "state", "claim", "claimed_at", "width", "height", "error", "error_code", "processed_at", "inference_ms",
)  # fmt: skip  # a list to read at a glance
COUNTED_FIELDS = ("processed", "failed", "status", "error", "started_at", "finished_at", "updated_at")


class UnknownClassesError(ValueError):
    """Classes that a detector does not know.

    The text names them and the known ones, for the user.
    """


DEFAULT_DETECTOR = "SELECT {detector} FROM detections_detector AS detector WHERE is_active AND is_default"

WAITED_FOR = """
    SELECT * FROM (
        SELECT {detector}, (
            SELECT turn FROM detections_detectionimage
            WHERE state = 'waiting' AND detector_id = detector.id ORDER BY turn, priority, id LIMIT 1
        ) AS lowest_turn
        FROM detections_detector AS detector
    ) AS detector
    WHERE lowest_turn IS NOT NULL ORDER BY lowest_turn, id
    """


# Each part reads the small index of its state.
QUEUES = """
    SELECT {detector}, queue.state, queue.images, queue.oldest
    FROM detections_detector AS detector LEFT JOIN (
        SELECT detector_id, 'waiting' AS state, count(*) AS images,
            min(CASE WHEN priority < 2 THEN CAST(id AS text) END) AS oldest
        FROM detections_detectionimage WHERE state = 'waiting' GROUP BY detector_id
        UNION ALL
        SELECT detector_id, 'claimed', count(*), NULL
        FROM detections_detectionimage WHERE state = 'claimed' GROUP BY detector_id
    ) AS queue ON queue.detector_id = detector.id
    """


class Queue(NamedTuple):
    """A detector's images in a state: None where it has none in any.

    `oldest` is the id of the one of an upload that was sent first: it holds the time.
    """

    detector: "Detector"
    state: str | None
    images: int | None
    oldest: str | None


class DetectorQuerySet(models.QuerySet["Detector"]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def default(self) -> "Detector | None":
        found = rows.read(DEFAULT_DETECTOR, [], detector=Detector)
        return found[0][0] if found else None

    def queues(self) -> list[Queue]:
        return [Queue(*row) for row in rows.read(QUEUES, [], detector=Detector)]

    def in_turn(self) -> list["Detector"]:
        """As `with_waiting_images`, by a statement that is written once."""
        return [detector for detector, _ in rows.read(WAITED_FOR, [], detector=Detector)]

    def with_waiting_images(self) -> Self:
        """Detectors with waiting images, lowest turn first; annotated with `lowest_turn`.

        Each detector costs one probe of the waiting images' index, however many wait.
        """
        first = DetectionImage.objects.waiting().filter(detector=OuterRef("pk")).in_fair_order()
        return (
            self.annotate(lowest_turn=Subquery(first.values("turn")[:1]))
            .exclude(lowest_turn=None)
            .order_by("lowest_turn", "id")
        )


class Detector(models.Model):
    """Named, versioned weights in a prepared folder.

    `path` is relative to `DATA_DIR/detectors`.
    """

    class Backend(models.TextChoices):
        OPENVINO = "openvino"
        ULTRALYTICS = "ultralytics"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    version = models.CharField(max_length=50)
    task = models.CharField(max_length=20, default="detect")
    sha256 = models.CharField(max_length=64)
    path = models.CharField(max_length=255)
    backend = models.CharField(max_length=20, choices=Backend)
    image_size = models.PositiveIntegerField()
    takes_any_size = models.BooleanField(default=False, help_text="Uploads may choose another image size.")
    classes = models.JSONField(help_text="Names by class id, in the order of the ids.")
    is_default = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DetectorQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "version", "backend"], name="detections_detector_unique"),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="detections_detector_one_default"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.backend})"

    @property
    def full_name(self) -> str:
        """As uploads may name it."""
        return f"{self.name}:{self.version}"

    @property
    def folder(self) -> Path:
        return settings.DETECTORS_DIR / self.path

    @property
    def ids_by_name(self) -> dict[str, list[int]]:
        """The ids of the classes of each name: several classes may share one."""
        ids: dict[str, list[int]] = {}
        for class_id, name in enumerate(self.classes):
            ids.setdefault(name, []).append(class_id)
        return ids

    @property
    def known_classes(self) -> dict[str, list[int]]:
        """The ids of classes by their name, and by the id as a text.

        Names win: some classes are named "7".
        """
        return {str(class_id): [class_id] for class_id in range(len(self.classes))} | self.ids_by_name

    def number_of(self, name: str) -> int:
        """The id of the first class called so; the number of classes for a name that is not known."""
        return self.classes.index(name) if name in self.classes else len(self.classes)

    def class_ids(self, wanted: Collection[str], known: dict[str, list[int]] | None = None) -> list[int]:
        """The ids of all classes called so, in ascending order; `known` is `known_classes` unless given.

        Raises UnknownClassesError.
        """
        known = self.known_classes if known is None else known
        if unknown := [name for name in wanted if name not in known]:
            raise UnknownClassesError(f"{self.name} knows no {some(unknown)}, but {some(self.classes)}.")
        return sorted({class_id for name in wanted for class_id in known[name]})

    def make_default(self) -> None:
        with transaction.atomic():
            Detector.objects.filter(is_default=True).exclude(pk=self.pk).update(is_default=False)
            Detector.objects.filter(pk=self.pk).update(is_default=True, is_active=True)


def some(names: Sequence[str]) -> str:
    """The names for a sentence: only the first ones, if they are many; in quotes where they hold commas."""
    more = len(names) - MOST_NAMES_SHOWN
    shown = [f'"{name}"' if "," in name else name for name in names[:MOST_NAMES_SHOWN]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


# An image that is taken away while this waits for its detection is seen as it is then: it is locked, too.
LOCK_CLAIMED = """
    WITH detection AS MATERIALIZED (
        SELECT {detection} FROM detections_detection AS detection WHERE id IN (%s) ORDER BY id FOR UPDATE
    )
    SELECT {detection}, image.id, EXISTS (
        SELECT 1 FROM detections_detectionresult AS result WHERE result.image_id = image.id
    )
    FROM detection JOIN detections_detectionimage AS image ON image.detection_id = detection.id
    WHERE image.state = 'claimed' AND image.claim = %s FOR UPDATE OF image
    """

BEGIN = """
    UPDATE detections_detection SET status = 'processing', started_at = %s, updated_at = %s
    WHERE id IN (
        SELECT id FROM detections_detection
        WHERE id IN (%s) AND status = 'pending' ORDER BY id FOR UPDATE
    )
    RETURNING id
    """


class DetectionQuerySet(models.QuerySet["Detection"]):
    def owned_by(self, user: Any) -> Self:
        return self.filter(user=user)

    def finished(self) -> Self:
        return self.exclude(status__in=Detection.UNFINISHED)

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def with_images(self) -> Self:
        """With detector and images, in two queries.

        `reports.show_results` adds the images' results.
        """
        return self.select_related("detector").prefetch_related(Detection.images_in_order())

    def lock_all(self) -> list["Detection"]:
        """Lock these rows until the transaction ends, in id order against deadlocks."""
        return list(self.order_by("pk").select_for_update(of=("self",)))

    def lock(self, ids: Collection[UUID]) -> list["Detection"]:
        """As `lock_all`, those with these ids."""
        return self.filter(pk__in=ids).lock_all()

    def lock_with_reruns(self, ids: Collection[UUID]) -> list["Detection"]:
        """As `lock`, with the reruns of these rows."""
        return self.filter(Q(pk__in=ids) | Q(source__in=ids)).lock_all()

    def lock_claimed(self, ids: Collection[UUID], fence: UUID) -> tuple[list["Detection"], dict[UUID, bool]]:
        """As `lock`, those of them with images that still carry this claim: these images are locked, too.

        With the images' ids, and whether they have results.
        """
        locked: dict[UUID, Detection] = {}
        have_results: dict[UUID, bool] = {}
        for detection, image_id, has_results in rows.read(
            LOCK_CLAIMED, [list(ids), fence], detection=Detection
        ):
            locked.setdefault(detection.pk, detection)
            have_results[rows.as_id(image_id)] = bool(has_results)
        return [locked[pk] for pk in sorted(locked)], have_results

    def begin(self, detections: Collection["Detection"]) -> list["Detection"]:
        """`pending → processing` for the rows that are still pending. Returns the rows that this has begun.

        They are locked in id order against deadlocks, until the transaction ends that this is called in.
        """
        ids, now = [detection.pk for detection in detections], timezone.now()
        begun = rows.read(BEGIN, [now, now, ids])
        if len(begun) < len(ids):
            return list(self.filter(pk__in=[rows.as_id(pk) for [pk] in begun]))
        for detection in detections:
            detection.status = Detection.Status.PROCESSING
        return list(detections)

    def recount(
        self, detections: Sequence["Detection"], images: "Sequence[DetectionImage]" = ()
    ) -> list["Detection"]:
        """Count the images of these locked rows again, as `count_again`, and save the counts."""
        finished = self.count_again(detections, images)
        rows.write((detections, COUNTED_FIELDS))
        return finished

    def count_again(
        self, detections: Collection["Detection"], images: "Sequence[DetectionImage]" = ()
    ) -> list["Detection"]:
        """Count the images of these locked rows. Saves nothing.

        Rows whose images have all ended are finished, and returned. `images` are changed under the same
        locks, and need not be saved: a detection that has no others needs no query.
        """
        finished = []
        counts: dict[UUID, Counter[str]] = {detection.pk: Counter() for detection in detections}
        for image in images:
            counts[image.detection_id][image.state] += 1
        if others := [each.pk for each in detections if counts[each.pk].total() < each.total]:
            unchanged = DetectionImage.objects.filter(detection__in=others).exclude(
                pk__in=[image.pk for image in images]
            )
            states_of = unchanged.values_list("detection", "state")
            for detection_id, state, count in states_of.annotate(count=models.Count("pk")).order_by():
                counts[detection_id][state] += count
        for detection in detections:
            states = counts[detection.pk]
            detection.processed = states[DetectionImage.State.DONE]
            detection.failed = states[DetectionImage.State.FAILED]
            detection.updated_at = timezone.now()
            if not detection.is_finished and not any(states[state] for state in DetectionImage.OPEN):
                detection.finish([image for image in images if image.detection_id == detection.pk])
                finished.append(detection)
        return finished


PLACES = """
    SELECT own.detection_id, 1 + (
        SELECT count(*) FROM (
            SELECT 1 FROM detections_detectionimage
            WHERE state = 'waiting' AND detector_id = own.detector_id
                AND (turn, priority, id) < (own.turn, own.priority, own.id)
            ORDER BY turn, priority, id LIMIT 999
        ) AS earlier
    )
    FROM detections_detectionimage AS own
    WHERE own.id IN (
        SELECT (
            SELECT id FROM detections_detectionimage
            WHERE state = 'waiting' AND detection_id = asked.id ORDER BY turn, priority, id LIMIT 1
        )
        FROM detections_detection AS asked WHERE asked.id IN (%s)
    )
    """


class Detection(models.Model):
    """One request's images and what was found on them. Its id is its job's id."""

    class Status(models.TextChoices):
        PENDING = "pending"
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Moderation(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        HIDDEN = "hidden"

    UNFINISHED = (Status.PENDING, Status.PROCESSING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="detections", db_index=False
    )
    name = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    detector = models.ForeignKey(Detector, models.PROTECT, related_name="detections", db_index=False)
    parameters = models.JSONField(default=dict, help_text="All that a repetition needs beside the images.")
    source = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="reruns",
        db_index=False,
        help_text="The detection that it reruns, with the same files.",
    )
    total = models.PositiveIntegerField(default=0)
    processed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    is_public = models.BooleanField(default=False)
    moderation = models.CharField(max_length=10, choices=Moderation, default=Moderation.PENDING)
    moderation_reason = models.CharField(
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text="Of the last rejection, for its owner.",
    )
    error = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  # NULLs are not compared
    request_hash = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(
        max_length=64, blank=True, help_text="Of the upload: log lines of the work on it carry it, too."
    )
    traceparent = models.CharField(
        max_length=55,
        blank=True,
        default="",
        db_default="",
        help_text="Of the upload's trace, if it has one.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DetectionQuerySet.as_manager()

    class Meta:
        # One for each order and filter of a history; the first column also serves the foreign key.
        indexes: ClassVar = [
            models.Index(fields=["user", "-created_at", "-id"], name="detections_history"),
            models.Index(fields=["user", "finished_at", "id"], name="detections_by_finish"),
            # With the time, so that a search of names in a time reads no row.
            models.Index(fields=["user", "name", "id", "created_at"], name="detections_by_name"),
            models.Index(fields=["user", "total", "id"], name="detections_by_total"),
            models.Index(fields=["user", "status", "-created_at", "-id"], name="detections_by_status"),
            models.Index(fields=["detector", "user", "-created_at", "-id"], name="detections_by_detector"),
            models.Index(
                fields=["-created_at", "-id"],
                name="detections_public",
                condition=Q(is_public=True, moderation="approved"),
            ),
            models.Index(
                fields=["id"], name="detections_unfinished", condition=Q(status__in=("pending", "processing"))
            ),
            models.Index(fields=["source"], name="detections_reruns", condition=~Q(source=None)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="detections_idempotency"),
        ]

    def __str__(self) -> str:
        return self.name or str(self.pk)

    @property
    def priority(self) -> "DetectionImage.Priority":
        """The priority of its images: single images go before batches."""
        return DetectionImage.Priority.SINGLE if self.total == 1 else DetectionImage.Priority.BATCH

    @property
    def is_finished(self) -> bool:
        return self.status not in self.UNFINISHED

    @property
    def percent(self) -> int:
        """The share of ended images: 0..100, and 100 only when all have ended.

        Cancelled images are not counted, until a retry has run the job to its end.
        """
        if self.status in {self.Status.COMPLETED, self.Status.FAILED}:
            return 100
        return 100 * (self.processed + self.failed) // self.total if self.total else 0

    @staticmethod
    def images_in_order() -> "models.Prefetch[Any]":
        return models.Prefetch("images", queryset=DetectionImage.objects.order_by("id"))

    def load_images(self) -> None:
        """As `with_images`, once for this row."""
        models.prefetch_related_objects([self], self.images_in_order())

    def queue_position(self) -> int:
        """The place of the first waiting image, counted up to 1,000; 0 if none waits."""
        return queue_positions([self]).get(self.pk, 0)

    def change(self, **values: Any) -> bool:
        """Write these columns alone: a worker writes the others.

        False if the row was deleted meanwhile.
        """
        if not Detection.objects.filter(pk=self.pk).update(**values, updated_at=timezone.now()):
            return False
        for name, value in values.items():
            setattr(self, name, value)
        return True

    def finish(self, images: "Sequence[DetectionImage]" = ()) -> None:
        """End it after all of its images have ended, these unsaved ones among them. The caller saves."""
        self.status = self.Status.COMPLETED if self.processed else self.Status.FAILED
        self.error = "" if self.processed else self.first_error(images)
        self.finished_at = timezone.now()

    def begin(self, now: datetime) -> None:
        """`pending → processing`. The caller has locked it, and saves."""
        self.status = self.Status.PROCESSING
        self.started_at = now

    def reopen(self) -> None:
        """Make it pending: some of its images wait again. The caller saves."""
        self.status = self.Status.PENDING
        self.error = ""
        self.finished_at = None

    def first_error(self, images: "Sequence[DetectionImage]" = ()) -> str:
        failed = DetectionImage.State.FAILED
        errors = {image.pk: image.error for image in images if image.state == failed}
        if len(images) < self.total:
            others = self.images.filter(state=failed).exclude(pk__in=[image.pk for image in images])
            errors |= dict(others.order_by("pk").values_list("pk", "error")[:1])
        return errors[min(errors)] if errors else "The detection has no images."


@dataclass(frozen=True, slots=True)
class Claim:
    """Images that one worker has claimed. Each of their rows carries the fence.

    `more`: others may have waited behind them.
    """

    fence: UUID
    detector: Detector
    images: "Sequence[DetectionImage]"
    more: bool
    at: datetime = field(default_factory=timezone.now)

    @property
    def detections(self) -> set[UUID]:
        return {image.detection_id for image in self.images}

    @property
    def traceparents(self) -> list[str]:
        return [image.detection.traceparent for image in self.images]

    @property
    def pending_detections(self) -> list[Detection]:
        """The detections that had not begun when they were claimed."""
        by_id = {image.detection_id: image.detection for image in self.images}
        return [each for each in by_id.values() if each.status == Detection.Status.PENDING]


class EndOfLine(NamedTuple):
    """The turn of a user's next image, and how many of theirs wait: counted to one past the most."""

    turn: int
    waiting: int


END_OF_LINE = """
    SELECT
        coalesce((
            SELECT max(turn) FROM detections_detectionimage
            WHERE state = 'waiting' AND user_id = %s AND priority = %s
        ), 0),
        coalesce((
            SELECT turn FROM detections_detectionimage
            WHERE state = 'waiting' AND detector_id = %s ORDER BY turn, priority, id LIMIT 1
        ), (
            SELECT min((
                SELECT turn FROM detections_detectionimage
                WHERE state = 'waiting' AND detector_id = detector.id ORDER BY turn, priority, id LIMIT 1
            )) FROM detections_detector AS detector
        ), 0),
        (
            SELECT count(*) FROM (
                SELECT 1 FROM detections_detectionimage
                WHERE state = 'waiting' AND user_id = %s AND priority <> %s LIMIT %s
            ) AS own
        )
    """


def queue_positions(detections: Iterable[Detection]) -> dict[UUID, int]:
    """The places of those that have a waiting image, as `Detection.queue_position`."""
    unfinished = [detection.pk for detection in detections if not detection.is_finished]
    found = rows.read(PLACES, [unfinished]) if unfinished else []
    return {UUID(str(pk)): place for pk, place in found}


class DetectionImageQuerySet(models.QuerySet["DetectionImage"]):
    def waiting(self) -> Self:
        return self.filter(state=DetectionImage.State.WAITING)

    def in_fair_order(self) -> Self:
        return self.order_by("turn", "priority", "id")

    def end_of_line(self, user: Any, priority: int, detector: Any) -> "EndOfLine":
        """What waits for a user's next image.

        Its turn is one past the user's highest turn in this priority or the detector's lowest. The larger of
        the two counts; if nothing waits for the detector, the lowest turn of all. So a user's images queue
        behind each other, another user's first image goes before the rest of them, and the image that waits
        longest is always among the next, also while another detector cannot be loaded.
        """
        most = settings.MAX_WAITING_IMAGES_PER_USER + 1
        [[highest, lowest, waiting]] = rows.read(
            END_OF_LINE, [user, priority, detector, user, self.model.Priority.BACKGROUND, most]
        )
        return EndOfLine(max(highest, lowest) + 1, waiting)

    def stamp_turns(self, images: Sequence["DetectionImage"], first: int | None = None) -> None:
        """Put images at the end of their user's queue, one behind the other.

        Saves nothing. All are of one user, priority and detector. `first` is the first one's turn, if known.
        """
        if images and first is None:
            first = self.end_of_line(images[0].user_id, images[0].priority, images[0].detector_id).turn
        for turn, image in enumerate(images, first or 0):
            image.turn = turn

    def without_reviews(self) -> Self:
        """Those of which no result was reviewed, and to which no box was added."""
        reviewed = DetectionResult.objects.reviewed().filter(image=OuterRef("pk"))
        return self.exclude(models.Exists(reviewed))

    def with_a_file(self) -> Self:
        return self.exclude(image_path="")

    def share_files(self) -> None:
        """Say that other images have the files of these. Needs the locks of their detections."""
        self.filter(shares_file=False).update(shares_file=True)

    def shared_paths(self, paths: Collection[str]) -> set[str]:
        """Those of these paths that images still have, after a row of each was deleted."""
        return set(self.filter(shares_file=True, image_path__in=paths).values_list("image_path", flat=True))

    def done_alike(self, detection: Detection, sha256s: Any) -> Self:
        """The user's done images of equal bytes, detector and parameters, newest first."""
        return self.filter(
            user=detection.user_id,
            sha256__in=sha256s,
            state=DetectionImage.State.DONE,
            detector=detection.detector_id,
            detection__detector=detection.detector_id,  # whose classes the parameters number
            detection__parameters=detection.parameters,
        ).order_by("-pk")

    def claim(self, detector: Detector, count: int, *, untried: bool = False) -> Claim | None:
        """Take up to `count` waiting images of a detector, in fair order.

        None if nothing waits. An image that was claimed before is claimed alone, and not at all if `untried`
        ones are asked for: it may have ended its worker, and may do so again. The images come with their
        detections.
        """
        fence = uuid4()
        claim_now = claim_at_once if connection.features.has_select_for_update_skip_locked else claim_in_two
        images, found = claim_now(detector, count, fence, untried=untried)
        more = found == count or len(images) < found
        return Claim(fence, detector, images, more) if images else None

    def claimed_by(self, fence: UUID) -> Self:
        return self.filter(state=DetectionImage.State.CLAIMED, claim=fence)

    def renew(self, fence: UUID) -> int:
        """Keep a claim from lapsing. How many images still carry it."""
        return self.claimed_by(fence).update(claimed_at=timezone.now())

    def lapsed(self, now: datetime) -> Self:
        lease = timedelta(seconds=settings.CLAIM_LEASE_SECONDS)
        return self.filter(leases.lapsed(now, lease), state=DetectionImage.State.CLAIMED)

    def put_back(self, *, counted: bool) -> int:
        """Let the claimed images among these wait again.

        Returns how many. Uncounted, the attempt is taken back.
        """
        attempts = {} if counted else {"attempts": F("attempts") - 1}
        claimed = self.filter(state=DetectionImage.State.CLAIMED)
        return claimed.update(state=DetectionImage.State.WAITING, claim=None, claimed_at=None, **attempts)

    def cancel(self) -> int:
        """End the open images.

        Returns how many were cancelled. Needs the locks of their detections. An image that was done before it
        was put back is done again, with the results it still has.
        """
        undone = self.filter(state__in=DetectionImage.OPEN)
        undone.exclude(processed_at=None).update(state=DetectionImage.State.DONE, claim=None, claimed_at=None)
        DetectionResult.objects.filter(image__in=undone).delete()
        return undone.update(state=DetectionImage.State.CANCELLED, claim=None, claimed_at=None)

    def put_in_line(self, images: Sequence["DetectionImage"]) -> None:
        """Save that these images wait again."""
        rows.write((images, QUEUE_FIELDS))


# Its commit need not reach the disk: an image whose claim a crash of PostgreSQL undid waits again.
CLAIM = """
    WITH candidates AS MATERIALIZED (
        SELECT id, turn, priority, attempts FROM detections_detectionimage
        WHERE state = 'waiting' AND detector_id = %s
        ORDER BY turn, priority, id LIMIT %s FOR UPDATE SKIP LOCKED
    ), placed AS (
        SELECT id, row_number() OVER line AS place, max(attempts) OVER line AS tried,
            count(*) OVER () AS found
        FROM candidates, set_config('synchronous_commit', 'off', true)
        WINDOW line AS (ORDER BY turn, priority, id)
    ), image AS (
        UPDATE detections_detectionimage AS image
        SET state = 'claimed', claim = %s, claimed_at = %s, attempts = image.attempts + 1
        FROM placed
        WHERE image.id = placed.id AND (placed.tried = 0 OR placed.place = 1 AND NOT %s)
        RETURNING {image}, placed.place, placed.found
    )
    SELECT {image}, {detection}, image.found
    FROM image JOIN detections_detection AS detection ON detection.id = image.detection_id
    ORDER BY image.place
    """

CANDIDATES = """
    SELECT {image}, {detection}
    FROM detections_detectionimage AS image
    JOIN detections_detection AS detection ON detection.id = image.detection_id
    WHERE image.state = 'waiting' AND image.detector_id = %s
    ORDER BY image.turn, image.priority, image.id LIMIT %s
    """


def claim_at_once(
    detector: Detector, count: int, fence: UUID, *, untried: bool
) -> tuple[list["DetectionImage"], int]:
    """The claimed images, and how many were found waiting, up to `count`."""
    values = [detector.pk, count, fence, timezone.now(), untried]
    claimed = rows.read(CLAIM, values, image=DetectionImage, detection=Detection)
    return with_detections(claimed), claimed[0][-1] if claimed else 0


def with_detections(found: Sequence[Sequence[Any]]) -> list["DetectionImage"]:
    for image, detection, *_ in found:
        image.detection = detection
    return [image for image, *_ in found]


def claim_in_two(
    detector: Detector, count: int, fence: UUID, *, untried: bool
) -> tuple[list["DetectionImage"], int]:
    """As `claim_at_once`, where transactions run one after the other."""
    with transaction.atomic():
        values = [detector.pk, count]
        found = with_detections(rows.read(CANDIDATES, values, image=DetectionImage, detection=Detection))
        taken = list(takewhile(lambda image: not image.attempts, found)) or ([] if untried else found[:1])
        DetectionImage.objects.filter(pk__in=[image.pk for image in taken]).update(
            state=DetectionImage.State.CLAIMED,
            claim=fence,
            claimed_at=timezone.now(),
            attempts=F("attempts") + 1,
        )
    return taken, len(found)


class DetectionImage(models.Model):
    """An image: a row of the queue until it has ended, parent of its results.

    User and detector stand here too, so that the queue is read without a join.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        CLAIMED = "claimed"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Priority(models.IntegerChoices):
        SINGLE = 0
        BATCH = 1
        BACKGROUND = 2  # put back by an operator: every upload goes before it

    OPEN = (State.WAITING, State.CLAIMED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    detection = models.ForeignKey(Detection, models.CASCADE, related_name="images")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    detector = models.ForeignKey(Detector, models.PROTECT, related_name="images", db_index=False)
    image_path = models.CharField(
        max_length=255, blank=True, help_text="In the storage; empty where refused."
    )
    shares_file = models.BooleanField(
        default=False, db_default=False, help_text="Other images may have the same file."
    )
    original_name = models.CharField(max_length=NAME_LENGTH, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    width = models.PositiveIntegerField(null=True, help_text="Pixels of the upright image.")
    height = models.PositiveIntegerField(null=True, help_text="Pixels of the upright image.")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    claim = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    turn = models.BigIntegerField(default=0)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.SINGLE)
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    processed_at = models.DateTimeField(null=True, blank=True)
    inference_ms = models.FloatField(null=True, blank=True)

    # Set by `reports.show_results`.
    results_total: int
    shown_results: "list[DetectionResult]"

    objects = DetectionImageQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["detector", "turn", "priority", "id"],
                name="detections_queue",
                condition=Q(state="waiting"),
            ),
            models.Index(
                fields=["user", "priority", "turn"], name="detections_own_turn", condition=Q(state="waiting")
            ),
            models.Index(fields=["user", "sha256"], name="detections_known", condition=Q(state="done")),
            models.Index(fields=["claim"], name="detections_claim", condition=Q(state="claimed")),
            models.Index(fields=["claimed_at"], name="detections_lease", condition=Q(state="claimed")),
            models.Index(fields=["image_path"], name="detections_shared", condition=Q(shares_file=True)),
            # Covers a search of names: it takes a third of the time of reading the rows.
            models.Index(fields=["user", "detection", "original_name"], name="detections_image_names"),
        ]

    def __str__(self) -> str:
        return self.original_name or str(self.pk)

    @property
    def processed(self) -> bool:
        return self.state == self.State.DONE

    @property
    def extension(self) -> str:
        """Of the format that the validators found, with its dot."""
        return Path(self.image_path).suffix

    @property
    def given_extension(self) -> str:
        """Of the original as it is given out."""
        return given_extension(self.extension)

    @property
    def safe_stem(self) -> str:
        """The original name without extension, of letters, digits, `-`, `_` and `.`."""
        stem = re.sub(r"[^\w.-]+", "_", Path(self.original_name).stem).strip("._")[:SAFE_NAME_LENGTH]
        return stem.encode()[:SAFE_NAME_BYTES].decode(errors="ignore")

    @property
    def safe_name(self) -> str:
        return f"{self.safe_stem or self.pk}{self.given_extension}"

    @property
    def unique_stem(self) -> str:
        """A unique name that its owner recognises: for files of many images."""
        return f"{self.safe_stem or 'image'}-{self.pk}"

    @property
    def unique_name(self) -> str:
        return f"{self.unique_stem}{self.given_extension}"

    def copied_to(self, detection: Detection) -> "DetectionImage":
        """The same file as a waiting image of another detection of its owner. Not saved."""
        return DetectionImage(
            detection=detection,
            user_id=detection.user_id,
            detector_id=detection.detector_id,
            image_path=self.image_path,
            shares_file=True,
            original_name=self.original_name,
            sha256=self.sha256,
            width=self.width,
            height=self.height,
        )

    def copy_outcome(self, earlier: "DetectionImage", now: datetime) -> None:
        """Make it done like an earlier image of the same bytes. The caller saves."""
        self.state = self.State.DONE
        self.width, self.height = earlier.width, earlier.height
        self.inference_ms = earlier.inference_ms
        self.processed_at = now

    def wait_again(self) -> None:
        """Make it wait as if never tried.

        A done image keeps results and time until there are new ones. The caller stamps its turn, and saves.
        """
        if self.state != self.State.DONE:
            self.processed_at = None
        self.state = self.State.WAITING
        self.claim = self.claimed_at = None
        self.error = self.error_code = ""
        self.attempts = 0

    def fail(self, code: str, reason: str) -> None:
        """Make it failed, with a reason for its owner. The caller saves."""
        self.state = self.State.FAILED
        self.claim = self.claimed_at = None
        self.error_code, self.error = code, reason
        self.processed_at = timezone.now()


class BulkActionQuerySet(leases.LeasedQuerySet["BulkAction"]):
    def claimable(self) -> Self:
        """Actions without a claim or with a lapsed one. The action that was worked on last comes last."""
        lease = timedelta(seconds=settings.CLAIM_LEASE_SECONDS)
        free = Q(claim=None) | leases.lapsed(timezone.now(), lease)
        return self.filter(free).select_related("user").order_by(F("claimed_at").asc(nulls_first=True), "pk")


class BulkAction(leases.Leased):
    """What a user wants done with many detections. Deleted with the last of them.

    Doing it twice does no harm: of a claim that has lapsed, only the part that was not saved is done again.
    """

    class Action(models.TextChoices):
        DELETE = "delete"
        REPROCESS = "reprocess"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="bulk_actions")
    action = models.CharField(max_length=10, choices=Action)
    detection_ids = models.JSONField(help_text="Those that are left.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = BulkActionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.action} {len(self.detection_ids)}"

    def values_of_claimed(self) -> dict[str, Any]:
        return {}

    def save_progress(self, left: Sequence[str]) -> bool:
        """Keep the claim. False, and nothing saved, if it was taken away."""
        self.detection_ids = list(left)
        return self.update_claimed(detection_ids=self.detection_ids, claimed_at=timezone.now())


class DiscardedFile(models.Model):
    """The file of an image whose row is gone: named here until it is deleted, however a process ends."""

    GRACE = timedelta(minutes=10)
    """The process that deleted the row deletes the file meanwhile."""
    PAUSE = timedelta(hours=1)
    """Before a storage that failed is asked again."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    path = models.CharField(max_length=255)
    due_at = models.DateTimeField(db_index=True, help_text="When the sweep deletes it.")

    def __str__(self) -> str:
        return self.path


class DetectionResultQuerySet(models.QuerySet["DetectionResult"]):
    def owned_by(self, user: Any) -> Self:
        return self.filter(user=user)

    def most_confident_first(self) -> Self:
        return self.order_by("-confidence", "id")

    def most_confident_of_each_image(self, count: int) -> Self:
        """At most `count` of each image."""
        place = models.Window(
            RowNumber(), partition_by=[F("image")], order_by=[F("confidence").desc(), F("id").asc()]
        )
        return self.annotate(place=place).filter(place__lte=count)

    def found_by_models(self) -> Self:
        return self.filter(source=DetectionResult.Source.MODEL)

    def reviewed(self) -> Self:
        """What an owner has accepted, added or rejected."""
        return self.filter(review__in=DetectionResult.REVIEWED)

    def not_rejected(self) -> Self:
        return self.exclude(review=DetectionResult.Review.REJECTED)

    def confirmed(self) -> Self:
        """What an owner has accepted or added."""
        return self.filter(review=DetectionResult.Review.ACCEPTED)

    def named_by_owner(self) -> Self:
        return self.exclude(source=DetectionResult.Source.MODEL, reviewed_class="")

    def count_by_image(self) -> Counter[UUID]:
        """The number of results by image, of images that have any."""
        counts = self.order_by().values_list("image").annotate(count=models.Count("pk"))
        return Counter(dict(counts))

    def newest_first(self) -> Self:
        """Newest first; of one image the most confident first, as inserted.

        By time, not by id alone: with that, PostgreSQL would walk through the results of all users.
        """
        return self.order_by("-created_at", "id")

    def of_final_class(self, names: Collection[str]) -> Self:
        by_model = Q(reviewed_class="", object_class__in=names)
        return self.filter(by_model | Q(reviewed_class__in=[name for name in names if name]))


class DetectionResult(models.Model):
    """One object found.

    The box is normalised to 0..1 of the upright image: top-left corner and size. User and time stand here
    too, so that a search needs no join.
    """

    class Review(models.TextChoices):
        NONE = "none"
        ACCEPTED = "accepted"
        REJECTED = "rejected"

    class Source(models.TextChoices):
        MODEL = "model"
        PERSON = "person"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    detection = models.ForeignKey(Detection, models.CASCADE, related_name="results", db_index=False)
    image = models.ForeignKey(DetectionImage, models.CASCADE, related_name="results")
    object_class = models.CharField(max_length=CLASS_LENGTH)
    class_id = models.PositiveIntegerField()
    confidence = models.FloatField(validators=[MinValueValidator(0), MaxValueValidator(1)])
    bbox_x = models.FloatField()
    bbox_y = models.FloatField()
    bbox_width = models.FloatField()
    bbox_height = models.FloatField()
    source = models.CharField(
        max_length=10,
        choices=Source,
        default=Source.MODEL,
        db_default=Source.MODEL,
        help_text="Who found it.",
    )
    review = models.CharField(max_length=10, choices=Review, default=Review.NONE, db_default=Review.NONE)
    reviewed_class = models.CharField(
        max_length=CLASS_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Another class than the model's, by its owner.",
    )
    reviewed_by = models.UUIDField(null=True, blank=True, help_text="A user.")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    REVIEWED = (Review.ACCEPTED, Review.REJECTED)
    UNREVIEWED: ClassVar[dict[str, Any]] = {
        "review": Review.NONE, "reviewed_class": "", "reviewed_by": None, "reviewed_at": None,
    }  # fmt: skip  # a list to read at a glance

    objects = DetectionResultQuerySet.as_manager()

    class Meta:
        # Common classes are searched detection by detection, or newest first; rare ones among all results of
        # the user. The first index covers the history's conditions, and serves the foreign key. Indexes end
        # with what totals ask besides, so that these read no row.
        indexes: ClassVar = [
            models.Index(
                fields=["detection", "user", "object_class", "-confidence"], name="detections_found"
            ),
            models.Index(fields=["user", "-created_at", "id"], name="detections_results"),
            models.Index(
                fields=["user", "object_class", "-confidence", "created_at", "review"],
                name="detections_by_class",
            ),
            models.Index(fields=["user", "-confidence", "review"], name="detections_by_confidence"),
            models.Index(
                fields=["user", "review", "-confidence"],
                name="detections_reviewed",
                condition=Q(review__in=("accepted", "rejected")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.object_class} {self.confidence:.2f}"

    @property
    def is_added(self) -> bool:
        return self.source == self.Source.PERSON

    @property
    def final_class(self) -> str:
        """The class that its owner gave it, else the model's."""
        return self.reviewed_class or self.object_class

    def copied_to(self, image: DetectionImage) -> "DetectionResult":
        """The same object on an image of the same bytes: not reviewed, not saved."""
        own = {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}
        new = {
            "id": uuid7(),
            "image_id": image.pk,
            "detection_id": image.detection_id,
            **self.UNREVIEWED,
            "created_at": timezone.now(),
        }
        return DetectionResult(**{**own, **new})

    def corners(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The box as `x1, y1, x2, y2` in pixels of an upright image of this size."""
        x1, y1 = self.bbox_x * width, self.bbox_y * height
        return x1, y1, x1 + self.bbox_width * width, y1 + self.bbox_height * height

    @property
    def pixels(self) -> dict[str, float]:
        """The box in pixels of the upright image, to the hundredth, as answers show it."""
        x1, y1, x2, y2 = self.corners(self.image.width or 0, self.image.height or 0)
        edges = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": x2 - x1, "height": y2 - y1}
        return {name: round(value, 2) for name, value in edges.items()}

    @property
    def shares(self) -> dict[str, float]:
        """The box in shares of the upright image, as answers and files show it."""
        return {
            "x": self.bbox_x,
            "y": self.bbox_y,
            "width": self.bbox_width,
            "height": self.bbox_height,
        }


class ExportQuerySet(leases.LeasedQuerySet["Export"]):
    def owned_by(self, user: Any) -> Self:
        return self.filter(user=user)

    def unfinished(self) -> Self:
        return self.filter(status__in=Export.UNFINISHED)

    def claimable(self) -> Self:
        """Pending exports, oldest first.

        The file of an earlier attempt has to be deleted before.
        """
        return self.filter(status=Export.Status.PENDING, path="").select_related("user").order_by("pk")

    def release_lapsed(self) -> list["Export"]:
        """Let exports whose worker is gone wait again, or fail after their last attempt.

        Returns those that failed.
        """
        now, lease = timezone.now(), timedelta(seconds=settings.CLAIM_LEASE_SECONDS)
        return self.filter(leases.lapsed(now, lease), status=Export.Status.PROCESSING).release(
            waiting={"status": Export.Status.PENDING, "processed": 0},
            failed={
                "status": Export.Status.FAILED,
                "error": f"The file could not be made in {MAX_ATTEMPTS} attempts.",
                "expires_at": now + Export.KEPT,
            },
        )

    def left_behind(self) -> Self:
        """Exports for which a worker that is gone may have stored a file."""
        return self.filter(status__in=(Export.Status.PENDING, Export.Status.FAILED)).exclude(path="")

    def expired(self) -> Self:
        return self.filter(expires_at__lte=timezone.now())


class Export(leases.Leased):
    """A file of results, made as a job, kept until `expires_at`.

    `total` and `processed` count images. `path` is saved before the file is stored: no file is forgotten when
    a worker dies. One that is not saved says what a file made at once shall be.
    """

    class Format(models.TextChoices):
        COCO = "coco"
        YOLO = "yolo"
        VOC = "voc"
        CSV = "csv"
        JSONL = "jsonl"
        LABELSTUDIO = "labelstudio"

    class Names(models.TextChoices):
        UNIQUE = "unique"
        ORIGINAL = "original"

    class Dialect(models.TextChoices):
        PLAIN = "plain"
        EXCEL = "excel"

    Status = Detection.Status
    UNFINISHED = Detection.UNFINISHED
    MOST_ATTEMPTS = MAX_ATTEMPTS
    KEPT = timedelta(hours=24)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="exports")
    format = models.CharField(max_length=11, choices=Format)
    reviewed = models.BooleanField(
        default=False, db_default=False, help_text="Only what its owner has accepted or added."
    )
    images = models.BooleanField(default=False, db_default=False, help_text="With the pictures.")
    names = models.CharField(
        max_length=8, choices=Names, default=Names.UNIQUE, db_default=Names.UNIQUE, help_text="Of images."
    )
    dialect = models.CharField(
        max_length=5, choices=Dialect, default=Dialect.PLAIN, db_default=Dialect.PLAIN, help_text="Of CSV."
    )
    filters = models.JSONField(default=dict, help_text="Those of a history: which detections are in it.")
    status = models.CharField(max_length=10, choices=Detection.Status, default=Detection.Status.PENDING)
    total = models.PositiveIntegerField(default=0)
    processed = models.PositiveIntegerField(default=0)
    path = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(default=0, db_default=0, help_text="Bytes of the file.")
    error = models.TextField(blank=True)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  # NULLs are not compared
    request_hash = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ExportQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["id"],
                name="detections_export_unfinished",
                condition=Q(status__in=("pending", "processing")),
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="detections_export_idempotency"),
        ]

    def __str__(self) -> str:
        return f"{self.format} {self.status}"

    @property
    def is_downloadable(self) -> bool:
        lasts = self.expires_at is not None and self.expires_at > timezone.now()
        return self.status == self.Status.COMPLETED and lasts

    def values_of_claimed(self) -> dict[str, Any]:
        self.path = f"users/{self.user_id}/exports/{self.claim}"
        return {"status": self.Status.PROCESSING, "path": self.path}

    def renew(self, **values: Any) -> bool:
        """Keep the claim, and save these values.

        False, and nothing saved, if it was taken away.
        """
        return self.update_claimed(claimed_at=timezone.now(), **values)

    def complete(self) -> bool:
        """False, and nothing saved, if the claim was taken away."""
        self.status, self.processed = self.Status.COMPLETED, self.total
        self.expires_at = timezone.now() + self.KEPT
        return self.update_claimed(
            status=self.status,
            claim=None,
            processed=self.processed,
            size=self.size,
            expires_at=self.expires_at,
        )

    def fail(self, reason: str) -> bool:
        """End it, with a reason for its owner. False, and nothing saved, if the claim was taken away."""
        self.status, self.error = self.Status.FAILED, reason
        self.expires_at = timezone.now() + self.KEPT
        return self.update_claimed(
            status=self.status, claim=None, error=self.error, expires_at=self.expires_at
        )

    def put_back(self) -> None:
        """Let it wait again, uncounted: the worker stops before it has stored the file."""
        self.update_claimed(
            status=self.Status.PENDING, claim=None, processed=0, attempts=F("attempts") - 1, path=""
        )
