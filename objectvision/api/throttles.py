"""How many requests a client may send. The backlog of images has limits of its own.

Requests are counted in fixed windows in the shared cache. Without the cache no request is refused; the
cache's own log reports that.
"""

from __future__ import annotations

import ipaddress
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import settings
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS
from rest_framework.throttling import BaseThrottle

from objectvision.lib.redis import shared_cache

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request
    from rest_framework.views import APIView

IPV6_NETWORK = 64  # one subscriber owns such a network and may use each of its addresses


def address(request: HttpRequest | Request) -> str:
    """The sender's address. The server has applied `X-Forwarded-For` already (`TRUSTED_PROXIES`)."""
    return subscriber(request.META.get("REMOTE_ADDR", ""))


def subscriber(raw: str) -> str:
    """The IPv4 address or the IPv6 network of one subscriber."""
    try:
        ip = ipaddress.ip_address(raw)
    except ValueError:  # a Unix socket has none
        return raw
    if isinstance(ip, ipaddress.IPv6Address):
        # a dual-stack socket maps all IPv4 addresses into one IPv6 network
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_NETWORK), strict=False))
    return str(ip)


class Throttle(BaseThrottle):
    """Counts requests by client. `scope` names the rate in `settings.THROTTLES`."""

    scope: str

    def client(self, request: Request) -> str | None:
        """The client that this request counts for; None if this throttle does not count it."""
        raise NotImplementedError

    def allow_request(self, request: Request, _view: APIView) -> bool:
        return self.admits(request)

    def admits(self, request: Any) -> bool:
        """Counts this request. Whether it is within the rate; if not, `wait` has the seconds to wait."""
        rate: tuple[int, int] | None = settings.THROTTLES[self.scope]
        client = self.client(request)
        if rate is None or client is None:
            return True
        most, seconds = rate
        window, passed = divmod(time.time(), seconds)
        self.remaining = seconds - passed
        return increment(f"throttle:{self.scope}:{client}:{window:.0f}", seconds) <= most

    def wait(self) -> float:
        return self.remaining


def increment(key: str, seconds: int) -> int:
    """The new count, 1 for a new key; 0 without the cache."""
    cache = shared_cache("default")
    with suppress(ValueError):  # the key is new
        return cache.incr(key) or 0
    if cache.add(key, 1, seconds):
        return 1
    with suppress(ValueError):  # a Redis that refuses writes has no key still
        return cache.incr(key) or 0
    return 0


class AddressThrottle(Throttle):
    """Counts all requests from one address together."""

    def client(self, request: Request) -> str:
        return address(request)


class StaticThrottle(AddressThrottle):
    """For files that are the same for all users, at the rate of a user's reads."""

    scope = "read"


class LoginThrottle(AddressThrottle):
    scope = "login"


class SignupThrottle(AddressThrottle):
    scope = "signup"


class ResetThrottle(AddressThrottle):
    scope = "reset"


class VerifyThrottle(AddressThrottle):
    scope = "verify"


class RefreshThrottle(AddressThrottle):
    scope = "refresh"


class AnonThrottle(Throttle):
    scope = "anon"

    def client(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else address(request)


class CountedFailure(AuthenticationFailed):
    """A refused credential that CredentialThrottle has counted already."""


class CredentialThrottle(AddressThrottle):
    """Counts unknown credentials with the anonymous requests, before they are looked up."""

    scope = "anon"


class ReadThrottle(Throttle):
    """Counts all sessions of a user together, and all API keys: a new key takes one request.

    A flood by a stolen key leaves its owner the account page, where the key is revoked.
    """

    scope = "read"

    def client(self, request: Request) -> str | None:
        if not request.user.is_authenticated:
            return None
        is_key = hasattr(getattr(request, "auth", None), "scopes")  # `accounts` imports this module
        return f"{request.user.pk}:keys" if is_key else str(request.user.pk)


class UploadThrottle(ReadThrottle):
    scope = "upload"


class TakeoutThrottle(ReadThrottle):
    scope = "takeout"


class WebhookThrottle(ReadThrottle):
    """Counts what may look up names, or send requests to others."""

    scope = "webhook"

    def client(self, request: Request) -> str | None:
        return None if request.method in SAFE_METHODS else super().client(request)
