"""Exports of many detections, and the files of all exports."""

import os
from functools import partial
from typing import IO, Any, ClassVar
from uuid import UUID

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.models import Scope
from detections.api import examples
from detections.api.serializers import DownloadSerializer, ExportRequestSerializer, ExportSerializer
from detections.api.streaming import stream_response
from detections.api.uploads import POLL_AFTER_SECONDS
from detections.exports import runs
from detections.exports.formats import FORMATS, type_of
from detections.images.stripping import Span
from detections.models import Export, ExportQuerySet
from detections.rendering import FilePieces
from detections.storage import FileMissingError, open_file
from objectvision.api import idempotency
from objectvision.api.examples import answered
from objectvision.api.negotiation import OneForm
from objectvision.api.schema import JSON, ClientErrorSerializer
from objectvision.api.throttles import AnonThrottle
from objectvision.api.views import StrictViewSet
from objectvision.lib.links import absolute

FILES = {
    **{(200, made.media_type.partition(";")[0]): OpenApiTypes.BINARY for made in FORMATS.values()},
    (200, JSON): OpenApiResponse(OpenApiTypes.OBJECT, examples=[answered(examples.COCO)]),
}


OPTIONS = ("reviewed", "images", "names", "dialect")


class TooManyExports(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_exports"


@extend_validation_errors(["invalid"], idempotency.HEADER, actions=["create"])
@extend_validation_errors(["max_length"], "detection_ids", actions=["create"])
@extend_schema(tags=["exports"])
class ExportViewSet(StrictViewSet[Export]):
    key_scopes: ClassVar = {
        "GET": Scope.READ,
        "POST": Scope.READ,
    }  # an export only reads
    lookup_value_converter = "uuid"
    serializer_class = ExportRequestSerializer
    queryset = Export.objects.none()  # for the API's document, which is made without a user

    def get_queryset(self) -> ExportQuerySet:
        return Export.objects.owned_by(self.request.user).select_related("user")

    @extend_schema(
        operation_id="create_export",
        parameters=[idempotency.PARAMETER],
        responses={202: ExportSerializer, 409: ClientErrorSerializer, 422: ClientErrorSerializer},
    )
    def create(self, request: Request) -> Response:
        """Export many detections.

        Queues a file of all detections that the history shows under these conditions. Its format is as in
        `GET /detect/{id}/export`. At most 5 exports may be unfinished, and 50 are kept.

        With `images`, COCO, YOLO, VOC and Label Studio become archives with the pictures, upright and without
        metadata: data sets that can be trained on. `missing.txt` in it names images whose pictures cannot be
        read; they have no labels either. What your exports take together is limited.
        """
        key = idempotency.key_of(request)
        mark = idempotency.fingerprint(request) if key else ""
        make = partial(self.submit, request, key, mark)
        export = idempotency.once(Export.objects.owned_by(request.user), key, mark, make)
        location = absolute(request, reverse("export-detail", args=[export.pk]))
        headers = {"Location": location, "Retry-After": str(POLL_AFTER_SECONDS)}
        return Response(self.shown(export), status.HTTP_202_ACCEPTED, headers=headers)

    def submit(self, request: Request, key: str | None, mark: str) -> Export:
        serializer: Any = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        filters = dict(serializer.validated_data)
        options = {name: filters.pop(name) for name in OPTIONS if name in filters}
        try:
            return runs.submit_export(
                current_user(request), filters.pop("format"), filters, key=key, fingerprint=mark, **options
            )
        except runs.TooManyError as error:
            raise TooManyExports(str(error)) from error

    @extend_schema(operation_id="get_export", responses=ExportSerializer)
    def retrieve(self, _request: Request, **_kwargs: Any) -> Response:
        """An export's progress.

        How many of its images are written. Once it is completed, `download_url` opens the file without a
        log-in, for 24 hours or until your password changes; then ask again for a new link.
        """
        return Response(self.shown(self.get_object()))

    def shown(self, export: Export) -> Any:
        return ExportSerializer(export, context=self.get_serializer_context()).data

    @extend_schema(operation_id="get_export_file", responses=FILES)
    @action(
        detail=True,
        authentication_classes=[],
        permission_classes=[],
        throttle_classes=[AnonThrottle],
        content_negotiation_class=OneForm,
        query_serializer_class=DownloadSerializer,
    )
    def file(self, _request: Request, pk: UUID) -> HttpResponseBase:
        """Download an export.

        Needs no log-in: the link's signature opens this one file until it expires.
        """
        export = runs.find_by_signature(pk, self.query()["signature"])
        if export is None:
            raise NotFound
        try:
            file = open_file(export.path)
        except FileMissingError as error:
            raise NotFound from error
        return file_response(file, export, str(export.pk))


def file_response(file: IO[bytes], export: Export, name: str) -> StreamingHttpResponse:
    """The export's file as an attachment; the response closes it."""
    extension, media_type = type_of(export)
    filename = f"{export.format}-{name}{extension}"
    headers = {
        "Content-Disposition": content_disposition_header(as_attachment=True, filename=filename)
        or "attachment",
        "Cache-Control": "private, no-store",
    }
    whole = Span(0, file.seek(0, os.SEEK_END))
    return stream_response(FilePieces(file, [whole]), media_type, headers)
