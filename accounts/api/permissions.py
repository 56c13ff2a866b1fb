"""Who may call what: a session everything, an API key what its scopes cover."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from accounts.models import ApiKey


class MayCall(IsAuthenticated):
    """A view's `key_scopes` names the scope that API keys need, by method; where it names none, keys open
    nothing: it asks for a session."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if isinstance(request.auth, ApiKey):
            method = "GET" if request.method == "HEAD" else request.method
            check_scope(request.auth, getattr(view, "key_scopes", {}).get(method))
        return True


def check_scope(key: ApiKey, needed: str | None) -> None:
    """Raises PermissionDenied."""
    if needed is None:
        raise PermissionDenied("An API key is not enough for this: log in.")
    if needed not in key.scopes:
        raise PermissionDenied(f"This needs an API key with the scope '{needed}'.")
