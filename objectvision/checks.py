from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

THIS_MACHINE = [ip_address("127.0.0.1"), ip_address("::1")]


@register(Tags.security)
def secrets_differ(**_: Any) -> list[CheckMessage]:
    if settings.SECRET_KEY != settings.JWT_SECRET_KEY:
        return []
    return [
        Error(
            "SECRET_KEY and JWT_SECRET_KEY are the same.",
            hint="Give each its own, so that rotating one leaves the other.",
            id="objectvision.E001",
        )
    ]


@register(Tags.files)
def request_holds_an_image(**_: Any) -> list[CheckMessage]:
    if settings.MAX_UPLOAD_MB < settings.MAX_REQUEST_MB:
        return []
    return [
        Error(
            "MAX_REQUEST_MB leaves no room for an image of MAX_UPLOAD_MB.",
            hint="Set MAX_REQUEST_MB above MAX_UPLOAD_MB.",
            id="objectvision.E002",
        )
    ]


@register(Tags.urls)
def public_address_is_set(**_: Any) -> list[CheckMessage]:
    if not settings.DEPLOYED or settings.API_BASE_URL:
        return []
    return [
        checks.Warning(
            "API_BASE_URL is not set: links in answers go by the Host header, those in mails to "
            f"{settings.PUBLIC_URL}.",
            hint="Set it to the address that clients use.",
            id="objectvision.W001",
        )
    ]


@register(Tags.security)
def https_is_enforced(**_: Any) -> list[CheckMessage]:
    if not settings.DEPLOYED or settings.SECURE_SSL_REDIRECT:
        return []
    return [
        checks.Warning(
            "SECURE_SSL_REDIRECT is off: tokens may travel in the clear.",
            hint="Set SECURE_SSL_REDIRECT=true, or see that the proxy in front redirects to HTTPS.",
            id="objectvision.W002",
        )
    ]


@register(Tags.security)
def mails_are_sent(**_: Any) -> list[CheckMessage]:
    if not settings.DEPLOYED or settings.BREVO_API_KEY:
        return []
    return [
        checks.Warning(
            "BREVO_API_KEY is not set: mails, and the secret links in them, are printed by the worker.",
            hint="Set BREVO_API_KEY and EMAIL_SENDER.",
            id="objectvision.W003",
        )
    ]


@register(Tags.security)
def metrics_token_is_long(**_: Any) -> list[CheckMessage]:
    if not settings.METRICS_TOKEN or len(settings.METRICS_TOKEN) >= settings.SECRET_LENGTH:
        return []
    return [
        checks.Warning(
            f"METRICS_TOKEN has fewer than {settings.SECRET_LENGTH} characters: it may be guessed.",
            hint="Set a longer one, or METRICS_ALLOWED_NETWORKS instead.",
            id="objectvision.W004",
        )
    ]


@register(Tags.security)
def metrics_are_not_open_to_a_proxy(**_: Any) -> list[CheckMessage]:
    networks = [ip_network(each) for each in settings.METRICS_ALLOWED_NETWORKS]
    is_open = any(machine in network for machine in THIS_MACHINE for network in networks)
    if not settings.DEPLOYED or settings.TRUSTED_PROXIES or not is_open:
        return []
    return [
        checks.Warning(
            "METRICS_ALLOWED_NETWORKS allows this machine: through a proxy on it, /metrics is open to all "
            "clients.",
            hint="Set TRUSTED_PROXIES to the proxy's address, or METRICS_TOKEN instead.",
            id="objectvision.W005",
        )
    ]
