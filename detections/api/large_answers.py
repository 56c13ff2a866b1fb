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
from detections.api.serializers import DetectionSerializer
from detections.models import Detection
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


def serialized(detection: Detection, context: Mapping[str, Any]) -> Any:
    return DetectionSerializer(detection, context=dict(context)).data
