"""Whole detections as answers. Two large ones are made at a time, because each takes much memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import may_read
from detections import reports
from detections.api.serializers import (
    DetectionImageSerializer,
    DetectionSerializer,
    DetectionSummarySerializer,
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


def snapshot_response(text: str, detector: Detector, context: Mapping[str, Any]) -> HttpResponse:
    """As `detection_response`, for a finished detection by a snapshot's text: no row is read.

    Raises ValueError, as `snapshots.restored`.
    """
    detection, image, results = snapshots.restored(text)
    detection.detector = detector
    reports.set_few_results([image], results)
    summary = DetectionSummarySerializer(detection, context=dict(context)).data
    images = DetectionImageSerializer([image], many=True, context=dict(context)).data
    return Response({**summary, "images": images})


def serialized(detection: Detection, context: Mapping[str, Any]) -> Any:
    return DetectionSerializer(detection, context=dict(context)).data
