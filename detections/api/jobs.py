from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from detections import caching
from detections.api.detections import OwnDetectionViewSet
from detections.api.serializers import JobSerializer
from detections.caching import Question
from detections.jobs import actions
from detections.models import Detection
from objectvision.api.negotiation import conditional_headers, not_modified
from objectvision.api.throttles import UploadThrottle
from objectvision.lib import doorbell

JOB_SECONDS = 60


class JobViewSet(OwnDetectionViewSet):
    """The processing of a detection: a job has its detection's id."""

    serializer_class = JobSerializer

    @extend_schema(operation_id="get_job", responses={200: JobSerializer, 304: None})
    def retrieve(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A job's progress.

        How many of its images are finished, and how many images are ahead of it in the queue.
        """
        job = self.kept_job(request)
        headers = conditional_headers(job)  # reading the rows is nearly all of the work
        return not_modified(request, headers) or Response(job, headers=headers)

    def kept_job(self, request: Request) -> dict[str, Any]:
        """Kept except for its place in the queue, which the images of other users change."""
        owner, pk = current_user(request).pk, self.kwargs["pk"]
        question = Question("job", str(pk), JOB_SECONDS, slots=64)
        version, kept = caching.find(owner, question)
        if kept is None:
            detection = self.get_object()
            job: dict[str, Any] = self.get_serializer(detection).data
            caching.keep(owner, version, question, {"job": job, "detector": str(detection.detector_id)})
            return job
        job = kept["job"]
        detection = Detection(pk=pk, status=job["status"], detector_id=UUID(kept["detector"]))
        return {**job, "queue_position": detection.queue_position()}

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
