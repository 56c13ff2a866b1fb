"""The webhooks of a user, and the log of what was sent to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from notifications.api import examples
from notifications.api.serializers import (
    DeliveriesQuerySerializer,
    DeliverySerializer,
    FullDeliverySerializer,
    PeriodSerializer,
    ReplayedSerializer,
    WebhookChangeSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
)
from notifications.models import WebhookDelivery, WebhookEndpoint, WebhookEndpointQuerySet
from notifications.webhooks import endpoints
from objectvision.api.examples import answered
from objectvision.api.pagination import Pagination
from objectvision.api.schema import ClientErrorSerializer
from objectvision.api.throttles import ReadThrottle, WebhookThrottle
from objectvision.api.views import StrictViewSet

ACCOUNT = "account"  # the scope of API keys
URL_CODES = ["invalid", "address_not_allowed"]
EVENTS_CODES = ["empty", "max_length", "unknown_type"]


class TooManyWebhooks(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_webhooks"


class NotNow(APIException):
    """The state of the webhook or of the delivery does not allow it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_now"


def conflict(example: Any) -> OpenApiResponse:
    return OpenApiResponse(ClientErrorSerializer, examples=[answered(example, 409)])


class OwnWebhookViewSet(StrictViewSet[WebhookEndpoint]):
    """The user's own webhooks: those of other users are 404, and so are deleted ones."""

    # Keys neither make webhooks nor see secrets: these need a session.
    key_scopes: ClassVar = dict.fromkeys(("GET", "PATCH", "DELETE"), ACCOUNT)
    throttle_classes = (ReadThrottle, WebhookThrottle)
    lookup_value_converter = "uuid"
    serializer_class = WebhookSerializer
    queryset = WebhookEndpoint.objects.none()  # for the API's document, which is made without a user

    def get_queryset(self) -> WebhookEndpointQuerySet:
        return WebhookEndpoint.objects.owned_by(self.request.user)

    @contextmanager
    def locked_webhook(self) -> Iterator[WebhookEndpoint]:
        """The webhook, for changes: no other request of its owner changes it meanwhile.

        Raises AuthenticationFailed if the request's session or key has ended, Http404 and NotNow.
        """
        user: Any = self.request.user
        with user.locked(self.request.auth):
            try:
                yield self.get_object()
            except endpoints.NotNowError as error:
                raise NotNow(str(error)) from error

    def accepted(self, delivery: WebhookDelivery) -> Response:
        return Response(DeliverySerializer(delivery).data, status.HTTP_202_ACCEPTED)


@extend_validation_errors(URL_CODES, "url", actions=["create", "partial_update"])
@extend_validation_errors(EVENTS_CODES, "events", actions=["create", "partial_update"])
class WebhookViewSet(ListModelMixin, RetrieveModelMixin, OwnWebhookViewSet):
    pagination_class = Pagination

    @extend_schema(operation_id="list_webhooks")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """My webhooks.

        Newest first, without their secrets.
        """
        return super().list(request, *args, **kwargs)

    @extend_schema(operation_id="get_webhook")
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A webhook.

        `failing_since` is the first failure after the last success. After 5 days without a success it is
        disabled.
        """
        return super().retrieve(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_webhook",
        responses={201: WebhookWithSecretSerializer, 409: conflict(examples.TOO_MANY)},
    )
    def create(self, request: Request) -> Response:
        """Make a webhook.

        From now on your events are sent to this address, signed after Standard Webhooks. Answers with the
        secret that signs them, this once. At most 20 are kept.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            webhook, secret = endpoints.create_endpoint(
                request.user, request.auth, **serializer.validated_data
            )
        except endpoints.TooManyEndpointsError as error:
            raise TooManyWebhooks(str(error)) from error
        return Response(with_secret(webhook, secret), status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="update_webhook", request=WebhookChangeSerializer, responses=WebhookSerializer
    )
    def partial_update(self, request: Request, **_kwargs: Any) -> Response:
        """Change a webhook.

        Fields that are not sent stay as they are. Deactivated, it ends what waits to be sent; activated
        again, it gets the events from then on.
        """
        serializer = self.get_serializer(self.get_object(), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        with self.locked_webhook() as webhook:
            endpoints.change_endpoint(webhook, **serializer.validated_data)
        return Response(WebhookSerializer(webhook).data)

    @extend_schema(operation_id="delete_webhook")
    def destroy(self, _request: Request, **_kwargs: Any) -> Response:
        """Delete a webhook.

        Nothing more is sent to it. Its deliveries go with it.
        """
        with self.locked_webhook() as webhook:
            endpoints.remove_endpoint(webhook)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="rotate_webhook_secret", request=None, responses=WebhookWithSecretSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret", body_methods=())
    def rotate_secret(self, _request: Request, **_kwargs: Any) -> Response:
        """Replace a webhook's secret.

        Answers with the new one, this once. For 24 hours the one before signs too, so that receivers can
        change.
        """
        with self.locked_webhook() as webhook:
            secret = endpoints.rotate_secret(webhook)
        return Response(with_secret(webhook, secret))

    @extend_schema(
        operation_id="ping_webhook",
        request=None,
        responses={
            202: OpenApiResponse(DeliverySerializer, examples=[answered(examples.PING, 202)]),
            409: conflict(examples.INACTIVE),
        },
    )
    @action(detail=True, methods=["post"], body_methods=(), key_scopes={"POST": ACCOUNT})
    def ping(self, _request: Request, **_kwargs: Any) -> Response:
        """Try a webhook.

        Sends an event of type `ping`, once. Its delivery tells what came of it. One at a time.
        """
        with self.locked_webhook() as webhook:
            delivery = endpoints.ping_endpoint(webhook)
        return self.accepted(delivery)

    @extend_schema(
        operation_id="replay_webhook", responses={202: ReplayedSerializer, 409: conflict(examples.INACTIVE)}
    )
    @action(detail=True, methods=["post"], serializer_class=PeriodSerializer, key_scopes={"POST": ACCOUNT})
    def replay(self, request: Request, **_kwargs: Any) -> Response:
        """Send again what has failed.

        The deliveries of a time that have failed, with all their attempts and the same `webhook-id`.
        """
        self.get_object()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with self.locked_webhook() as webhook:
            count = endpoints.replay_failures(webhook, **serializer.validated_data)
        return Response({"count": count}, status.HTTP_202_ACCEPTED)


def with_secret(webhook: WebhookEndpoint, secret: str) -> dict[str, Any]:
    return {**WebhookSerializer(webhook).data, "secret": secret}


@extend_schema(tags=["webhooks"])
class DeliveryViewSet(OwnWebhookViewSet):
    """What was sent to a webhook. A delivery is found under its own webhook alone."""

    def check_object(self) -> None:
        webhook = self.get_object()
        if "delivery_id" in self.kwargs:
            self.delivery_of(webhook)

    def delivery_of(self, webhook: WebhookEndpoint) -> WebhookDelivery:
        """Raises Http404."""
        return get_object_or_404(webhook.deliveries.all(), pk=self.kwargs["delivery_id"])

    @extend_schema(operation_id="list_webhook_deliveries", responses=DeliverySerializer(many=True))
    @action(
        detail=True,
        serializer_class=DeliverySerializer,
        pagination_class=Pagination,
        query_serializer_class=DeliveriesQuerySerializer,
    )
    def deliveries(self, _request: Request, **_kwargs: Any) -> Response:
        """What was sent to a webhook.

        Its deliveries of the last 90 days, newest first: one for each event. A delivery by itself shows what
        was sent and answered.
        """
        rows: Any = self.get_object().deliveries.for_list()
        if state := self.query().get("state"):
            rows = rows.filter(state=state)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="get_webhook_delivery")
    @action(
        detail=True,
        url_path="deliveries/<uuid:delivery_id>",
        serializer_class=FullDeliverySerializer,
    )
    def delivery(self, _request: Request, **_kwargs: Any) -> Response:
        """A delivery with all that was sent and answered.

        `request` is what the last attempt sent. `responses` has what came back at each of the last 20
        attempts, with up to 64 kB of its body, as text.
        """
        return Response(self.get_serializer(self.delivery_of(self.get_object())).data)

    @extend_schema(
        operation_id="redeliver_event",
        request=None,
        responses={202: DeliverySerializer, 409: conflict(examples.UNDER_WAY)},
    )
    @action(
        detail=True,
        methods=["post"],
        url_path="deliveries/<uuid:delivery_id>/redeliver",
        body_methods=(),
        key_scopes={"POST": ACCOUNT},
    )
    def redeliver(self, _request: Request, **_kwargs: Any) -> Response:
        """Send a delivery again.

        With the same `webhook-id` and as many attempts as a new one. Not while it is pending or being sent.
        """
        with self.locked_webhook() as webhook:
            delivery = self.delivery_of(webhook)
            endpoints.redeliver(delivery)
        return self.accepted(delivery)
