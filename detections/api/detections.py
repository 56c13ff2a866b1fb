import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.api.permissions import may_read
from accounts.models import Scope
from detections import caching, erasure
from detections.api.exports import FILES, file_response
from detections.api.filters import DetectionFilter
from detections.api.large_answers import detection_response, large_answer_slot
from detections.api.lists import KEPT_SECONDS, KeptTotals
from detections.api.serializers import (
    AnnotationSerializer,
    DetectionSerializer,
    DetectionSummarySerializer,
    FileSerializer,
    OriginalSerializer,
)
from detections.api.streaming import stream_response
from detections.caching import Question
from detections.exports import runs
from detections.images import validation
from detections.images.extensions import media_type
from detections.models import Detection, DetectionImage, DetectionQuerySet, Export
from detections.publication import moderation
from detections.rendering import (
    NoPictureError,
    annotated_picture,
    labels_of,
    original_picture,
    thumbnail_picture,
)
from detections.storage import FileMissingError
from objectvision.api.negotiation import OneForm, conditional_headers, not_modified
from objectvision.api.schema import ClientErrorSerializer
from objectvision.api.views import StrictViewSet
from objectvision.lib import logs

ORIGINALS = {(200, media_type(name)): OpenApiTypes.BINARY for name in validation.EXTENSIONS}
SHOWN_WITH_DETECTOR = {"retrieve", "partial_update", "history"}
NO_HEADERS: Mapping[str, str] = {}
NO_PICTURE = {304: None, 409: ClientErrorSerializer}


class NotProcessed(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "not_processed"


class NoFile(APIException):
    """The image has no file that can be answered with."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "no_file"


class OwnDetectionViewSet(StrictViewSet[Detection]):
    """The user's own detections: those of other users are 404."""

    key_scopes: ClassVar = {
        "GET": Scope.READ,
        **dict.fromkeys(("POST", "PATCH", "DELETE"), Scope.DETECT),
    }
    lookup_value_converter = "uuid"
    queryset = Detection.objects.none()  # for the API's document, which is made without a user

    def get_queryset(self) -> DetectionQuerySet:
        return Detection.objects.owned_by(self.request.user)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        logs.note(detection_id=kwargs.get("pk"))


class DetectionViewSet(OwnDetectionViewSet):
    serializer_class = DetectionSerializer
    filterset_class = DetectionFilter

    def get_queryset(self) -> DetectionQuerySet:
        detections = super().get_queryset()
        return detections.select_related("detector") if self.action in SHOWN_WITH_DETECTOR else detections

    @extend_schema(operation_id="get_detection", responses={200: DetectionSerializer, 304: None})
    def retrieve(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A detection with its images and results.

        Results are sorted by confidence, the highest first: the first 1,000 of each image, and 10,000 in all.
        """
        detection = self.get_object()
        headers = detection_headers(request, detection)
        if response := not_modified(request, headers):
            return response
        return self.detection_response(detection, headers)

    @extend_schema(operation_id="update_detection")
    def partial_update(self, request: Request, **_kwargs: Any) -> HttpResponse:
        """Rename or publish a detection.

        Fields that are not sent stay as they are.
        """
        detection = self.get_object()
        serializer = self.get_serializer(detection, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if not moderation.change_detection(detection, **serializer.validated_data):
            raise NotFound
        return self.detection_response(detection)

    def detection_response(
        self, detection: Detection, headers: Mapping[str, str] = NO_HEADERS
    ) -> HttpResponse:
        detection.load_images()
        response = detection_response(self.request, detection, self.get_serializer_context())
        for name, value in headers.items():
            response.headers[name] = value
        return response

    @extend_schema(operation_id="delete_detection")
    def destroy(self, _request: Request, **_kwargs: Any) -> Response:
        """Delete a detection.

        Its rows and files are deleted at once, even while it is being processed.
        """
        erasure.delete_detections([self.get_object().pk])
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="list_detections", responses={200: DetectionSummarySerializer(many=True), 304: None}
    )
    @action(
        detail=False,
        serializer_class=DetectionSummarySerializer,
        pagination_class=KeptTotals,
        filter_backends=[DjangoFilterBackend],
    )
    def history(self, request: Request) -> HttpResponseBase:
        """My detections.

        Newest first, without their images and results.
        """
        owner, question = current_user(request).pk, page_question(request)
        version, page = caching.find(owner, question)
        headers = page_headers(owner, version, question)
        if response := not_modified(request, headers):
            return response
        if page is None:
            page = self.history_page()
            caching.keep(owner, version, question, page)
        return Response(page, headers=headers)

    def history_page(self) -> Any:
        detections = self.filter_queryset(self.get_queryset().newest_first())
        rows = self.paginate_queryset(detections)
        return self.get_paginated_response(self.get_serializer(rows, many=True).data).data

    @extend_schema(operation_id="get_detection_export", responses=FILES, tags=["exports"])
    @action(detail=True, content_negotiation_class=OneForm, query_serializer_class=FileSerializer)
    def export(self, _request: Request, pk: UUID) -> HttpResponseBase:
        """Export a detection.

        A file of the results so far: the processed images, each with all of its results. COCO is one JSON;
        its boxes are in pixels, and `score` is the confidence. YOLO is a ZIP of `data.yaml` and one text file
        per image under `labels`. VOC is a ZIP of one XML file per image. Label Studio gets one JSON of tasks:
        predictions are what was found, annotations what you have accepted or added. CSV and JSON Lines have
        one line per result.

        `reviewed` leaves out what you have not accepted or added, and images of which you have reviewed
        nothing; classes are those that you gave. Classes have the detector's ids, in COCO one higher. If
        several detectors or you named them, each class name has one id.
        """
        detection = self.get_object()
        export = Export(**self.query())
        with large_answer_slot(detection.user_id):
            file = runs.file_of(detection, export)
        return file_response(file, export, str(pk))

    @extend_schema(
        operation_id="get_annotated_image",
        responses={(200, "image/jpeg"): OpenApiTypes.BINARY, **NO_PICTURE},
    )
    @action(detail=True, content_negotiation_class=OneForm, query_serializer_class=AnnotationSerializer)
    def image(self, _request: Request, pk: UUID) -> HttpResponseBase:
        """The annotated picture.

        An image of the detection, upright, with boxes, classes and confidences drawn on it: those that you
        have not rejected, under the classes that you gave them.
        """
        query = self.query()
        image = self.find_image(query.get("image_id"))
        if not image.processed:
            raise NotProcessed(f"The image is {image.state}; there is a picture once it is done.")
        labels = labels_of(image, query["min_confidence"], query["classes"])
        version = f"{image.pk} {image.processed_at} {query['min_confidence']} {query['classes']} {labels}"
        headers = picture_headers(version, f"{pk}.jpg", download=query["download"])
        if response := not_modified(self.request, headers):
            return response
        with picture_refusals():
            return stream_response(annotated_picture(image, labels), "image/jpeg", headers)

    @extend_schema(operation_id="get_original_image", responses={**ORIGINALS, **NO_PICTURE})
    @action(
        detail=True,
        url_path="images/<uuid:image_id>",
        content_negotiation_class=OneForm,
        query_serializer_class=OriginalSerializer,
    )
    def original(self, _request: Request, image_id: UUID, **_kwargs: Any) -> HttpResponseBase:
        """The original picture.

        The image as it was sent, without its metadata: no place, time, camera, text or thumbnail. Its colour
        profile is kept. JPEG, PNG, WebP and GIF keep their compressed pixels byte for byte. BMP and TIFF are
        encoded again: of a TIFF the first page, upright, with at most 8 bits per colour channel. HEIC and
        AVIF are given out as upright JPEG.
        """
        query = self.query()
        image = self.find_file(image_id)
        headers = picture_headers(f"original {image.pk}", image.safe_name, download=query["download"])
        if response := not_modified(self.request, headers):
            return response
        with picture_refusals():
            return stream_response(original_picture(image), media_type(image.extension), headers)

    @extend_schema(
        operation_id="get_thumbnail",
        responses={(200, "image/webp"): OpenApiTypes.BINARY, **NO_PICTURE},
    )
    @action(detail=True, url_path="images/<uuid:image_id>/thumbnail", content_negotiation_class=OneForm)
    def thumbnail(self, _request: Request, image_id: UUID, **_kwargs: Any) -> HttpResponseBase:
        """A thumbnail.

        The image as a small upright WebP without metadata: its longer side has 256 pixels at most.
        """
        image = self.find_file(image_id)
        headers = picture_headers(f"thumbnail {image.pk}", f"{image.pk}.webp", download=False)
        if response := not_modified(self.request, headers):
            return response
        with picture_refusals():
            return stream_response(thumbnail_picture(image), "image/webp", headers)

    def find_file(self, image_id: UUID) -> DetectionImage:
        """As `find_image`. Raises NoFile for an image without a file."""
        image = self.find_image(image_id)
        if not image.image_path:
            raise NoFile("The image was refused; its file is not kept.")
        return image

    def find_image(self, image_id: UUID | None) -> DetectionImage:
        """The detection's image with this id, without an id its first image. Raises NotFound."""
        images = self.get_object().images.order_by("pk")
        image = (images.filter(pk=image_id) if image_id else images).first()
        if image is None:
            raise NotFound
        return image


def detection_headers(request: Request, detection: Detection) -> dict[str, str]:
    """What changes an answer changes `updated_at`, but for a worker that takes images or gives them back."""
    states = []
    if not detection.is_finished:
        detection.load_images()
        states = [(image.pk, image.state) for image in detection.images.all()]
    row = (detection.pk, detection.updated_at, detection.status, detection.processed, detection.failed)
    return conditional_headers(row, detection.name, detection.detector.name, states, may_read(request))


def page_question(request: Request) -> Question:
    return Question("history", request.META["QUERY_STRING"], KEPT_SECONDS)


def page_headers(owner: UUID, version: str | None, question: Question) -> dict[str, str]:
    """Without a version there is no ETag: nothing says cheaply whether a row has changed."""
    if version is None:
        return {}
    return conditional_headers(owner, version, question.text, time.time() // KEPT_SECONDS)


def picture_headers(version: str, filename: str, *, download: bool) -> dict[str, str]:
    disposition = content_disposition_header(as_attachment=download, filename=filename)
    return {
        **conditional_headers(version),
        "Content-Disposition": disposition or "inline",
    }


@contextmanager
def picture_refusals() -> Iterator[None]:
    """Answers 409 or 404 for an image of which there is no picture."""
    try:
        yield
    except NoPictureError as error:
        raise NoFile(str(error)) from error
    except FileMissingError as error:
        raise NotFound("The image's file is no longer in the storage.") from error
