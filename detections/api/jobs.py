from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from detections.api.detections import OwnDetectionViewSet
from detections.api.serializers import JobSerializer
from detections.jobs import actions
from objectvision.api.negotiation import conditional_headers, not_modified
from objectvision.api.throttles import UploadThrottle
from objectvision.lib import doorbell


class JobViewSet(OwnDetectionViewSet):
    """The processing of a detection: a job has its detection's id."""

    serializer_class = JobSerializer

    @extend_schema(operation_id="get_job", responses={200: JobSerializer, 304: None})
    def retrieve(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A job's progress.

        How many of its images are finished, and how many images are ahead of it in the queue.
        """
        job = self.get_serializer(self.get_object()).data
        headers = conditional_headers(job)  # reading the rows is nearly all of the work
        return not_modified(request, headers) or Response(job, headers=headers)

    @extend_schema(operation_id="cancel_job", request=None)
    @action(detail=True, methods=["post"], body_methods=())
    def cancel(self, _request: Request, **_kwargs: Any) -> Response:
        """Cancel a job.

        Images that are not finished will not be processed; the results of the others are kept. Images that
        an operator has queued again get their earlier results back, unless another detector found them. A
        job that has ended stays as it is.
        """
        actions.cancel(self.get_object().pk)
        return self.job_response()

    @extend_schema(operation_id="retry_job", request=None)
    @action(detail=True, methods=["post"], body_methods=(), throttle_classes=[UploadThrottle])
    def retry(self, _request: Request, **_kwargs: Any) -> Response:
        """Retry a job's failed images.

        Its failed images are queued again with all their attempts, except images that were refused and have
        no file. A job without such images stays as it is.
        """
        if actions.retry(self.get_object().pk):
            doorbell.ring_after_commit("detections.process_images")
        return self.job_response()

    def job_response(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)
