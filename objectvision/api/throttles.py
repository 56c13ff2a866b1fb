"""How often one may come: guards of the door. What work waits is limited elsewhere, by images.

Requests are counted by fixed windows in the shared cache. While the cache is away everybody is let through,
and its own log says so.
"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

IPV6_NETWORK = 64  # what one subscriber has: a stranger could come from each of its addresses


def address(request: Request) -> str:
    """Where a request comes from. Whether `X-Forwarded-For` is believed the server has decided before
    (`TRUSTED_PROXIES`)."""
    raw: str = request.META.get("REMOTE_ADDR", "")
    try:
        ip = ipaddress.ip_address(raw)
    except ValueError:  # a Unix socket has none
        return raw
    if isinstance(ip, ipaddress.IPv6Address):
        # a socket of both kinds writes IPv4's in the form of IPv6, all of them in one network
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_NETWORK), strict=False))
    return str(ip)


class Throttle(BaseThrottle):
    """Base of those below. `scope` is the name of its rate in `settings.THROTTLES`."""

    scope: str

    def who(self, request: Request) -> str | None:
        """Who is counted; None if this request is none of this throttle's."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002  # DRF's signature
        return self.admits(request)

    def admits(self, request: Any) -> bool:
        """Counts this request. Whether it is within the rate; if not, `wait` says until when."""
        rate: tuple[int, int] | None = settings.THROTTLES[self.scope]
        who = self.who(request)
        if rate is None or who is None:
            return True
        most, seconds = rate
        window, passed = divmod(time.time(), seconds)
        self.remaining = seconds - passed
        return count(f"throttle:{self.scope}:{who}:{window:.0f}", seconds) <= most

    def wait(self) -> float:
        return self.remaining


def count(key: str, seconds: int) -> int:
    """One more; how many there are now. 0 where the cache is away."""
    try:
        return cache.incr(key) or 0
    except ValueError:  # the first one
        cache.add(key, 0, seconds)
        return cache.incr(key) or 0


class AddressThrottle(Throttle):
    """Counts whoever comes from the same place together."""

    def who(self, request: Request) -> str:
        return address(request)


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

    def who(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else address(request)


class ReadThrottle(Throttle):
    """Counts a user's sessions together, and each of their API keys for itself."""

    scope = "read"

    def who(self, request: Request) -> str | None:
        if not request.user.is_authenticated:
            return None
        return getattr(request.auth, "prefix", None) or str(request.user.pk)


class UploadThrottle(ReadThrottle):
    scope = "upload"


class TakeoutThrottle(ReadThrottle):
    """Counts a user's sessions and keys together: another key is one request away."""

    scope = "takeout"

    def who(self, request: Request) -> str | None:
        return str(request.user.pk) if request.user.is_authenticated else None
