"""All data of a user as a ZIP, made while it is sent: no copy of it is stored."""

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, prefetch_related_objects
from rest_framework.renderers import JSONRenderer

from accounts.models import User
from detections.api.serializers import DetectionSummarySerializer, ImageSerializer, ResultSerializer
from detections.api.visitor_serializers import ShareSerializer
from detections.exports import runs
from detections.exports.zip_writer import Archive
from detections.models import Detection, DetectionImage, DetectionQuerySet, DetectionResult
from detections.publication.models import ShareLink
from detections.rendering import NoPictureError, wait_for_picture
from objectvision.lib import connections

# Detections, images and results that are in memory at once.
CHUNK, MOST_IMAGES, MOST_RESULTS = 20, 100, 500
FIRST = UUID(int=0)


class Outflow:
    """A file whose written bytes are taken away as it grows."""

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


def takeout_pieces(user: User, account: Any) -> Generator[bytes, None, None]:
    """The ZIP in pieces: `account.json`, one JSON per detection, one picture per image.

    Pictures have no metadata. `missing.json` has the ids of images whose files cannot be read.
    """
    out = Outflow()
    missing: list[str] = []
    with Archive(out) as archive:
        archive.add("account.json", render_json(account))
        yield out.take()
        for detection, found in detections_of(user):
            for _ in archive.adding(f"detections/{detection.pk}.json", detection_json(detection, found)):
                yield out.take()
            for image in detection.images.all():
                if image.image_path:
                    for _ in add_picture(archive, image, missing):
                        yield out.take()
        if missing:
            archive.add("missing.json", json.dumps(missing).encode())
    yield out.take()


@dataclass(frozen=True, slots=True)
class ImageResults:
    """An image and its results, in batches of at most `MOST_RESULTS`."""

    image: DetectionImage
    total: int
    batches: Iterable[Sequence[DetectionResult]]


def detection_json(detection: Detection, found: Iterable[ImageResults]) -> Iterator[bytes]:
    """The detection as the API shows it, with all results and not only the most confident."""
    shares = ShareSerializer(detection.shares.all(), many=True).data
    yield open_object({**DetectionSummarySerializer(detection).data, "shares": shares}) + b'"images":['
    for number, of_image in enumerate(found):
        image = {**ImageSerializer(of_image.image).data, "results_total": of_image.total}
        yield (b"," if number else b"") + open_object(image) + b'"results":['
        for place, batch in enumerate(of_image.batches):
            yield (b"," if place else b"") + render_json(ResultSerializer(batch, many=True).data)[1:-1]
        yield b"]}"
    yield b"]}"


def open_object(data: Any) -> bytes:
    """The JSON of an object without its end, for more members to follow."""
    return render_json(data)[:-1] + b","


def detections_of(user: User) -> Iterator[tuple[Detection, Iterator[ImageResults]]]:
    """The user's detections with their results, oldest first. Holds no connection while the caller works.

    Results are read when the caller asks for them; take all of a detection's before the next detection.
    """
    last = FIRST
    own = Detection.objects.owned_by(user).order_by("pk")
    while ids := next_ids(own.filter(pk__gt=last)):
        chunk = list(own.with_images().prefetch_related(working_shares()).filter(pk__in=ids))
        found = read_results([image for detection in chunk for image in detection.images.all()])
        connections.give_back()
        for detection in chunk:
            yield detection, islice(found, len(detection.images.all()))
        last = ids[-1]


def working_shares() -> "Prefetch[Any]":
    return Prefetch("shares", ShareLink.objects.alive().order_by("pk"))


def read_results(images: Sequence[DetectionImage]) -> Iterator[ImageResults]:
    """The results of each image; small ones of neighbouring images are read together."""
    by_key = {image.pk: image for image in images}
    totals = DetectionResult.objects.filter(image__in=images).count_by_image()
    for keys in runs.grouped(by_key, totals, MOST_RESULTS):
        group = [by_key[key] for key in keys]
        if totals[keys[0]] > MOST_RESULTS:
            yield ImageResults(group[0], totals[keys[0]], result_batches(group[0]))
            continue
        results = DetectionResult.objects.most_confident_first()
        prefetch_related_objects(group, Prefetch("results", results, to_attr="shown_results"))
        connections.give_back()
        for image in group:
            yield ImageResults(image, len(image.shown_results), [image.shown_results])
            image.shown_results = []


def result_batches(image: DetectionImage) -> Iterator[list[DetectionResult]]:
    results = image.results.most_confident_first()
    for start in count(0, MOST_RESULTS):
        batch = list(results[start : start + MOST_RESULTS])
        connections.give_back()
        if not batch:
            return
        yield batch


def next_ids(detections: DetectionQuerySet) -> list[UUID]:
    """The ids of the first detections with at most `MOST_IMAGES` images together; at least one id."""
    ids: list[UUID] = []
    images = 0
    for pk, total in detections.values_list("pk", "total")[:CHUNK]:
        images += total
        if ids and images > MOST_IMAGES:
            break
        ids.append(pk)
    return ids


def add_picture(archive: Archive, image: DetectionImage, missing: list[str]) -> Iterator[None]:
    """Add the picture piece by piece, or the image's id to `missing`."""
    try:
        stream = wait_for_picture(image)
    except NoPictureError:
        missing.append(str(image.pk))
        return
    with closing(stream):
        yield from archive.adding(f"images/{image.unique_name}", stream.blocks(), level=0)


def render_json(data: Any) -> bytes:
    content: bytes = JSONRenderer().render(data)
    return content
