"""Where a webhook may go: which URLs are accepted, and which addresses are connected to."""

import ipaddress
import re
import socket
import threading
import time
import unicodedata
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import quote

import idna
from django.conf import settings

from objectvision.lib import connections
from objectvision.lib.threads import run_in_thread

LONGEST_URL = 2000
LONGEST_HOST = 253
HIGHEST_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}
# ASCII: else the long s would be an s.
URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE | re.ASCII)
AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
NAME = re.compile(rf"{LABEL}(\.{LABEL})*")
# Control and format characters, lone surrogates, spaces: what a person does not see.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
# What a URL's path and query keep as it is; everything else is percent-encoded.
KEPT = "!$%&'()*+,/:;=?@[]~"

# Written down, because `is_global` differs between Python's versions.
REFUSED_IPV4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, the unspecified address
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's metadata, a public address
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
# Global unicast. Outside of it lie loopback, private, link-local, site-local, multicast, IPv4-mapped,
# IPv4-compatible and NAT64 addresses, and segment routing.
ALLOWED_IPV6 = ipaddress.IPv6Network("2000::/3")
REFUSED_IPV6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, AMT, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in it
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
]

NOT_ALLOWED = "This address is not allowed: webhooks go to public addresses only."
# Lookups for checks at a time in one process. One that hangs keeps its thread until the resolver gives up,
# long after its request. Deliveries take no slot: their senders are bounded.
check_slots = threading.BoundedSemaphore(64)


class UrlError(ValueError):
    """The URL is refused. The message is for the user."""

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True)
class Destination:
    """The parts of a URL as they are sent: ASCII, the host in lower case, without brackets."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, percent-encoded."""

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Destination:
    """The parts of a webhook's URL. Raises UrlError."""
    check_characters(text)
    if (match := URL.fullmatch(text)) is None:
        raise UrlError(wrong_shape(text))
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    host, port = split_authority(authority)
    target = quote(path or "/", safe=KEPT) + quote(query, safe=KEPT)
    return Destination(scheme, ascii_host(host), port or DEFAULT_PORTS[scheme], target)


def check_characters(text: str) -> None:
    if len(text) > LONGEST_URL:
        raise UrlError(f"The URL of a webhook has at most {LONGEST_URL:,} characters.", "max_length")
    if "\\" in text or any(unicodedata.category(letter) in INVISIBLE for letter in text):
        raise UrlError("The URL of a webhook has no spaces, invisible characters or backslashes.")


def wrong_shape(text: str) -> str:
    if "#" in text:
        return "The URL of a webhook has no fragment: the # and what follows it would not be sent."
    return "The URL of a webhook begins with https:// or http://."


def split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise UrlError("The URL of a webhook has no user name or password.")
    if not authority:
        raise UrlError("The URL of a webhook has a host, such as https://hooks.example.com/.")
    match = AUTHORITY.fullmatch(authority)
    port = int(match[2]) if match and match[2] else None
    if match is None or (port is not None and not 1 <= port <= HIGHEST_PORT):
        raise UrlError(f"The URL's host or port is not valid: ports are from 1 to {HIGHEST_PORT}.")
    return match[1], port


def ascii_host(host: str) -> str:
    """As it is looked up and sent: names in ASCII (IDNA 2008 after UTS 46), without a last dot."""
    if host.startswith("["):
        return ipv6_address(host[1:-1])
    if len(host) <= LONGEST_HOST + 1:  # before IDNA, whose time grows with the square of the length
        name = ascii_name(host).removesuffix(".")
        if len(name) <= LONGEST_HOST and NAME.fullmatch(name):
            return name
    raise UrlError("The URL's host is not a valid name or address.")


def ascii_name(host: str) -> str:
    plain = host.lower()
    if plain.isascii() and "xn--" not in plain:
        return plain
    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError:  # the base of idna's errors
        return ""


def ipv6_address(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise UrlError("The URL's host is not a valid IPv6 address.") from None


def is_allowed(address: str) -> bool:
    """Whether the address is a public one. The same answer in all versions of Python."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not any(parsed in network for network in REFUSED_IPV4)
    if parsed.scope_id is not None or parsed not in ALLOWED_IPV6:
        return False
    return parsed.is_global and not any(parsed in network for network in REFUSED_IPV6)


def all_allowed(addresses: list[str]) -> bool:
    return settings.WEBHOOK_ALLOW_PRIVATE or all(map(is_allowed, addresses))


def look_up(host: str, port: int) -> Future[list[str]]:
    """In a thread: the system's resolver has no time-out of ours."""

    def addresses() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(place[0]) for *_, place in found))

    return run_in_thread(addresses, "webhook lookup")


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """All addresses of the host, each once.

    Raises socket.gaierror if there is none, and TimeoutError if the answer takes longer.
    """
    return look_up(host, port).result(seconds)


def resolve_in_turn(host: str, port: int, seconds: float) -> list[str]:
    """The same for a check. TimeoutError also if too many others hang."""
    end = time.monotonic() + seconds
    if not check_slots.acquire(timeout=seconds):
        raise TimeoutError
    lookup = look_up(host, port)
    lookup.add_done_callback(lambda _: check_slots.release())
    return lookup.result(max(0.0, end - time.monotonic()))


def check_destination(url: str, seconds: float = 3) -> None:
    """Refuse a URL that webhooks do not go to. Raises UrlError.

    A name that does not resolve within so many seconds is accepted: every delivery checks again.
    """
    destination = parse_url(url)
    connections.give_back()
    try:
        addresses = resolve_in_turn(destination.host, destination.port, seconds)
    except OSError:
        return
    if not all_allowed(addresses):
        raise UrlError(NOT_ALLOWED, "address_not_allowed")
