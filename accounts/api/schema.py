from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.api.authentication.ApiKeyAuthentication"
    name = "api_key"

    def get_security_definition(self, *_: Any, **__: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "From `POST /api/v1/users/api-keys`; taken as `Authorization: Bearer` as well.",
        }


class SessionTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.api.authentication.SessionTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, *_: Any, **__: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class TicketScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.api.authentication.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, *_: Any, **__: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "From `POST /api/v1/auth/ws-ticket`, for one stream.",
        }


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library's
    target_class = "accounts.api.authentication.BrowserAuthentication"
    name = "console"

    def get_security_definition(self, *_: Any, **__: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.CONSOLE_COOKIE_NAME,
            "description": "Of the web console's pages; changes also need their `X-CSRFToken`.",
        }
