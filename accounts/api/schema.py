from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.authentication.ApiKeyAuthentication"
    name = "api_key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002  # the library's signature
        return {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "From `POST /api/v1/users/api-keys`; taken as `Authorization: Bearer` as well.",
        }


class SessionTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.authentication.SessionTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002  # the library's signature
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
