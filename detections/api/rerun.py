from functools import partial
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from accounts.models import User
from detections.api.detections import NoFile, OwnDetectionViewSet
from detections.api.upload_serializers import RerunSerializer
from detections.api.uploads import (
    ANSWERS,
    HEADERS,
    SubmittingViewSet,
    extend_parameter_errors,
    upload_errors,
)
from detections.models import Detection, DetectionQuerySet
from detections.uploads import rerun
from detections.uploads.intake import Submission
from objectvision.api.schema import ClientErrorSerializer


def submit_rerun(
    source: Detection, wanted: dict[str, Any], user: User, key: str | None, fingerprint: str
) -> Detection:
    """Raises ValidationError, NoFile, NotFound, TooMany."""
    try:
        with upload_errors():
            detector = rerun.wanted_detector(source, wanted.get("detector"))
            submission = Submission(
                user,
                detector,
                rerun.wanted_options(source, detector, wanted),
                name=wanted.get("name", source.name),
                is_public=wanted["is_public"],
                reuse=wanted["reuse"],
                key=key,
                fingerprint=fingerprint,
            )
            return rerun.submit_rerun(source, submission)
    except rerun.NoFilesError as error:
        raise NoFile(str(error)) from error
    except Detection.DoesNotExist as error:
        raise NotFound from error


@extend_parameter_errors
class RerunViewSet(SubmittingViewSet, OwnDetectionViewSet):
    def get_queryset(self) -> DetectionQuerySet:
        return super().get_queryset().select_related("detector")

    @extend_schema(
        operation_id="rerun_detection",
        parameters=HEADERS,
        responses={**ANSWERS, 409: ClientErrorSerializer},
    )
    @action(detail=True, methods=["post"], serializer_class=RerunSerializer)
    def rerun(self, request: Request, **_kwargs: Any) -> HttpResponse:
        """Run a detection again with other parameters.

        Makes a new detection of the same images, whose `source` names this one. What is not sent is as it was
        there, except that the new one is private and looks at each image anew. Images that were refused are
        left out. Answers as an upload does.
        """
        return self.submit(request, partial(submit_rerun, self.get_object()))
