from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.models import Scope, User
from detections.api.large_answers import detection_response, snapshot_response
from detections.api.serializers import AcceptedSerializer, DetectionSerializer
from detections.api.upload_serializers import DetectBatchSerializer, DetectImageSerializer
from detections.images import validation
from detections.models import Detection
from detections.uploads import intake, zip_reader
from detections.uploads.parameters import NoDetectorError, UploadError, chosen_detector, chosen_options
from objectvision.api import idempotency
from objectvision.api.errors import Unavailable, invalid
from objectvision.api.forms.parser import MultiPartParser
from objectvision.api.schema import ClientErrorSerializer
from objectvision.api.throttles import UploadThrottle
from objectvision.api.views import StrictViewSet
from objectvision.lib import connections, tracing, wakeups

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
Submit = Callable[[dict[str, Any], User, str | None, str], Detection]
"""Makes a detection of validated data, its owner, and the request's key and fingerprint."""
ANSWERS = {200: DetectionSerializer, 202: AcceptedSerializer, 422: ClientErrorSerializer}


def preferred_wait(request: Request) -> int:
    """The N of `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT_SECONDS`, else 0.

    A preference that is not understood is no error: the RFC has it ignored.
    """
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.split(";")[0].partition("=")
        seconds = value.strip().strip('"')
        if name.strip().lower() == "wait" and seconds.isascii() and seconds.isdigit():
            return min(int(seconds[:9]), LONGEST_WAIT_SECONDS)
    return 0


def finished_detection(detection_id: UUID) -> Detection | None:
    """The detection with its images, once it is finished and the database answers. Gives the connection
    back: others need it while this request waits."""
    try:
        return Detection.objects.filter(pk=detection_id).finished().with_images().first()
    except (OperationalError, InterfaceError):  # 503 would have the client send again what is stored
        connections.drop_broken()
        return None
    finally:
        connections.give_back()


@contextmanager
def upload_errors() -> Iterator[None]:
    """Answers 400 for what an upload may not ask for, and 503 without a detector."""
    try:
        yield
    except UploadError as error:
        raise invalid(error.field, str(error), error.code) from error
    except NoDetectorError as error:
        text = "No detector is prepared: an operator has to run prepare_detector."
        raise Unavailable(text, "no_detector") from error


def submit_upload(wanted: dict[str, Any], user: User, key: str | None, fingerprint: str) -> Detection:
    """Raises ValidationError, Unavailable, TooMany, Busy."""
    with upload_errors():
        detector = chosen_detector(wanted.get("detector"))
        submission = intake.Submission(
            user,
            detector,
            chosen_options(detector, wanted, user),
            name=wanted.get("name", ""),
            is_public=wanted["is_public"],
            reuse=wanted["reuse"],
            key=key,
            fingerprint=fingerprint,
        )
        if "image" in wanted:
            return intake.submit_image(submission, wanted["image"])
        if "archive" in wanted:
            return intake.submit_archive(submission, wanted["archive"])
        return intake.submit_images(submission, wanted["images"])


V = TypeVar("V", bound=type[StrictViewSet[Detection]])


def extend_parameter_errors(view: V) -> V:
    """Describes the errors that no field can know by itself."""
    for field, code in (
        ("classes", "unknown_class"),
        ("detector", "unknown_detector"),
        ("image_size", "fixed_size"),
        ("tile", "too_many_tiles"),
        (idempotency.HEADER, "invalid"),
    ):
        extend_validation_errors([code], field)(view)
    return view


class SubmittingViewSet(StrictViewSet[Detection]):
    """Makes detections, once for each key, and answers with the job or the finished detection."""

    key_scopes: ClassVar = {"POST": Scope.DETECT}
    throttle_classes = (UploadThrottle,)

    def submit(self, request: Request, make: Submit) -> HttpResponse:
        """Holds no database connection while it parses, hashes and waits."""
        user = current_user(request)
        connections.give_back()
        key = idempotency.key_of(request)
        data = request.data  # parsed before the key is looked up: a broken body is no fault of a key
        fingerprint = idempotency.fingerprint(request) if key else ""
        once = partial(self.make_detection, make, data, user, key, fingerprint)
        asked_at = monotonic()
        detection = idempotency.once(user.detections.all(), key, fingerprint, once)
        if seconds := preferred_wait(request):
            request.close()  # the body and its files need not wait in memory
            is_new = not key and not detection.is_finished
            if response := self.wait(detection, seconds, asked_at if is_new else None):
                return response
            detection = get_object_or_404(Detection, pk=detection.pk)  # deleted by another request, perhaps
        return self.accepted(detection)

    def wait(self, detection: Detection, seconds: int, unchanged_at: float | None) -> HttpResponse | None:
        """The answer, if the detection is finished in time."""
        context = self.get_serializer_context()

        def look() -> HttpResponse | None:
            done = finished_detection(detection.pk)
            return detection_response(self.request, done, context) if done else None

        def read(text: str) -> HttpResponse | None:
            try:
                return snapshot_response(self.request, text, detection.detector)
            except ValueError:  # of a worker of another version
                return look()

        with tracing.span("wait"):
            return wakeups.wait_for(detection.pk, look, seconds, read=read, unchanged_at=unchanged_at)

    def make_detection(
        self, make: Submit, data: Any, user: User, key: str | None, fingerprint: str
    ) -> Detection:
        serializer = self.get_serializer(data=data)
        serializer.is_valid(raise_exception=True)
        return make(serializer.validated_data, user, key, fingerprint)

    def accepted(self, detection: Detection) -> Response:
        job = AcceptedSerializer(detection, context=self.get_serializer_context()).data
        headers = {"Location": job["job_url"], "Retry-After": str(POLL_AFTER_SECONDS)}
        return Response(job, status.HTTP_202_ACCEPTED, headers=headers)


@extend_parameter_errors
@extend_validation_errors(validation.CODES, "image", actions=["image"])
@extend_validation_errors([*validation.CODES, "required", "too_many_tiles"], "images", actions=["batch"])
@extend_validation_errors(
    [zip_reader.BAD_ARCHIVE, *validation.CODES, "too_many_tiles"], "archive", actions=["batch"]
)
class UploadViewSet(SubmittingViewSet):
    parser_classes = (MultiPartParser,)

    @extend_schema(operation_id="upload_image", parameters=HEADERS, responses=ANSWERS)
    @action(detail=False, methods=["post"], serializer_class=DetectImageSerializer)
    def image(self, request: Request) -> HttpResponse:
        """Detect objects on one image.

        Stores the image and queues it. Answers 202 with the job to follow or, with `Prefer: wait=N`, 200 with
        the detection if it is finished by then. While too many of your images wait, 429 says when there may
        be room.
        """
        return self.submit(request, submit_upload)

    @extend_schema(operation_id="upload_batch", parameters=HEADERS, responses=ANSWERS)
    @action(detail=False, methods=["post"], serializer_class=DetectBatchSerializer)
    def batch(self, request: Request) -> HttpResponse:
        """Detect objects on many images.

        Takes up to 100 files as `images`, or one ZIP `archive` of up to 1000. A file that is no usable
        picture becomes a failed image with its code, and the others go on; only a batch of such files is
        refused. Answers 202 with the job to follow or, with `Prefer: wait=N`, 200 with the detection if it is
        finished by then. While too many of your images wait, 429 says when there may be room.
        """
        return self.submit(request, submit_upload)
