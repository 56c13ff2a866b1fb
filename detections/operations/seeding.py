"""Makes up realistic rows, the same for the same seed, for demonstrations and measurements."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, islice
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery
from PIL import Image, ImageDraw

from accounts.models import User
from detections import caching, erasure, inference
from detections.images import palette, pixels
from detections.jobs import processing
from detections.models import LOCKED_AT_ONCE, Detection, DetectionImage, DetectionResult, Detector
from detections.operations import demo

T = TypeVar("T")

CHUNK = 500
DAYS = 180
QUEUED = timedelta(milliseconds=150)
FIRST_NAMES = [
    "Ada", "Ben", "Chloe", "Dario", "Elif", "Femi", "Grace", "Hiro", "Ines", "Jonas", "Kira", "Liam", "Mei",
]  # fmt: skip  # a list to read at a glance
LAST_NAMES = [
    "Adeyemi", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Kowalski",
]  # fmt: skip  # a list to read at a glance
TITLES = ["Bus stop", "Car park", "Loading bay", "Main entrance", "Playground", "Shop floor", "Station"]
FILE_NAMES = ["IMG_{:04}.jpg", "DSC{:05}.JPG", "photo-{}.jpg", "camera 2 {:06}.jpg"]
THRESHOLDS = {0.25: 8, 0.4: 1, 0.5: 1}
MODERATIONS = {"approved": 6, "pending": 3, "rejected": 1}
FAILURES = [
    processing.Refused("corrupt_image", "The picture cannot be decoded: image file is truncated."),
    processing.Refused("file_missing", "The image's file is no longer in the storage."),
    processing.Refused("processing_failed", "The image could not be processed in 3 attempts."),
]
FAILED_SHARE, PUBLIC_SHARE, BATCH_SHARE = 0.02, 0.1, 0.4
MOST_IMAGES = 7
OBJECTS = 4.8  # on an image; with batches and failed images, about ten on a detection
MOST_OBJECTS = 40
NAMED_SHARE, NUMBERED_SHARE = 0.8, 0.5
SIZES = [(640, 480), (480, 640), (800, 600), (720, 720)]
PHOTOS = 12


@dataclass(frozen=True, slots=True)
class Photo:
    content: bytes
    width: int
    height: int
    sha256: str


@dataclass(slots=True)
class Upload:
    """One detection with its images and results, not saved."""

    detection: Detection
    images: list[DetectionImage] = field(default_factory=list)
    results: list[DetectionResult] = field(default_factory=list)


@dataclass
class Seeding:
    """The rows of one seed: users and their finished detections in the half-year before `until`.

    Ids, times and all else that the rows say follow from these values. The newest `with_files` detections
    have files; those of the others are missing in the storage, as after a loss.
    """

    seed: int
    until: datetime
    detector: Detector
    users: int
    detections: int
    with_files: int
    made: int = field(default=0, init=False)
    stored: int = field(default=0, init=False)
    images: int = field(default=0, init=False)
    results: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311  # rows to look at, no secrets

    def run(self) -> Iterator[None]:
        """Insert all rows; yields after every chunk of detections, where the caller may stop."""
        users = self.insert_users()
        uploads = (self.upload(number, users) for number in range(self.detections))
        while chunk := list(islice(uploads, CHUNK)):
            self.insert(chunk)
            yield

    def insert_users(self) -> list[User]:
        """Insert the accounts; deployed, they get no password."""
        password = None if settings.DEPLOYED else demo.PASSWORD
        encoded = make_password(password, salt=f"objectvision{self.seed}")
        users = [self.user(number, encoded) for number in range(1, self.users + 1)]
        joined = [user.created_at for user in users]
        with transaction.atomic():
            User.objects.bulk_create(users)
            for user, moment in zip(users, joined, strict=True):
                user.created_at = user.updated_at = moment  # auto_now_add has set the time of the insert
            User.objects.bulk_update(users, ["created_at", "updated_at"])
        return users

    def insert(self, chunk: Sequence[Upload]) -> None:
        """Insert the rows as intake and processing would leave them."""
        self.store(chunk)
        detections = [upload.detection for upload in chunk]
        images = [image for upload in chunk for image in upload.images]
        results = [result for upload in chunk for result in upload.results]
        with transaction.atomic():
            Detection.objects.bulk_create(detections)
            DetectionImage.objects.bulk_create(images)
            DetectionResult.objects.bulk_create(results)
            Detection.objects.recount(detections)
            set_times(detections)
            caching.drop_after_commit(detection.user_id for detection in detections)
        self.made += len(chunk)
        self.images += len(images)
        self.results += len(results)

    def store(self, chunk: Sequence[Upload]) -> None:
        contents = {photo.sha256: photo.content for photo in self.photos}
        newest = chunk[max(self.detections - self.with_files - self.made, 0) :]
        for image in (image for upload in newest for image in upload.images):
            image.image_path = default_storage.save(image.image_path, ContentFile(contents[image.sha256]))
        self.stored += len(newest)

    # Rows

    def user(self, number: int, password: str) -> User:
        created = self.until - timedelta(days=DAYS + self.dice.uniform(1, 100))
        return User(
            id=self.id_at(created),
            email=f"seed-{self.seed}-{number}@example.com",
            name=f"{self.dice.choice(FIRST_NAMES)} {self.dice.choice(LAST_NAMES)}",
            password=password,
            email_verified_at=created + timedelta(minutes=self.dice.uniform(1, 60)),
            created_at=created,
        )

    def upload(self, number: int, users: Sequence[User]) -> Upload:
        """The upload of this number, in order of time. A few users send many, most send few."""
        share = (number + self.dice.random()) / self.detections
        created = self.until - timedelta(days=DAYS) * (1 - share)
        user = users[int(len(users) * self.dice.random() ** 2)]
        upload = Upload(self.detection(user, created))
        processed = created + QUEUED
        for place in range(upload.detection.total):
            image = self.image(upload.detection, created + timedelta(milliseconds=place))
            processed += timedelta(seconds=self.dice.uniform(0.01, 0.1))
            upload.images.append(image)
            upload.results += self.process(image, processed)
        return upload

    def detection(self, user: User, created: datetime) -> Detection:
        is_public = self.happens(PUBLIC_SHARE)
        return Detection(
            id=self.id_at(created),
            user=user,
            detector=self.detector,
            name=self.title(),
            parameters=asdict(inference.Options(confidence=self.pick(THRESHOLDS))),
            total=self.dice.randint(2, MOST_IMAGES) if self.happens(BATCH_SHARE) else 1,
            is_public=is_public,
            moderation=self.pick(MODERATIONS) if is_public else Detection.Moderation.PENDING,
            started_at=created + QUEUED,
        )

    def title(self) -> str:
        if not self.happens(NAMED_SHARE):
            return ""
        title = self.dice.choice(TITLES)
        return f"{title} {self.dice.randint(1, 40)}" if self.happens(NUMBERED_SHARE) else title

    def image(self, detection: Detection, created: datetime) -> DetectionImage:
        photo = self.dice.choice(self.photos)
        image = DetectionImage(
            id=self.id_at(created),
            detection=detection,
            user_id=detection.user_id,
            detector_id=detection.detector_id,
            original_name=self.dice.choice(FILE_NAMES).format(self.dice.randint(1, 9999)),
            sha256=photo.sha256,
            width=photo.width,
            height=photo.height,
            attempts=1,
            priority=detection.priority,
        )
        image.image_path = f"users/{detection.user_id}/images/{image.pk}.jpg"
        return image

    def process(self, image: DetectionImage, processed: datetime) -> list[DetectionResult]:
        """Apply a made-up outcome as a worker does, at the given time."""
        results = processing.apply_outcome(image, self.outcome(image))
        image.processed_at = processed
        for result in results:
            result.pk, result.created_at = self.id_at(processed), processed
        return results

    def outcome(self, image: DetectionImage) -> processing.Outcome:
        if self.happens(FAILED_SHARE):
            return self.dice.choice(FAILURES)
        count = min(int(self.dice.expovariate(1 / OBJECTS)), MOST_OBJECTS)
        least = image.detection.parameters["confidence"]
        boxes = sorted((self.box(least) for _ in range(count)), key=lambda box: -box.confidence)
        milliseconds = self.dice.uniform(8, 30)
        return inference.Found(image.width or 0, image.height or 0, tuple(boxes), milliseconds)

    def box(self, least: float) -> inference.Box:
        """A made-up box. Low class ids are common, most objects are small and clear."""
        (class_id,) = self.dice.choices(range(len(self.weights)), cum_weights=self.weights)
        width, height = (min(0.02 + self.dice.expovariate(6), 0.95) for _ in range(2))
        return inference.Box(
            class_id=class_id,
            object_class=self.detector.classes[class_id],
            confidence=least + (0.98 - least) * self.dice.betavariate(2, 1.5),
            x=self.dice.uniform(0, 1 - width),
            y=self.dice.uniform(0, 1 - height),
            width=width,
            height=height,
        )

    # Dice

    @cached_property
    def weights(self) -> list[float]:
        """Cumulative weights by Zipf's law."""
        return list(accumulate(1 / rank for rank in range(1, len(self.detector.classes) + 1)))

    def happens(self, share: float) -> bool:
        return self.dice.random() < share

    def pick(self, weights: dict[T, int]) -> T:
        (picked,) = self.dice.choices(list(weights), list(weights.values()))
        return picked

    def id_at(self, moment: datetime) -> UUID:
        """A UUID of version 7 (RFC 9562) for this time."""
        bits = self.dice.getrandbits(74)
        time = int(moment.timestamp() * 1000)
        return UUID(int=time << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & (1 << 62) - 1)

    @cached_property
    def photos(self) -> list[Photo]:
        return [self.photo(SIZES[number % len(SIZES)]) for number in range(PHOTOS)]

    def photo(self, size: tuple[int, int]) -> Photo:
        """Shapes on a background: small files that are easy to tell apart."""
        image = Image.new("RGB", size, self.colour())
        draw = ImageDraw.Draw(image)
        for _ in range(8):
            left, top = self.dice.randrange(size[0]), self.dice.randrange(size[1])
            shape = self.dice.choice([draw.ellipse, draw.rectangle])
            corner = left + self.dice.randint(40, 200), top + self.dice.randint(40, 200)
            shape([(left, top), corner], fill=self.colour(), outline=self.colour(), width=3)
        content = pixels.jpeg(image)
        return Photo(content, *size, sha256(content).hexdigest())

    def colour(self) -> palette.Colour:
        red, green, blue = (self.dice.randrange(256) for _ in range(3))
        return red, green, blue


def set_times(detections: Sequence[Detection]) -> None:
    """Set the made-up times, since saving sets the present."""
    images = DetectionImage.objects.filter(detection=OuterRef("pk")).order_by("-processed_at")
    ended = Subquery(images.values("processed_at")[:1])
    Detection.objects.filter(pk__in=[detection.pk for detection in detections]).update(
        created_at=F("started_at") - QUEUED, finished_at=ended, updated_at=ended
    )


def seeded_users(seed: int) -> QuerySet[User]:
    return User.objects.filter(email__regex=rf"^seed-{seed}-\d+@example\.com$")


def made_before(seed: int) -> tuple[int, int]:
    """How many users and detections this seed has made before."""
    users = seeded_users(seed)
    return users.count(), Detection.objects.filter(user__in=users).count()


def remove(seed: int) -> Iterator[None]:
    """Delete the rows and files of this seed; yields after every batch, where the caller may stop."""
    users = seeded_users(seed)
    theirs = Detection.objects.filter(user__in=users).order_by("pk").values_list("pk", flat=True)
    while ids := list(theirs[:LOCKED_AT_ONCE]):
        erasure.delete_detections(ids)
        yield
    users.delete()
