"""The results of a detection, and what its owner says about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from detections import reviews
from detections.api.detections import OwnDetectionViewSet
from detections.api.lists import KeptTotals
from detections.api.review_serializers import (
    AddedResultSerializer,
    ResultReviewSerializer,
    ReviewedCountSerializer,
    ReviewedResultSerializer,
    ReviewSerializer,
)
from detections.api.serializers import ImageResultSerializer, ImageResultsSerializer
from detections.models import DetectionResult
from detections.search import named_classes
from objectvision.api.errors import invalid
from objectvision.api.schema import ClientErrorSerializer

CONFLICT = {409: ClientErrorSerializer}


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


@extend_validation_errors(["required"], "min_confidence", actions=["review"])
class ReviewViewSet(OwnDetectionViewSet):
    serializer_class: Any = ImageResultSerializer  # the results of a queryset of detections

    def check_object(self) -> None:
        super().check_object()
        if result_id := self.kwargs.get("result_id"):
            self.find_result(result_id)

    def find_result(self, result_id: UUID) -> DetectionResult:
        """Raises Http404."""
        return get_object_or_404(self.get_object().results.select_related("image"), pk=result_id)

    @extend_schema(operation_id="list_detection_results", responses=ImageResultSerializer(many=True))
    @action(detail=True, pagination_class=KeptTotals, query_serializer_class=ImageResultsSerializer)
    def results(self, _request: Request, **_kwargs: Any) -> Response:
        """All results of a detection.

        Those of all its images or of one of them, the most confident first unless you ask for the others.
        """
        detection, query = self.get_object(), self.query()
        results: Any = detection.results.order_by(query["ordering"], "id")
        if image_id := query.get("image_id"):
            results = results.filter(image=get_object_or_404(detection.images.all(), pk=image_id))
        if "review" in query:
            results = results.filter(review=query["review"])
        page = self.paginate_queryset(results.prefetch_related("image"))  # a join slows late pages down
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="add_result",
        request=AddedResultSerializer,
        responses={201: ReviewedResultSerializer, **CONFLICT},
    )
    @results.mapping.post
    def add(self, request: Request, **_kwargs: Any) -> Response:
        """Add a box that the model has missed.

        `source` is `person` and the confidence 1. A class may be a new one: `class_id` is then the number of
        the detector's classes. An image takes up to 1,000 such boxes once it is done.
        """
        detection = self.get_object()
        wanted = validated(AddedResultSerializer(data=request.data))
        if not detection.images.filter(pk=wanted["image_id"]).exists():
            raise invalid("image_id", "The detection has no such image.", "invalid")
        with review_errors():
            result = reviews.add_result(
                detection, wanted["image_id"], wanted["object_class"], wanted["bbox_normalized"]
            )
        return self.result_response(result, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="review_result",
        request=ResultReviewSerializer,
        responses={200: ReviewedResultSerializer, **CONFLICT},
    )
    @action(detail=True, methods=["patch"], url_path="results/<uuid:result_id>", query_serializer_class=None)
    def result(self, request: Request, result_id: UUID, **_kwargs: Any) -> Response:
        """Accept, reject or relabel a result.

        The model's answer stays; `object_class` becomes `reviewed_class`, and the result is accepted with it.
        `none` takes a review back. A rejected result has no other class.
        """
        result = self.find_result(result_id)
        changes = validated(ResultReviewSerializer(data=request.data, partial=True))
        if changes:
            with review_errors():
                result = reviews.review_result(result.detection, result_id, changes)
        return self.result_response(result)

    @extend_schema(operation_id="delete_result", responses={204: None, **CONFLICT})
    @result.mapping.delete
    def remove(self, _request: Request, result_id: UUID, **_kwargs: Any) -> Response:
        """Delete a box that you have added.

        What the model found stays, and can be rejected: 409.
        """
        detection = self.find_result(result_id).detection
        with review_errors():
            reviews.delete_result(detection, result_id)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="review_results", request=ReviewSerializer, responses=ReviewedCountSerializer)
    @action(detail=True, methods=["post"])
    def review(self, request: Request, **_kwargs: Any) -> Response:
        """Review all results above or below a confidence.

        Accepts or rejects what the model found on images that are done, and what you have not reviewed
        before; `none` takes reviews back, new classes as well. Both bounds are included. Boxes that you have
        added stay as they are. Answers how many results it has changed.
        """
        detection = self.get_object()
        wanted = validated(ReviewSerializer(data=request.data))
        if "classes" in wanted:
            wanted["classes"] = named_classes(wanted["classes"], detection.detector.classes)
        with review_errors():
            changed = reviews.review_results(detection, **wanted)
        return Response({"changed": changed})

    def result_response(self, result: DetectionResult, code: int = status.HTTP_200_OK) -> Response:
        return Response(ReviewedResultSerializer(result, context=self.get_serializer_context()).data, code)


def validated(serializer: Any) -> Any:
    """Raises ValidationError."""
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


@contextmanager
def review_errors() -> Iterator[None]:
    """Answers 409 for what cannot be reviewed so, and 404 for what was deleted meanwhile."""
    try:
        yield
    except reviews.ReviewError as error:
        raise Conflict(str(error), error.code) from error
    except ObjectDoesNotExist as error:
        raise NotFound from error
