"""Everything that belongs to a user, as a ZIP that is made while it is sent: nothing waits on a disk."""

import json
import logging
from collections.abc import Generator, Iterator
from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer

from accounts.models import User
from detections import originals
from detections.archives import Archive
from detections.models import Detection, DetectionImage, DetectionQuerySet
from detections.serializers import DetectionSerializer
from detections.views import NoFile, original, stored_file
from notifications import news
from objectvision import connections
from objectvision.errors import Unavailable

log = logging.getLogger(__name__)

CHUNK, MOST_IMAGES = 20, 100  # detections, and images of them, that are in memory at once
FIRST = UUID(int=0)


class Outflow:
    """A file that is written to its end and read from its beginning at the same time."""

    def __init__(self) -> None:
        self.written = 0
        self.waiting: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.waiting.append(data)
        self.written += len(data)
        return len(data)

    def tell(self) -> int:
        return self.written

    def take(self) -> bytes:
        taken, self.waiting = b"".join(self.waiting), []
        return taken


def pieces(user: User, account: Any) -> Generator[bytes, None, None]:
    """The ZIP from its beginning: `account.json`, a JSON a detection, a picture an image.

    Pictures are without their metadata, as everywhere. Those that cannot be read are named in `missing.json`.
    """
    out = Outflow()
    missing: list[str] = []
    with Archive(out) as archive:
        archive.add("account.json", rendered(account))
        for detection in detections_of(user):
            archive.add(f"detections/{detection.pk}.json", rendered(DetectionSerializer(detection).data))
            yield out.take()
            for image in detection.images.all():
                if image.image_path and not add_picture(archive, image):
                    missing.append(str(image.pk))
                yield out.take()
        if missing:
            archive.add("missing.json", json.dumps(missing).encode())
    yield out.take()


def detections_of(user: User) -> Iterator[Detection]:
    """Oldest first, a few in memory at once; holds no connection while one of them is at work."""
    last = FIRST
    own = Detection.objects.owned_by(user).order_by("pk")
    while ids := first_few(own.filter(pk__gt=last)):
        chunk = list(own.with_images().filter(pk__in=ids))
        connections.give_back()
        yield from chunk
        last = ids[-1]


def first_few(detections: DetectionQuerySet) -> list[UUID]:
    """The first of them, as many as have `MOST_IMAGES` together; one that has more, alone."""
    ids: list[UUID] = []
    images = 0
    for pk, total in detections.values_list("pk", "total")[:CHUNK]:
        images += total
        if ids and images > MOST_IMAGES:
            break
        ids.append(pk)
    return ids


def add_picture(archive: Archive, image: DetectionImage) -> bool:
    """False if there is none that could be given out."""
    try:
        pieces = patiently(image)
        with stored_file(image) as file:
            content = originals.content_of(file, pieces)
    except (NoFile, NotFound):
        return False
    except OSError:
        log.exception("The file of the image %s is left out of a takeout", image.pk)
        return False
    archive.add(f"images/{image.unique_name}", content, level=0)
    return True


def patiently(image: DetectionImage) -> originals.Pieces:
    """The picture, however many are being drawn: it is not missing for that. Unavailable only at a stop."""
    while True:
        try:
            return original(image)
        except Unavailable:
            if news.stopping.is_set():
                raise


def rendered(data: Any) -> bytes:
    content: bytes = JSONRenderer().render(data)
    return content
