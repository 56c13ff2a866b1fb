"""Secrets that have to be read again, encrypted at rest under keys derived from SECRET_KEY."""

from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnreadableSecretError(Exception):
    """Neither SECRET_KEY nor SECRET_KEY_FALLBACKS is the key that sealed it."""


def seal(secret: str) -> str:
    return ciphers(settings.SECRET_KEY).encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises UnreadableSecretError."""
    try:
        return ciphers(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).decrypt(sealed).decode()
    except InvalidToken:
        raise UnreadableSecretError from None


def is_current(sealed: str) -> bool:
    """Whether SECRET_KEY sealed it, and no earlier key."""
    try:
        ciphers(settings.SECRET_KEY).decrypt(sealed)
    except InvalidToken:
        return False
    return True


@cache
def ciphers(*keys: str) -> MultiFernet:
    """The first key seals, and all of them unseal."""
    return MultiFernet(
        [Fernet(urlsafe_b64encode(sha256(f"sealing:{key}".encode()).digest())) for key in keys]
    )
