import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import BoundedSemaphore
from time import monotonic
from typing import IO, Any, ClassVar
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, Throttled
from rest_framework.generics import (
    GenericAPIView,
    ListAPIView,
    RetrieveAPIView,
    RetrieveUpdateDestroyAPIView,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from detections import cleanup, intake, originals, pictures, room, validators
from detections.filters import DetectionFilter
from detections.models import Detection, DetectionImage, DetectionQuerySet, Detector
from detections.serializers import (
    AnnotationSerializer,
    DetectionSerializer,
    DetectionSummarySerializer,
    DetectorSerializer,
    JobSerializer,
    OriginalSerializer,
)
from notifications import news
from objectvision import connections
from objectvision.errors import Unavailable
from objectvision.fields import QuerySerializer
from objectvision.negotiation import OneForm
from objectvision.pagination import Pagination
from objectvision.schema import ClientErrorSerializer
from objectvision.throttles import UploadThrottle

LONGEST_DRAWING_QUEUE_SECONDS = 20

BLOCK = 1 << 16

drawing = BoundedSemaphore(2)


class QueriedView(APIView):
    """Takes what it needs from the query string."""

    query_serializer_class: type[QuerySerializer]

    def query(self) -> Any:
        """What the query string asks for, validated."""
        serializer = self.query_serializer_class(data=self.request.query_params.dict())
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class OwnDetectionView(GenericAPIView[Detection]):
    key_scopes: ClassVar = {
        "GET": Scope.READ,
        **dict.fromkeys(("POST", "PATCH", "DELETE"), Scope.DETECT),
    }
    queryset = Detection.objects.none()  # for the API's document, which nobody asks for

    def get_queryset(self) -> DetectionQuerySet:
        return Detection.objects.owned_by(self.request.user)


@extend_schema_view(
    get=extend_schema(
        operation_id="get_job",
        summary="A job's progress",
        description="How many of its images have ended, and how many are in front of it in the queue.",
        tags=["detect"],
    )
)
class JobView(OwnDetectionView, RetrieveAPIView[Detection]):
    serializer_class = JobSerializer


class JobActionView(OwnDetectionView):
    serializer_class = JobSerializer

    def answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)


class CancelView(JobActionView):
    @extend_schema(
        operation_id="cancel_job",
        summary="Cancel a job",
        description=(
            "Images that are not done yet will not be; what was found on the others is kept. Those that an "
            "operator has run again have what they had before, unless it was by another detector. A job that "
            "has ended stays as it is."
        ),
        request=None,
        tags=["detect"],
    )
    def post(self, request: Request, pk: UUID) -> Response:  # noqa: ARG002  # DRF's signature
        cleanup.cancel(self.get_object().pk)
        return self.answer()


class RetryView(JobActionView):
    throttle_classes = (UploadThrottle,)

    @extend_schema(
        operation_id="retry_job",
        summary="Retry a job's failed images",
        description=(
            "Its failed images wait again as if they had never been tried, but for those that were refused "
            "and have no file. With none of them the job stays as it is."
        ),
        request=None,
        tags=["detect"],
    )
    def post(self, request: Request, pk: UUID) -> Response:  # noqa: ARG002  # DRF's signature
        try:
            images = cleanup.retry(self.get_object().pk)
        except room.TooManyWaitingError as error:
            raise Throttled(error.wait, str(error)) from error
        if images:
            transaction.on_commit(intake.ring, robust=True)
        return self.answer()


@extend_schema_view(
    get=extend_schema(
        operation_id="get_detection",
        summary="A detection with its images and results",
        description="Results are sorted by confidence, the highest first.",
    ),
    patch=extend_schema(
        operation_id="update_detection",
        summary="Rename or publish a detection",
        description="What is not named stays as it is.",
    ),
    delete=extend_schema(
        operation_id="delete_detection",
        summary="Delete a detection",
        description="Its rows and files are gone at once, also while it is being processed.",
    ),
)
@extend_schema(tags=["detect"])
class DetectionView(OwnDetectionView, RetrieveUpdateDestroyAPIView[Detection]):
    serializer_class = DetectionSerializer
    http_method_names = ("get", "patch", "delete", "head", "options")  # no PUT: most of it cannot be replaced

    def get_queryset(self) -> DetectionQuerySet:
        detections = super().get_queryset()
        return detections if self.request.method == "DELETE" else detections.with_images()

    def perform_destroy(self, instance: Detection) -> None:
        cleanup.delete([instance.pk])


@extend_schema_view(
    get=extend_schema(
        operation_id="list_detections",
        summary="My detections",
        description="Newest first, without their images and results.",
        tags=["detect"],
    )
)
class HistoryView(OwnDetectionView, ListAPIView[Detection]):
    serializer_class = DetectionSummarySerializer
    pagination_class = Pagination
    filter_backends = (DjangoFilterBackend,)
    filterset_class = DetectionFilter

    def get_queryset(self) -> DetectionQuerySet:
        return super().get_queryset().select_related("detector").newest_first()


@extend_schema_view(
    get=extend_schema(
        operation_id="list_detectors",
        summary="The detectors that detections run on",
        description="The active ones with their classes; a class's id is its place in the list, from 0.",
        tags=["detectors"],
    )
)
class DetectorsView(ListAPIView[Detector]):
    key_scopes: ClassVar = {"GET": Scope.READ}
    serializer_class = DetectorSerializer
    pagination_class = Pagination
    queryset = Detector.objects.active().order_by("name", "version", "backend")


class NotProcessed(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "not_processed"


class NoFile(APIException):
    """The image has no file that could be given out."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "no_file"


class OwnPictureView(QueriedView, OwnDetectionView):
    """Answers with a picture of one image, unless the client has it already."""

    content_negotiation_class = OneForm

    def get_image(self, image_id: UUID | None) -> DetectionImage:
        """This one of the detection's, by default its first."""
        images = self.get_object().images.order_by("pk")
        image = (images.filter(pk=image_id) if image_id else images).first()
        if image is None:
            raise NotFound
        return image

    def not_modified(self, headers: dict[str, str]) -> HttpResponseBase | None:
        """A 304, where the client's `If-None-Match` names the picture's ETag."""
        known = HttpResponse(headers=headers)
        answer = get_conditional_response(self.request, etag=headers["ETag"], response=known)
        return answer if answer is not None and answer.status_code == status.HTTP_304_NOT_MODIFIED else None


def picture_headers(version: str, filename: str, *, download: bool) -> dict[str, str]:
    disposition = content_disposition_header(as_attachment=download, filename=filename)
    return {
        "ETag": f'"{sha256(version.encode()).hexdigest()[:32]}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition or "inline",
    }


class AnnotatedImageView(OwnPictureView):
    query_serializer_class = AnnotationSerializer

    @extend_schema(
        operation_id="get_annotated_image",
        summary="The annotated picture",
        description="An image of the detection, upright, with boxes, classes and confidences drawn on it.",
        responses={(200, "image/jpeg"): OpenApiTypes.BINARY, 304: None, 409: ClientErrorSerializer},
        tags=["detect"],
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:  # noqa: ARG002  # DRF's signature
        wanted = self.query()
        image = self.get_image(wanted.get("image_id"))
        if not image.processed:
            raise NotProcessed(f"The image is {image.state}; there is a picture once it is done.")
        version = f"{image.pk} {image.processed_at} {wanted['min_confidence']} {wanted['classes']}"
        headers = picture_headers(version, f"{pk}.jpg", download=wanted["download"])
        if answer := self.not_modified(headers):
            return answer
        content = annotated(image, labels(image, wanted["min_confidence"], wanted["classes"]))
        headers["Content-Length"] = str(len(content))
        return StreamingHttpResponse(blocks(content), content_type="image/jpeg", headers=headers)


class OriginalImageView(OwnPictureView):
    query_serializer_class = OriginalSerializer

    @extend_schema(
        operation_id="get_original_image",
        summary="The original picture",
        description=(
            "The image as it was sent, without its metadata: no place, time, camera, text or thumbnail; its "
            "colour profile is kept. "
            "JPEG, PNG, WebP and GIF keep their compressed pixels byte for byte. BMP and TIFF are written "
            "anew, TIFF as its first page, upright, with at most 8 bits a colour channel."
        ),
        responses={
            **{(200, originals.media_type(name)): OpenApiTypes.BINARY for name in validators.EXTENSIONS},
            304: None,
            409: ClientErrorSerializer,
        },
        tags=["detect"],
    )
    def get(self, request: Request, pk: UUID, image_id: UUID) -> HttpResponseBase:  # noqa: ARG002  # DRF's signature
        wanted = self.query()
        image = self.get_image(image_id)
        if not image.image_path:
            raise NoFile("The image was refused; its file is not kept.")
        headers = picture_headers(f"original {image.pk}", image.safe_name, download=wanted["download"])
        if answer := self.not_modified(headers):
            return answer
        pieces = original(image)
        headers["Content-Length"] = str(originals.length_of(pieces))
        media_type = originals.media_type(image.extension)
        return StreamingHttpResponse(
            streamed(image.image_path, pieces), content_type=media_type, headers=headers
        )


def labels(image: DetectionImage, min_confidence: float, classes: str) -> list[pictures.Label]:
    """What is to be drawn: of all classes, or of those that are named, separated by commas."""
    results = image.results.filter(confidence__gte=min_confidence)
    if names := [name.strip() for name in classes.split(",") if name.strip()]:
        results = results.filter(object_class__in=names)
    return [
        pictures.Label(
            result.object_class,
            result.class_id,
            result.confidence,
            result.bbox_x,
            result.bbox_y,
            result.bbox_width,
            result.bbox_height,
        )
        for result in results
    ]


@contextmanager
def place_to_draw() -> Iterator[None]:
    """One of a few: decoding takes memory in proportion to the picture, and requests run in many threads."""
    deadline = monotonic() + LONGEST_DRAWING_QUEUE_SECONDS
    while not drawing.acquire(timeout=0.5):
        if news.stopping.is_set() or monotonic() > deadline:
            raise Unavailable("Many pictures are being drawn; try again shortly.", "busy")
    try:
        yield
    finally:
        drawing.release()


def annotated(image: DetectionImage, labels: list[pictures.Label]) -> bytes:
    with stored_file(image) as file, place_to_draw():
        try:
            upright = pictures.upright(file)
        except pictures.UnreadableImage as error:  # the worker's decoder is another, and forgives more
            raise NoFile(str(error)) from error
        return pictures.jpeg(pictures.annotate(upright, labels))


def original(image: DetectionImage) -> originals.Pieces:
    with stored_file(image) as file:
        try:
            if not originals.is_written_anew(image.extension):
                return originals.without_metadata(file, image.extension)
            with place_to_draw():
                return originals.without_metadata(file, image.extension)
        except originals.UnreadableOriginal as error:
            raise NoFile(str(error)) from error


@contextmanager
def stored_file(image: DetectionImage) -> Iterator[IO[bytes]]:
    """An upload, to be read without a database connection: others need it meanwhile."""
    connections.give_back()
    try:
        with default_storage.open(image.image_path) as file:
            yield file
    except FileNotFoundError as error:
        raise NotFound("The image's file is no longer in the storage.") from error


async def streamed(path: str, pieces: originals.Pieces) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(default_storage.open, path)
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            await asyncio.to_thread(file.seek, piece.offset)
            for start in range(0, piece.length, BLOCK):
                yield await asyncio.to_thread(file.read, min(BLOCK, piece.length - start))
    finally:
        file.close()


async def blocks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), BLOCK):
        yield content[start : start + BLOCK]
