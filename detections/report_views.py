"""Views of many rows: the search, the statistics, the exports."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import IO, Any, ClassVar, cast
from uuid import UUID

from django.core.files.storage import default_storage
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope, User
from detections import examples, exports, reports, tasks
from detections.filters import ResultFilter
from detections.formats import FORMATS
from detections.models import DetectionResult, Export, ExportQuerySet
from detections.serializers import (
    DownloadSerializer,
    ExportRequestSerializer,
    ExportSerializer,
    FormatSerializer,
    FoundResultSerializer,
    PeriodSerializer,
    StatisticsSerializer,
)
from detections.upload_views import POLL_AFTER_SECONDS
from detections.views import BLOCK, OwnDetectionView, QueriedView
from objectvision import connections, idempotency
from objectvision.examples import answered
from objectvision.links import absolute
from objectvision.negotiation import OneForm
from objectvision.pagination import Pagination
from objectvision.schema import JSON, ClientErrorSerializer
from objectvision.throttles import AnonThrottle

FILES = {
    **{(200, made.media_type.partition(";")[0]): OpenApiTypes.BINARY for made in FORMATS.values()},
    (200, JSON): OpenApiResponse(OpenApiTypes.OBJECT, examples=[answered(examples.COCO)]),
}
WHAT_FILES_HOLD = (
    "Each holds the images that were processed, and all that was found on them. COCO: one JSON; boxes in "
    "pixels, `score` the confidence. YOLO: a ZIP of `data.yaml` and a text an image below `labels`. VOC: a "
    "ZIP of an XML an image. CSV and JSON Lines: a line a result. Where one detector found everything, a "
    "class has the detector's number, in COCO one more; several detectors share the numbers of classes that "
    "they call alike."
)


def me(request: Request) -> User:
    return cast(User, request.user)  # these views let nobody else in


@extend_schema_view(
    get=extend_schema(
        operation_id="list_results",
        summary="Search my results",
        description="Everything found on images of yours that fulfils all conditions, newest first.",
        tags=["detect"],
    )
)
class ResultsView(ListAPIView[DetectionResult]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = FoundResultSerializer
    pagination_class = Pagination
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ResultFilter
    queryset = DetectionResult.objects.none()  # for the API's document, which nobody asks for

    def get_queryset(self) -> QuerySet[DetectionResult]:
        results = DetectionResult.objects.owned_by(self.request.user)
        # Not joined: a late page would join all that is before it.
        return results.prefetch_related("image__detector").newest_first()


class StatisticsView(QueriedView):
    key_scopes: ClassVar = {"GET": Scope.READ}
    query_serializer_class = PeriodSerializer

    @extend_schema(
        operation_id="get_statistics",
        summary="My statistics",
        description=(
            "How many detections, images and objects there are; objects by class, the most frequent first; "
            "detections and images by day (UTC), the latest first, without days that have none."
        ),
        responses=StatisticsSerializer,
        tags=["users"],
    )
    def get(self, request: Request) -> Response:
        found = reports.statistics(me(request), self.query()["days"])
        return Response(StatisticsSerializer(found).data)


class TooManyExports(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_exports"


@extend_validation_errors(["invalid"], idempotency.HEADER)
class ExportsView(GenericAPIView[Export]):
    key_scopes: ClassVar = {"POST": Scope.READ}  # it makes a file of what may be read
    serializer_class = ExportRequestSerializer

    @extend_schema(
        operation_id="create_export",
        summary="Export many detections",
        description=(
            "Queues a file of all detections that the history would show under these conditions. "
            f"At most {exports.MOST_UNFINISHED} may be under way, and {exports.MOST_KEPT} be kept. "
            f"{WHAT_FILES_HOLD}"
        ),
        parameters=[idempotency.PARAMETER],
        responses={202: ExportSerializer, 409: ClientErrorSerializer, 422: ClientErrorSerializer},
        tags=["exports"],
    )
    def post(self, request: Request) -> Response:
        key = idempotency.key_of(request)
        mark = idempotency.fingerprint(request) if key else ""
        make = partial(self.submit, request, key, mark)
        export = idempotency.once(Export.objects.owned_by(request.user), key, mark, make)
        answer = ExportSerializer(export, context=self.get_serializer_context()).data
        place = absolute(request, reverse("export", args=[export.pk]))
        headers = {"Location": place, "Retry-After": str(POLL_AFTER_SECONDS)}
        return Response(answer, status.HTTP_202_ACCEPTED, headers=headers)

    def submit(self, request: Request, key: str | None, mark: str) -> Export:
        serializer: Any = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data["format"], serializer.filters(), tasks.ring_for_exports
        try:
            return exports.submit(me(request), *wanted, key=key, fingerprint=mark)
        except exports.TooManyError as error:
            raise TooManyExports(str(error)) from error


@extend_schema_view(
    get=extend_schema(
        operation_id="get_export",
        summary="An export's progress",
        description=(
            "How many of its images are written. Once it is completed, `download_url` opens the file for "
            "whoever has the link, for 24 hours; then both are gone."
        ),
        tags=["exports"],
    )
)
class ExportView(RetrieveAPIView[Export]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = ExportSerializer
    queryset = Export.objects.none()  # for the API's document, which nobody asks for

    def get_queryset(self) -> ExportQuerySet:
        return Export.objects.owned_by(self.request.user)


class ExportFileView(QueriedView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AnonThrottle,)
    content_negotiation_class = OneForm
    query_serializer_class = DownloadSerializer

    @extend_schema(
        operation_id="get_export_file",
        summary="Download an export",
        description="Needs no log-in: the link's signature opens this one file until it expires.",
        responses=FILES,
        tags=["exports"],
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:  # noqa: ARG002  # DRF's signature
        export = exports.find_by_signature(pk, self.query()["signature"])
        if export is None:
            raise NotFound
        connections.give_back()
        try:
            file = default_storage.open(export.path)
        except FileNotFoundError as error:
            raise NotFound from error
        return file_response(file, export.format, str(export.pk))


class DetectionExportView(QueriedView, OwnDetectionView):
    content_negotiation_class = OneForm
    query_serializer_class = FormatSerializer

    @extend_schema(
        operation_id="get_detection_export",
        summary="Export a detection",
        description=f"A file of what was found so far. {WHAT_FILES_HOLD}",
        responses=FILES,
        tags=["exports"],
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:  # noqa: ARG002  # DRF's signature
        wanted = self.query()["format"]
        file = exports.file_of(self.get_object(), wanted)
        connections.give_back()
        return file_response(file, wanted, str(pk))


def file_response(file: IO[bytes], file_format: str, name: str) -> StreamingHttpResponse:
    made = FORMATS[file_format]
    headers = {
        "Content-Length": str(file.seek(0, os.SEEK_END)),
        "Content-Disposition": content_disposition_header(
            as_attachment=True, filename=f"{file_format}-{name}{made.extension}"
        )
        or "attachment",
        "Cache-Control": "private, no-store",
    }
    return StreamingHttpResponse(FileBlocks(file), content_type=made.media_type, headers=headers)


class FileBlocks:
    """A file's content, for a response that closes it, whether it was sent or not."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self.file.seek, 0)
        while block := await asyncio.to_thread(self.file.read, BLOCK):
            yield block

    def close(self) -> None:
        self.file.close()
