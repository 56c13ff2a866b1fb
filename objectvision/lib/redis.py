from functools import cache

import redis
from django.conf import settings


@cache
def client(url: str) -> redis.Redis:
    """One a process and address, safe between threads. It gives up after a second: Redis may be away."""
    return redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)


def shared() -> redis.Redis | None:
    """What all processes share; None where there is one process and no Redis."""
    return client(settings.REDIS_URL) if settings.REDIS_URL else None
