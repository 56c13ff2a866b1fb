import select
from typing import Any

from django.db import connection

from objectvision.lib import metrics


def give_back() -> None:
    """Let others have this thread's connection while it waits. Not inside a transaction, which would end."""
    if connection.in_atomic_block:
        return
    connection.close()
    pool = getattr(connection, "pool", None)
    if pool is not None:
        metrics.record_pool(pool.get_stats())


def drop_broken() -> None:
    """After one connection was found broken: test the pool's others, so that they go together."""
    pool = getattr(connection, "pool", None)
    if pool is not None:
        pool.check()


def has_ended(idle: Any) -> bool:
    """Whether the server has closed this connection of Django's: only then can it be read while it is idle.

    Costs no statement. A server that only vanished is found by the connection's own time-outs.
    """
    if idle.connection is None or idle.vendor != "postgresql":
        return False
    waiting = select.poll()
    waiting.register(idle.connection, select.POLLIN)
    return bool(waiting.poll(0))
