from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def is_own_page(request: HttpRequest | Request) -> bool:
    """Whether the request comes from a page of this server, as far as its Origin tells.

    Pages that came by plain HTTP are not those of a server with HTTPS: who is on the way can forge them.
    Behind a proxy that is not in TRUSTED_PROXIES, PUBLIC_URL tells the scheme.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    return origin == f"{request.scheme}://{request.get_host()}"
