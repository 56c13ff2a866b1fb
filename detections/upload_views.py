from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, cast
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView, get_object_or_404
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope, User
from detections import intake, room, validators, zips
from detections.models import Detection
from detections.serializers import AcceptedSerializer, DetectionSerializer
from detections.upload_serializers import DetectBatchSerializer, DetectImageSerializer, ParametersSerializer
from notifications import news
from objectvision import connections, idempotency
from objectvision.errors import Unavailable, invalid
from objectvision.schema import ClientErrorSerializer
from objectvision.throttles import UploadThrottle

LONGEST_WAIT_SECONDS = 30
POLL_AFTER_SECONDS = 1

HEADERS = [
    OpenApiParameter(
        "Prefer",
        str,
        OpenApiParameter.HEADER,
        description=f"`wait=N`, N up to {LONGEST_WAIT_SECONDS} seconds",
    ),
    idempotency.PARAMETER,
]
WAITING = (
    "Answers 202 with the job to follow or, with `Prefer: wait=N`, 200 with the detection if it is finished "
    "by then. While too many of your images wait, 429 says when there may be room."
)


def preferred_wait(request: Request) -> int:
    """The seconds in `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT_SECONDS`; 0 where not asked for.

    A preference that is not understood is no error: the RFC has it ignored.
    """
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.split(";")[0].partition("=")
        seconds = value.strip().strip('"')
        if name.strip().lower() == "wait" and seconds.isascii() and seconds.isdigit():
            return min(int(seconds[:9]), LONGEST_WAIT_SECONDS)
    return 0


def finished(detection_id: UUID) -> Detection | None:
    """The detection with all that an answer shows, once it is finished. Gives the connection back: others
    need it while this request waits."""
    try:
        return Detection.objects.filter(pk=detection_id).finished().with_images().first()
    finally:
        connections.give_back()


@contextmanager
def refusals(field: str) -> Iterator[None]:
    """What intake does not take of the files in this field, as HTTP says it."""
    try:
        yield
    except room.TooManyWaitingError as error:
        raise Throttled(error.wait, str(error)) from error
    except intake.NothingUsableError as error:
        raise invalid(field, str(error), error.code) from error
    except DjangoValidationError as error:  # of an archive, met while it was read
        raise invalid("archive", error.messages[0], error.code or zips.BAD_ARCHIVE) from error


class UploadView(GenericAPIView[Detection]):
    """Base of the two below."""

    key_scopes: ClassVar = {"POST": Scope.DETECT}
    throttle_classes = (UploadThrottle,)
    parser_classes = (MultiPartParser,)

    def upload(self, request: Request) -> Response:
        user = cast(User, request.user)  # the view lets nobody else in
        key = idempotency.key_of(request)
        data = request.data  # parsed here: what is wrong with it is no fault of a key
        mark = idempotency.fingerprint(request) if key else ""
        with refusals("archive" if "archive" in data else "images"):
            make = partial(self.submit, data, user, key, mark)
            detection = idempotency.once(user.detections.all(), key, mark, make)
        if seconds := preferred_wait(request):
            done = news.wait_for(detection.pk, partial(finished, detection.pk), seconds)
            if done is not None:
                return Response(DetectionSerializer(done, context=self.get_serializer_context()).data)
            detection = get_object_or_404(Detection, pk=detection.pk)  # deleted by another request, perhaps
        return self.accepted(detection)

    def submit(self, data: Any, user: User, key: str | None, mark: str) -> Detection:
        serializer: Any = self.get_serializer(data=data)
        serializer.is_valid(raise_exception=True)
        detector = cast(ParametersSerializer, serializer).chosen_detector()
        if detector is None:
            raise Unavailable(
                "No detector is prepared: an operator has to run prepare_detector.", "no_detector"
            )
        wanted = serializer.validated_data
        return intake.submit(
            user,
            serializer.uploads(),
            detector,
            serializer.parameters(user, detector),
            name=wanted.get("name", ""),
            is_public=wanted["is_public"],
            reuse=wanted["reuse"],
            expected=serializer.count(),
            key=key,
            fingerprint=mark,
        )

    def accepted(self, detection: Detection) -> Response:
        job = AcceptedSerializer(detection, context=self.get_serializer_context()).data
        headers = {"Location": job["job_url"], "Retry-After": str(POLL_AFTER_SECONDS)}
        return Response(job, status.HTTP_202_ACCEPTED, headers=headers)


ANSWERS = {200: DetectionSerializer, 202: AcceptedSerializer, 422: ClientErrorSerializer}


def extend_parameter_errors(view: type[UploadView]) -> type[UploadView]:
    """With what no field can know by itself."""
    for field, code in (
        ("classes", "unknown_class"),
        ("detector", "unknown_detector"),
        ("image_size", "fixed_size"),
        ("tile", "too_many_tiles"),
        (idempotency.HEADER, "invalid"),
    ):
        extend_validation_errors([code], field)(view)
    return view


@extend_parameter_errors
@extend_validation_errors(validators.CODES, "image")
class DetectImageView(UploadView):
    serializer_class = DetectImageSerializer

    @extend_schema(
        operation_id="upload_image",
        summary="Detect objects on one image",
        description=f"Stores the image and queues it. {WAITING}",
        parameters=HEADERS,
        responses=ANSWERS,
        tags=["detect"],
    )
    def post(self, request: Request) -> Response:
        return self.upload(request)


@extend_parameter_errors
@extend_validation_errors([*validators.CODES, "required", "too_many_tiles"], "images")
@extend_validation_errors([zips.BAD_ARCHIVE, *validators.CODES, "too_many_tiles"], "archive")
class DetectBatchView(UploadView):
    serializer_class = DetectBatchSerializer

    @extend_schema(
        operation_id="upload_batch",
        summary="Detect objects on many images",
        description=(
            "Takes up to 100 files as `images`, or one ZIP `archive` of up to "
            f"{zips.MOST_ENTRIES}. A file that is no usable picture becomes a failed image with its "
            f"code, and the others go on; only a batch of such files is refused. {WAITING}"
        ),
        parameters=HEADERS,
        responses=ANSWERS,
        tags=["detect"],
    )
    def post(self, request: Request) -> Response:
        return self.upload(request)
