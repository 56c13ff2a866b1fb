from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def public(path: str) -> str:
    """A link for mails, below PUBLIC_URL: independent of any request."""
    base: str = settings.PUBLIC_URL
    return base.rstrip("/") + path


def absolute(request: HttpRequest | Request, path: str) -> str:
    """A link for clients: below `API_BASE_URL` if that is set, else below the request's own host."""
    return (
        settings.API_BASE_URL.rstrip("/") + path
        if settings.API_BASE_URL
        else request.build_absolute_uri(path)
    )
