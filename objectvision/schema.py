"""What drf-spectacular cannot see by itself."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from objectvision.errors import Unavailable, body
from objectvision.examples import answered


class ClientFaultSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


@extend_schema_serializer(
    examples=[
        answered(body("too_large", "The request is too large; at most 1 MB are allowed."), 413),
        answered(body("not_processed", "The image is waiting; there is a picture once it is done."), 409),
    ]
)
class ClientErrorSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["client_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


@extend_schema_serializer(
    examples=[answered(body("unavailable", Unavailable.default_detail, kind="server_error"), 503)]
)
class UnavailableSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["server_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


def api_only(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Without the pages that are served outside the API's prefix as well."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
