"""`/metrics`, for Prometheus."""

import hmac
import ipaddress

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.api.authentication import bearer_token
from objectvision.api.negotiation import OneForm
from objectvision.api.views import StrictView
from objectvision.monitoring.readings import read_all

# What proxies add. Where the server believes it, and takes the address from it, the port is 0.
FROM_HEADER = 0
FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


class Challenge(BaseAuthentication):
    """Authenticates nobody, and says in a 401 what is missing."""

    def authenticate(self, _request: Request) -> None:
        return None

    def authenticate_header(self, _request: Request) -> str | None:
        return 'Bearer realm="metrics"' if settings.METRICS_TOKEN else None


class MayScrape(BasePermission):
    """Clients that know the token, or whose address is allowed."""

    def has_permission(self, request: Request, _view: APIView) -> bool:
        if not settings.HAS_METRICS:
            raise NotFound
        return has_token(request) or is_near(request)


def has_token(request: Request) -> bool:
    sent = bearer_token(request) or ""
    known: str = settings.METRICS_TOKEN
    return bool(known) and hmac.compare_digest(sent.encode(), known.encode())


def is_near(request: Request) -> bool:
    """Whether the client's own address is allowed. That of a proxy outside of TRUSTED_PROXIES is not."""
    is_forwarded = any(name in request.headers for name in FORWARDED)
    if is_forwarded and request.META.get("REMOTE_PORT") != FROM_HEADER:
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a Unix socket has none
        return False
    client = getattr(address, "ipv4_mapped", None) or address
    return any(client in ipaddress.ip_network(network) for network in settings.METRICS_ALLOWED_NETWORKS)


class ReadingsCollector:
    """All metrics, for the library's writer."""

    collect = staticmethod(read_all)


class MetricsView(StrictView):
    lenient_methods = SAFE_METHODS
    authentication_classes = (Challenge,)
    permission_classes = (MayScrape,)
    throttle_classes = ()  # refused requests are counted as all 401 are
    content_negotiation_class = OneForm

    @extend_schema(exclude=True)
    def get(self, _request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(ReadingsCollector()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
