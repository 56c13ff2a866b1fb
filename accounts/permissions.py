"""Who may call what: a session everything, an API key what its scopes cover."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

from accounts.models import ApiKey


class MayCall(IsAuthenticated):
    """A view names the scope that API keys need in `read_scope`, for safe methods, and in `write_scope`.

    Where it names none, keys open nothing: it asks for a session.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if isinstance(request.auth, ApiKey):
            check_scope(request.auth, scope_of(view, request.method or ""))
        return True


def scope_of(view: Any, method: str) -> str | None:
    return getattr(view, "read_scope" if method in SAFE_METHODS else "write_scope", None)


def check_scope(key: ApiKey, needed: str | None) -> None:
    """Raises PermissionDenied."""
    if needed is None:
        raise PermissionDenied("An API key is not enough for this: log in.")
    if needed not in key.scopes:
        raise PermissionDenied(f"This needs an API key with the scope '{needed}'.")
