from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from accounts.models import ApiKey, Scope


class MayCall(IsAuthenticated):
    """Lets sessions call everything, and API keys the methods that the view's `key_scopes` names.

    `key_scopes` maps a method to the scope that a key needs.
    """

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


def may_read(request: Request) -> bool:
    """Whether the answer may hold results and images: to a session, or to a key with the scope `read`."""
    return not isinstance(request.auth, ApiKey) or Scope.READ in request.auth.scopes
