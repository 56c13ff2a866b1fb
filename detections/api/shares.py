"""The links by which owners share private results."""

from typing import Any
from uuid import UUID

from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from detections.api.detections import OwnDetectionViewSet
from detections.api.visitor_serializers import NewShareSerializer, ShareRequestSerializer, ShareSerializer
from detections.models import Detection
from detections.publication import shares
from objectvision.api.pagination import Pagination
from objectvision.api.schema import ClientErrorSerializer
from objectvision.lib.links import absolute


class TooManyShares(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_shares"


@extend_schema(tags=["shares"])
class ShareViewSet(OwnDetectionViewSet):
    serializer_class: Any = ShareSerializer  # the links of a queryset of detections

    @extend_schema(operation_id="list_shares", responses=ShareSerializer(many=True))
    @action(detail=True, pagination_class=Pagination)
    def shares(self, _request: Request, **_kwargs: Any) -> Response:
        """The share links of a detection.

        Those that work, newest first, without their tokens.
        """
        alive: Any = self.get_object().shares.alive().order_by("-pk")
        page = self.paginate_queryset(alive)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="create_share",
        request=ShareRequestSerializer,
        responses={201: NewShareSerializer, 409: ClientErrorSerializer},
    )
    @shares.mapping.post
    def create_share(self, request: Request, **_kwargs: Any) -> Response:
        """Share a detection by a link.

        Everybody who has the link sees pictures, classes and boxes, until it expires or is revoked. Answers
        with the token, this once. At most 50 links of a detection work at a time.
        """
        detection = self.get_object()
        serializer = ShareRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            share, token = shares.create_share(detection, serializer.validated_data["expires_in"])
        except shares.TooManySharesError as error:
            raise TooManyShares(str(error)) from error
        except Detection.DoesNotExist as error:
            raise Http404 from error
        url = absolute(request, reverse("shared-page", args=[token]))
        shown = {**ShareSerializer(share).data, "url": url, "token": token}
        return Response(shown, status.HTTP_201_CREATED)

    @extend_schema(operation_id="revoke_share", responses={204: None})
    @action(detail=True, methods=["delete"], url_path="shares/<uuid:share_id>")
    def revoke_share(self, _request: Request, share_id: UUID, **_kwargs: Any) -> Response:
        """Revoke a share link.

        It shows nothing from now on.
        """
        if not self.get_object().shares.filter(pk=share_id).revoke():
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)
