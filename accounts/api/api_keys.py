from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.mixins import DestroyModelMixin, ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import keys
from accounts.api.caller import account_locked, current_session, current_user
from accounts.api.serializers import ApiKeySerializer, NewApiKeySerializer
from accounts.models import ApiKey
from objectvision.api.pagination import Pagination
from objectvision.api.schema import ClientErrorSerializer
from objectvision.api.views import StrictViewSet


class TooManyKeys(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "too_many_keys"


@extend_validation_errors(["max_length"], "scopes", actions=["list", "create"])
class ApiKeyViewSet(ListModelMixin, DestroyModelMixin, StrictViewSet[ApiKey]):
    # No key scopes: a key that could make keys would outlive its own end.
    serializer_class = ApiKeySerializer
    queryset = ApiKey.objects.none()  # for the API's document, which is made without a user
    pagination_class = Pagination
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[ApiKey]:
        return current_user(self.request).api_keys.kept().order_by("-created_at", "-id")

    @extend_schema(operation_id="list_api_keys")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """My API keys.

        Newest first, expired ones as well until they are revoked. The keys are not kept.
        """
        return super().list(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_api_key", responses={201: NewApiKeySerializer, 409: ClientErrorSerializer}
    )
    def create(self, request: Request) -> Response:
        """Make an API key.

        For programs: they send it as `X-API-Key`, or as the Bearer. Answers with the key, this once. At most
        20 are kept. Keys do what their scopes name, and never anything about log-ins: password, sessions,
        keys, the account's end.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            key, raw = keys.issue(
                current_user(request), **serializer.validated_data, by=current_session(request)
            )
        except keys.TooManyKeysError as error:
            raise TooManyKeys(str(error)) from error
        content: dict[str, Any] = {**ApiKeySerializer(key).data, "key": raw}
        return Response(content, status.HTTP_201_CREATED)

    @extend_schema(operation_id="revoke_api_key")
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Revoke an API key.

        It is refused from now on.
        """
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: ApiKey) -> None:
        with account_locked(self.request):
            ApiKey.objects.filter(pk=instance.pk).revoke()
