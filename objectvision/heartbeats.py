"""Workers say that they are alive; the health page reads it. Kept in the cache, which all processes share."""

import time
from typing import Any

from celery import current_app
from celery.signals import heartbeat_sent
from django.core.cache import cache

KEY = "workers"
EVERY_SECONDS = 5
# Longer than the ten seconds that a one-threaded worker may be too busy to beat.
GONE_AFTER_SECONDS = 30

_last_said = 0.0


@heartbeat_sent.connect
def say_alive(sender: Any, **_: Any) -> None:
    global _last_said  # noqa: PLW0603  # one worker a process
    if time.monotonic() - _last_said < EVERY_SECONDS:
        return
    _last_said = time.monotonic()
    queues = sorted(current_app.amqp.queues.consume_from)
    # Two workers that write at once lose one entry until its next beat, long before it counts as gone.
    cache.set(KEY, {**alive(), sender.eventer.hostname: [time.time(), queues]}, GONE_AFTER_SECONDS)


def alive() -> dict[str, Any]:
    """The workers that beat lately: `[time, queues]` by host name."""
    oldest = time.time() - GONE_AFTER_SECONDS
    return {name: beat for name, beat in (cache.get(KEY) or {}).items() if beat[0] > oldest}
