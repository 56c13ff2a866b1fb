"""One detection: its pictures, and what was found on them."""

import json
from dataclasses import asdict
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from console import formats
from console.names import name_of
from console.pages import PersonalPage
from detections import rendering
from detections.api.visitor_pages import request_number
from detections.api.visitor_serializers import DAY
from detections.images import palette
from detections.models import Detection, DetectionImage, Detector

EXPIRIES = [(DAY, "1 day"), (7 * DAY, "7 days"), (30 * DAY, "30 days"), (90 * DAY, "90 days")]
COLOURS = [{"fill": palette.css(each), "ink": palette.css(palette.ink(each))} for each in palette.COLOURS]
OPTIONS = ("detector", "confidence", "classes", "image_size", "augment", "tile")
FAILED = DetectionImage.State.FAILED
MOST_FILES = 5  # that the code names


class ResultPage(PersonalPage):
    """A detection of the user's. `?image=` is the number of its picture, from 1."""

    def get(self, request: HttpRequest, pk: UUID) -> HttpResponseBase:
        detection = Detection.objects.owned_by(self.user).select_related("detector").filter(pk=pk).first()
        images = facts_of_images(detection) if detection else []
        if detection is None or not images:
            return self.render("missing", status=404)
        number = min(max(request_number(request), 1), len(images))
        return self.render("result/page", **shown(detection, images, number))


class ImageFacts(NamedTuple):
    """What the page needs of images that it does not show: a batch may have hundreds."""

    pk: UUID
    name: str
    has_failed: bool
    has_file: bool


def facts_of_images(detection: Detection) -> list[ImageFacts]:
    rows = detection.images.order_by("pk").values_list("pk", "original_name", "state", "image_path")
    return [ImageFacts(pk, name, state == FAILED, bool(path)) for pk, name, state, path in rows]


def shown(detection: Detection, images: list[ImageFacts], number: int) -> dict[str, Any]:
    image = get_object_or_404(detection.images.select_related("detector"), pk=images[number - 1].pk)
    newer, older = neighbours(detection)
    page = reverse("console:result", args=[detection.pk])
    return {
        "detection": detection,
        "title": name_of(detection, image),
        "image": image,
        "number": number,
        "total": len(images),
        "previous": f"{page}?image={number - 1}" if number > 1 else newer,
        "next": f"{page}?image={number + 1}" if number < len(images) else older,
        "state": state(detection, image),
        "position": detection.queue_position(),
        "can_retry": any(each.has_failed and each.has_file for each in images),
        "can_rerun": any(each.has_file for each in images),
        "requests": json.dumps(offered_requests(detection, images, image)),
        "formats": formats.LABELS.items(),
        "detectors": Detector.objects.active().order_by("name", "version"),
        "expiries": EXPIRIES,
    }


def state(detection: Detection, image: DetectionImage) -> dict[str, Any]:
    """What the scripts draw: the boxes of the annotated picture, the most confident first."""
    boxes = rendering.labels_of(image, 0, "") if image.processed else []
    total = image.results.not_rejected().count() if image.processed else 0
    return {
        "detection_id": str(detection.pk),
        "image_id": str(image.pk),
        "width": image.width,
        "height": image.height,
        "has_file": bool(image.image_path),
        "processed": image.processed,
        "is_finished": detection.is_finished,
        "boxes": [asdict(box) for box in boxes],
        "more": max(0, total - len(boxes)),
        "colours": COLOURS,
    }


def neighbours(detection: Detection) -> tuple[str | None, str | None]:
    """The pages of the next newer and the next older detection, as the history has them."""
    own = Detection.objects.owned_by(detection.user_id).only("pk", "total")
    made = {"created_at": detection.created_at}
    older = own.filter(
        Q(created_at__lt=detection.created_at) | Q(**made, pk__lt=detection.pk),
        created_at__lte=detection.created_at,
    )
    newer = own.filter(
        Q(created_at__gt=detection.created_at) | Q(**made, pk__gt=detection.pk),
        created_at__gte=detection.created_at,
    )
    before, after = newer.order_by("created_at", "id").first(), older.newest_first().first()
    return (
        f"{reverse('console:result', args=[before.pk])}?image={before.total}" if before else None,
        reverse("console:result", args=[after.pk]) if after else None,
    )


def offered_requests(detection: Detection, images: list[ImageFacts], image: DetectionImage) -> list[Any]:
    """The requests behind this page, for the panel that writes them as code."""
    own = f"detect/{detection.pk}"
    annotated = f"{own}/image?image_id={image.pk}"
    requests = [
        {"title": "This result", "method": "GET", "path": own},
        {"title": "The annotated picture", "method": "GET", "path": annotated, "savedAs": "annotated.jpg"},
        {"title": "An export", "method": "GET", "path": f"{own}/export?format=coco", "savedAs": "coco.json"},
        {"method": "POST", "waits": True, "answeredBy": own, **making_request(detection, images)},
    ]
    return requests if image.processed else requests[::3]


def making_request(detection: Detection, images: list[ImageFacts]) -> dict[str, Any]:
    """The upload, or the rerun, that made the detection."""
    sent = {"detector": detection.detector.full_name, **detection.parameters}
    if detection.source_id:
        content = {name: json_value(sent[name]) for name in OPTIONS if sent.get(name)}
        path = f"detect/{detection.source_id}/rerun"
        return {"title": "Running it again", "path": path, "content": content}
    fields = [(name, form_value(sent[name])) for name in OPTIONS if sent.get(name)]
    field, path = ("image", "detect/image") if len(images) == 1 else ("images", "detect/batch")
    files = [(field, each.name) for each in images[:MOST_FILES]]
    return {"title": "The upload", "path": path, "files": files, "fields": fields}


def form_value(value: Any) -> str:
    return "true" if value is True else str(json_value(value))


def json_value(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list) else value
