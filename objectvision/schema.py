"""What drf-spectacular cannot see by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from drf_standardized_errors.openapi import AutoSchema as StandardAutoSchema
from drf_standardized_errors.openapi_serializers import ErrorResponse401Serializer
from drf_standardized_errors.openapi_utils import (
    get_flat_serializer_fields,
    get_serializer_fields_with_error_codes,
)
from rest_framework import serializers

from objectvision.errors import Unavailable, body
from objectvision.examples import answered

JSON = "application/json"


class ClientFaultSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


@extend_schema_serializer(
    examples=[
        answered(body("too_large", "The request is too large; at most 1 MB are allowed."), 413),
        answered(body("idempotency_key_reused", "This Idempotency-Key was used for another request."), 422),
        answered(
            body("email_not_verified", "Verify your e-mail address first, by the link in the mail to it."),
            403,
        ),
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


class AutoSchema(StandardAutoSchema):
    """With what the library does not see: how query strings and pages are refused.

    Shows JSON alone where a view takes forms besides: what generates clients takes one body for one call.
    """

    def map_parsers(self) -> list[str]:
        found: list[str] = super().map_parsers()
        return [JSON] if JSON in found else found

    def get_operation_id(self) -> str:
        """As `extend_schema` says; a view at several paths is given its `operation_id` at each."""
        return getattr(self.view, "operation_id", None) or str(super().get_operation_id())

    def key_scope(self) -> str | None:
        """The scope that an API key needs here; None where keys open nothing."""
        scopes: dict[str, str] = getattr(self.view, "key_scopes", {})
        return scopes.get(self.method)

    def get_auth(self) -> list[dict[str, Any]]:
        schemes: list[dict[str, Any]] = super().get_auth()
        return schemes if self.key_scope() else [scheme for scheme in schemes if "api_key" not in scheme]

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's signature
        scope = self.key_scope()
        described = str(super().get_description() or "")
        return f"{described} API keys need the scope `{scope}`." if scope else described

    def get_override_parameters(self) -> list[Any]:
        query = self.query_serializer()
        return [*super().get_override_parameters(), *([query] if query else [])]

    @contextmanager
    def with_body(self) -> Iterator[None]:
        """Both libraries take it that a DELETE has none; a view whose DELETE has one says so."""
        method = self.method
        if method == "DELETE" and getattr(self.view, "delete_takes_body", False):
            self.method = "POST"
        try:
            yield
        finally:
            self.method = method

    def _get_request_body(self, direction: str = "request") -> Any:
        with self.with_body():
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]  # the library's

    def _should_add_validation_error_response(self) -> bool:
        with self.with_body():
            return bool(super()._should_add_validation_error_response())

    def _determine_fields_with_error_codes(self) -> Any:
        with self.with_body():
            return super()._determine_fields_with_error_codes()

    def query_serializer(self) -> serializers.Serializer[Any] | None:
        """What reads the query of a view that has no filters but a `query_serializer_class`."""
        serializer_class = getattr(self.view, "query_serializer_class", None)
        return serializer_class() if serializer_class else None

    def _get_extra_validation_errors(self) -> dict[str, set[str]]:
        codes: dict[str, set[str]] = super()._get_extra_validation_errors()
        if query := self.query_serializer():
            fields = get_serializer_fields_with_error_codes(get_flat_serializer_fields(query))
            codes |= {field.name: set(field.error_codes) for field in fields}
        if self._is_list_view():
            codes |= {"limit": {"invalid"}, "offset": {"invalid"}}
        return codes


REFUSED = {401: ErrorResponse401Serializer}
"""For views that let strangers in and refuse some of them."""


def api_only(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Without the pages that are served outside the API's prefix as well."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
