"""Lists without pages of single rows: the results of all detections, and the detectors."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from detections.api.filters import ResultFilter
from detections.api.serializers import DetectorSerializer, FoundResultSerializer
from detections.models import DetectionResult, Detector
from objectvision.api.pagination import Pagination
from objectvision.api.views import StrictViewSet


class ResultViewSet(ListModelMixin, StrictViewSet[DetectionResult]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = FoundResultSerializer
    pagination_class = Pagination
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
