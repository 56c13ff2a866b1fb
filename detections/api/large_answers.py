"""Whole detections as answers. Two large ones are made at a time, because each takes much memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from accounts.api.permissions import may_read
from detections import reports
from detections.api.serializers import (
    DetectionSerializer,
    DetectionSummarySerializer,
    ImageSerializer,
    ImageWithResultsSerializer,
)
from detections.jobs import snapshots
from detections.models import Detection, Detector
from objectvision.lib import connections
from objectvision.lib.fair_slots import FairSlots

making = FairSlots(2, "Many large answers are being made")


@contextmanager
def large_answer_slot(user_id: UUID) -> Iterator[None]:
    """Waits for a slot without a database connection. Raises Busy, TooMany."""
    connections.give_back()
    with making.slot(user_id):
        yield


def detection_response(request: Request, detection: Detection, context: Mapping[str, Any]) -> HttpResponse:
    """The detection (read `with_images`), with results if the credential may read. Raises Busy, TooMany."""
    if not may_read(request) or reports.show_few_results(detection):
        return Response(serialized(detection, context))
    with large_answer_slot(detection.user_id):
        reports.show_results(detection)
        content = JSONRenderer().render(serialized(detection, context))
    return HttpResponse(content, content_type="application/json")


def snapshot_response(request: Request, text: str, detector: Detector) -> HttpResponse:
    """As `detection_response`, for a finished detection by a snapshot's text: no row is read.

    Raises ValueError, as `snapshots.restored`.
    """
    detection, image, results = snapshots.restored(text)
    detection.detector = detector
    reports.set_few_results([image], results)
    summary = made_once(DetectionSummarySerializer).to_representation(detection)
    shown = ImageWithResultsSerializer if may_read(request) else ImageSerializer
    return Response({**summary, "images": [made_once(shown).to_representation(image)]})


# Their fields need no context: making them takes longer than what they do.
@cache
def made_once(serializer: type[ModelSerializer[Any]]) -> ModelSerializer[Any]:
    return serializer()


def serialized(detection: Detection, context: Mapping[str, Any]) -> Any:
    return DetectionSerializer(detection, context=dict(context)).data
