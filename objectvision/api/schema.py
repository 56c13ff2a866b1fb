"""The API's document, as far as drf-spectacular cannot derive it from views."""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

from drf_spectacular.plumbing import ComponentRegistry
from drf_spectacular.utils import extend_schema_serializer
from drf_standardized_errors.openapi import AutoSchema as StandardAutoSchema
from drf_standardized_errors.openapi_serializers import ErrorResponse401Serializer
from drf_standardized_errors.openapi_utils import (
    get_flat_serializer_fields,
    get_serializer_fields_with_error_codes,
)
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import serializers
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from objectvision.api.errors import Unavailable
from objectvision.api.examples import answered
from objectvision.api.plain_answers import error_body
from objectvision.api.views import StrictView

JSON = "application/json"
SCHEMAS = "#/components/schemas/"
# Stands for a field or parameter that there is none of, or that was sent more than once.
ANY_NAME, NAME_CODES = "any_name", ["unknown_field", "repeated_field"]


class ClientFaultSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


@extend_schema_serializer(
    examples=[
        answered(error_body("too_large", "The request is too large; at most 1 MB are allowed."), 413),
        answered(error_body("headers_too_large", "The request has a line of over 8 kB."), 431),
        answered(
            error_body("idempotency_key_reused", "This Idempotency-Key was used for another request."), 422
        ),
        answered(
            error_body(
                "email_not_verified", "Verify your e-mail address first, by the link in the mail to it."
            ),
            403,
        ),
        answered(
            error_body("not_processed", "The image is waiting; there is a picture once it is done."), 409
        ),
    ]
)
class ClientErrorSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["client_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


@extend_schema_serializer(
    examples=[answered(error_body("unavailable", Unavailable.default_detail, kind="server_error"), 503)]
)
class UnavailableSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["server_error"])
    errors = ClientFaultSerializer(many=True)  # type: ignore[assignment]  # the contract's name, as DRF's own


class AutoSchema(StandardAutoSchema):
    """Describes operations by the docstrings of their methods: first the summary, then the description.

    Shows JSON alone where a view takes forms besides: a generated client takes one body per call.
    """

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Any:
        view: Any = type(self.view)
        declare_errors(view)
        if method.upper() == "DELETE" and method.upper() in view.body_methods:
            method = "POST"  # both libraries describe the body of a DELETE under no other name
        return super().get_operation(path, path_regex, path_prefix, method, registry)

    def get_operation_id(self) -> str:
        """The one that `extend_schema` or, for a view at several paths, `as_view` was given."""
        return getattr(self.view, "operation_id", None) or str(super().get_operation_id())

    def get_summary(self) -> str:
        return self.docstring()[0].removesuffix(".")

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's signature
        paragraphs = [" ".join(text.split()) for text in self.docstring()[2].strip().split("\n\n")]
        if scope := self.key_scope():
            paragraphs[-1] += f" API keys need the scope `{scope}`."
        return "\n\n".join(paragraphs).strip()

    def docstring(self) -> tuple[str, str, str]:
        handler = getattr(self.view, "action", None) or str(self.view.request.method).lower()
        return (inspect.getdoc(getattr(self.view, handler)) or "").partition("\n")

    def key_scope(self) -> str | None:
        """The scope that an API key needs here; None where API keys are refused."""
        scopes: dict[str, str] = (
            getattr(self.view, "key_scopes", {}) if self.view.get_authenticators() else {}
        )
        return scopes.get(str(self.view.request.method))

    def get_auth(self) -> list[dict[str, Any]]:
        schemes: list[dict[str, Any]] = super().get_auth()
        return schemes if self.key_scope() else [scheme for scheme in schemes if "api_key" not in scheme]

    def get_override_parameters(self) -> list[Any]:
        query = getattr(self.view, "query_serializer_class", None) if self.method == "GET" else None
        return [*super().get_override_parameters(), *([query()] if query else [])]

    def map_parsers(self) -> list[str]:
        found: list[str] = super().map_parsers()
        return [JSON] if JSON in found else found


@cache
def declare_errors(view: type[StrictView]) -> None:
    """Adds the errors of names and of query strings to the document: once, because it changes the class."""
    served = {"GET", "POST", "PATCH", "DELETE"} & {name.upper() for name in dir(view)}
    strict = sorted(served.difference(view.lenient_methods)) if view.lenient_methods else None
    if strict != []:
        extend_validation_errors(NAME_CODES, ANY_NAME, methods=strict)(view)
    operations = list(queried_operations(view))
    for options, scope in operations:
        if serializer_class := options.get("query_serializer_class"):
            fields = get_flat_serializer_fields(serializer_class())
            for field in get_serializer_fields_with_error_codes(fields):
                extend_validation_errors(sorted(field.error_codes), field.name, **scope)(view)
    for options, scope in operations:
        if options.get("pagination_class"):
            for name in ("limit", "offset"):
                extend_validation_errors(["invalid"], name, **scope)(view)


def queried_operations(view: type[APIView]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The options of each operation that may read a query string, and the operation itself."""
    options = {name: getattr(view, name, None) for name in ("query_serializer_class", "pagination_class")}
    if not issubclass(view, ViewSetMixin):
        yield options, {"methods": ["get"]}
        return
    actions: list[Any] = view.get_extra_actions()
    for action in actions:
        yield action.kwargs, {"actions": [action.__name__]}
    if hasattr(view, "list"):
        yield options, {"actions": ["list"]}


REFUSED = {401: ErrorResponse401Serializer}  # for views that anonymous clients may call and that refuse some


def api_only(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Leaves out the copies of pages outside the API's prefix."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def declare_refused_forms(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Adds to the document the codes of a form that is refused before its fields are looked at."""
    codes = result["components"]["schemas"]["ParseErrorCodeEnum"]
    codes["enum"] += ["too_many_fields", "too_many_files", "too_many_parts"]
    codes["description"] = "Why the request was not read."
    return result


def share_name_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Lets the errors of all operations share one schema for names, whose `attr` is any text."""
    schemas = result["components"]["schemas"]
    own = [name for name in schemas if name.endswith("AnyNameErrorComponent")]
    shared = [schemas.pop(name) for name in own].pop()
    shared["properties"]["attr"] = {"type": "string"}
    schemas["NameErrorComponent"] = shared
    place = {SCHEMAS + name: f"{SCHEMAS}NameErrorComponent" for name in own}
    for schema in schemas.values():
        for option in schema.get("oneOf", ()):
            option["$ref"] = place.get(option["$ref"], option["$ref"])
        if mapping := schema.get("discriminator", {}).get("mapping"):
            mapping.update({name: place.get(ref, ref) for name, ref in mapping.items()})
    return result


def close_request_bodies(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Says that bodies take no other fields."""
    operations = [operation for path in result["paths"].values() for operation in path.values()]
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    for media in (media for body in bodies for media in body["content"].values()):
        close(media["schema"], result["components"]["schemas"])
    return result


def close(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """As `close_request_bodies`, what a reference leads to, and the objects inside of it."""
    found = schemas.get(schema.get("$ref", "").removeprefix(SCHEMAS), {})
    if found.get("type") == "object":
        found["additionalProperties"] = False
        for field in found["properties"].values():
            close(field, schemas)
