"""What drf-spectacular cannot see by itself."""

from typing import Any

from rest_framework import serializers


class ClientFaultSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


class ClientErrorSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["client_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


class UnavailableSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["server_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


def api_only(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Without the pages that are served outside the API's prefix as well."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
