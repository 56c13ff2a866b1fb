from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.generics import DestroyAPIView, GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import keys
from accounts.models import ApiKey
from accounts.serializers import ApiKeySerializer, NewApiKeySerializer
from accounts.views import me
from objectvision.pagination import Pagination
from objectvision.schema import ClientErrorSerializer


class TooManyKeys(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_keys"


class OwnKeysView(GenericAPIView[ApiKey]):
    """Names no scope: a key that could make others would outlive its own end."""

    serializer_class = ApiKeySerializer
    queryset = ApiKey.objects.none()  # for the API's document, which nobody asks for

    def get_queryset(self) -> QuerySet[ApiKey]:
        return me(self.request).api_keys.kept()


@extend_schema_view(
    get=extend_schema(
        operation_id="list_api_keys",
        summary="My API keys",
        description="Newest first, expired ones as well until they are revoked. The keys are not kept.",
    )
)
@extend_schema(tags=["users"])
class ApiKeysView(OwnKeysView, ListAPIView[ApiKey]):
    pagination_class = Pagination

    def get_queryset(self) -> QuerySet[ApiKey]:
        return super().get_queryset().order_by("-created_at", "-id")

    @extend_schema(
        operation_id="create_api_key",
        summary="Make an API key",
        description=(
            "For programs: they send it as `X-API-Key`, or as the Bearer. Answers with the key, this once. "
            f"At most {keys.MOST_KEPT} are kept. Keys do what their scopes name, and never what is about "
            "log-ins: password, sessions, keys, the account's end."
        ),
        responses={201: NewApiKeySerializer, 409: ClientErrorSerializer},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            key, raw = keys.issue(me(request), **serializer.validated_data)
        except keys.TooManyKeysError as error:
            raise TooManyKeys(str(error)) from error
        answer: dict[str, Any] = {**ApiKeySerializer(key).data, "key": raw}
        return Response(answer, status.HTTP_201_CREATED)


@extend_schema_view(
    delete=extend_schema(
        operation_id="revoke_api_key",
        summary="Revoke an API key",
        description="It is refused from now on.",
        tags=["users"],
    )
)
class ApiKeyView(OwnKeysView, DestroyAPIView[ApiKey]):
    def perform_destroy(self, instance: ApiKey) -> None:
        ApiKey.objects.filter(pk=instance.pk).revoke()
