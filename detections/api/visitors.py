"""Public and shared results, for everybody who asks."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import Http404
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from detections.api.detections import NO_PICTURE, picture_headers, picture_refusals
from detections.api.streaming import stream_response
from detections.api.visitor_serializers import (
    ReportSerializer,
    ShownPictureSerializer,
    ShownSerializer,
    ShownSummarySerializer,
)
from detections.models import Detection, DetectionQuerySet
from detections.publication import moderation, shares, showing
from detections.publication.pictures import shown_picture
from detections.rendering import FilePieces, thumbnail_picture
from objectvision.api.negotiation import OneForm, conditional_headers, not_modified
from objectvision.api.pagination import Pagination
from objectvision.api.throttles import StaticThrottle, address
from objectvision.api.views import StrictViewSet
from objectvision.lib.links import absolute


class VisitorViewSet(StrictViewSet[Detection]):
    """Detections that the path shows to everybody; all others are the same 404. Credentials are not read."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    serializer_class = ShownSerializer
    queryset = Detection.objects.none()  # for the API's document, which is made without a path
    picture_route: ClassVar[str]
    page_route: ClassVar[str]

    def check_object(self) -> None:
        if self.detail:
            self.get_object()

    def get_object(self) -> Detection:
        detection = self.get_queryset().first() if self.detail else None
        if detection is None:
            raise Http404
        return detection

    def shown_response(self, detection: Detection) -> HttpResponseBase:
        version = showing.version_of(detection)
        headers = conditional_headers(version, absolute(self.request, self.request.path))
        return not_modified(self.request, headers) or Response(
            self.with_links(showing.kept_detection(detection), self.kwargs), headers=headers
        )

    def with_links(self, shown: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
        picture = absolute(self.request, reverse(self.picture_route, kwargs=names))
        linked = {
            **shown,
            "image_url": picture,
            "page_url": absolute(self.request, reverse(self.page_route, kwargs=names)),
        }
        if "images" in shown:
            linked["images"] = [
                {**image, "image_url": f"{picture}?image_id={image['id']}"} for image in shown["images"]
            ]
        return linked

    def picture_response(self) -> HttpResponseBase:
        detection, image_id = self.get_object(), self.query().get("image_id")
        images = showing.done_images(detection).select_related("detector")
        image = (images.filter(pk=image_id) if image_id else images).first()
        if image is None:
            raise Http404
        version = f"{image.pk} {detection.updated_at}"
        headers = picture_headers(version, f"{detection.pk}.jpg", download=False)
        if response := not_modified(self.request, headers):
            return response
        with picture_refusals():
            picture = shown_picture(image, version)
        return self.still_shown(picture, "image/jpeg", headers)

    def still_shown(
        self, picture: FilePieces, media_type: str, headers: Mapping[str, str]
    ) -> HttpResponseBase:
        """The picture, unless it was taken back while this request waited for it."""
        if not self.get_queryset().exists():
            picture.close()
            raise Http404
        return stream_response(picture, media_type, headers)


PICTURE = extend_schema(responses={(200, "image/jpeg"): OpenApiTypes.BINARY, **NO_PICTURE})


@extend_schema(tags=["public"])
class PublicViewSet(VisitorViewSet):
    lookup_value_converter = "uuid"
    pagination_class = Pagination
    picture_route, page_route = "public-image", "public-page"

    def get_queryset(self) -> DetectionQuerySet:
        detections = showing.public()
        return detections.filter(pk=self.kwargs["pk"]) if self.detail else detections.newest_first()

    @extend_schema(operation_id="list_public_detections", responses=ShownSummarySerializer(many=True))
    def list(self, _request: Request) -> Response:
        """Public detections.

        What users have published and staff have approved, newest first. Needs no log-in.
        """
        page: Any = self.paginate_queryset(self.get_queryset())
        shown = [self.with_links(each, {"pk": each["id"]}) for each in showing.kept_page(page)]
        return self.get_paginated_response(shown)

    @extend_schema(operation_id="get_public_detection", responses={200: ShownSerializer, 304: None})
    def retrieve(self, _request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A public detection.

        Its images with classes and boxes, as their owner has reviewed them. Needs no log-in.
        """
        return self.shown_response(self.get_object())

    @extend_schema(operation_id="get_public_image")
    @PICTURE
    @action(
        detail=True,
        content_negotiation_class=OneForm,
        query_serializer_class=ShownPictureSerializer,
        pagination_class=None,
    )
    def image(self, _request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A picture of a public detection.

        With its boxes, upright, as JPEG without metadata. Needs no log-in.
        """
        return self.picture_response()

    @extend_schema(
        operation_id="get_public_thumbnail",
        responses={(200, "image/webp"): OpenApiTypes.BINARY, **NO_PICTURE},
    )
    @action(
        detail=True,
        content_negotiation_class=OneForm,
        throttle_classes=[StaticThrottle],
        pagination_class=None,
    )
    def thumbnail(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A thumbnail of a public detection.

        Its first picture as a small upright WebP, without boxes or metadata: its longer side has 256 pixels
        at most. Needs no log-in.
        """
        image = showing.done_images(self.get_object()).first()
        if image is None:
            raise Http404
        headers = picture_headers(f"thumbnail {image.pk}", f"{image.pk}.webp", download=False)
        if response := not_modified(request, headers):
            return response
        with picture_refusals():
            picture = thumbnail_picture(image)
        return self.still_shown(picture, "image/webp", headers)

    @extend_schema(operation_id="create_public_report", responses={204: None})
    @action(detail=True, methods=["post"], serializer_class=ReportSerializer)
    def report(self, request: Request, **_kwargs: Any) -> Response:
        """Report a public detection.

        Staff read the reason. From each address one report is kept. Needs no log-in.
        """
        detection = self.get_object()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            moderation.report(detection, serializer.validated_data["reason"], address(request))
        except Detection.DoesNotExist as error:
            raise Http404 from error
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(tags=["public"])
class SharedViewSet(VisitorViewSet):
    lookup_field = lookup_url_kwarg = "token"
    lookup_value_converter = "str"
    picture_route, page_route = "shared-image", "shared-page"

    def get_queryset(self) -> DetectionQuerySet:
        return showing.shared_by(self.kwargs["token"])

    @extend_schema(operation_id="get_shared_detection", responses={200: ShownSerializer, 304: None})
    def retrieve(self, _request: Request, token: str) -> HttpResponseBase:
        """A shared detection.

        What a link of its owner's shows, as public detections are shown. Needs no log-in. A link that is
        unknown, revoked or expired is 404, and so is one whose detection is not finished.
        """
        detection = self.get_object()
        shares.count_use(token)
        return self.shown_response(detection)

    @extend_schema(operation_id="get_shared_image")
    @PICTURE
    @action(detail=True, content_negotiation_class=OneForm, query_serializer_class=ShownPictureSerializer)
    def image(self, _request: Request, **_kwargs: Any) -> HttpResponseBase:
        """A picture of a shared detection.

        With its boxes, upright, as JPEG without metadata. Needs no log-in.
        """
        return self.picture_response()
