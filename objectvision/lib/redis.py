from functools import cache

import redis
from django.conf import settings
from django.core.cache import BaseCache, caches


@cache
def client(url: str) -> redis.Redis:
    """The process's thread-safe client of this address. Its time-outs are short, since Redis may be away."""
    return redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)


def shared_client() -> redis.Redis | None:
    """The client of `REDIS_URL`; None where that is not set."""
    return client(settings.REDIS_URL) if settings.REDIS_URL else None


def shared_cache(name: str) -> BaseCache:
    """The process's thread-safe cache: Django makes one a thread, which is one a request."""
    return made_cache(name, repr(settings.CACHES[name]))


@cache
def made_cache(name: str, _settings: str) -> BaseCache:
    return caches.create_connection(name)
