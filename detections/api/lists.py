"""Lists without pages of single rows: the results of all detections, and the detectors."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.http import urlencode
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.models import Scope
from detections.api.filters import ResultFilter
from detections.api.serializers import DetectorSerializer, FoundResultSerializer
from detections.caching import Question, kept
from detections.models import DetectionResult, Detector
from objectvision.api.pagination import Pagination
from objectvision.api.views import StrictViewSet

KEPT_SECONDS = 5 * 60


class KeptTotals(Pagination):
    """Pages of the user's detections and results: their totals are kept."""

    request: Request

    def get_count(self, queryset: Any) -> int:
        total: int = kept(current_user(self.request).pk, total_question(self.request), queryset.count)
        return total


def total_question(request: Request) -> Question:
    """The list and its conditions, without the page."""
    asked = sorted(request.query_params.dict().items())
    conditions = [(name, value) for name, value in asked if name not in {"limit", "offset", "ordering"}]
    return Question("total", f"{request.path}?{urlencode(conditions)}", KEPT_SECONDS)


class ResultViewSet(ListModelMixin, StrictViewSet[DetectionResult]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = FoundResultSerializer
    pagination_class = KeptTotals
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ResultFilter
    queryset = DetectionResult.objects.none()  # for the API's document, which is made without a user

    def get_queryset(self) -> QuerySet[DetectionResult]:
        results = DetectionResult.objects.owned_by(self.request.user)
        return results.prefetch_related("image__detector").newest_first()  # a join slows late pages down

    @extend_schema(operation_id="list_results")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Search my results.

        The results on all your images that meet every condition, newest first.
        """
        return super().list(request, *args, **kwargs)


class DetectorViewSet(ListModelMixin, StrictViewSet[Detector]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = DetectorSerializer
    pagination_class = Pagination
    queryset = Detector.objects.active().order_by("name", "version", "backend")

    @extend_schema(operation_id="list_detectors")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The detectors that detections run on.

        The active detectors with their classes. A class's id is its place in the list, counted from 0.
        """
        return super().list(request, *args, **kwargs)
