from django.db import connection


def give_back() -> None:
    """Let others have this thread's connection while it waits. Not inside a transaction, which would end."""
    if not connection.in_atomic_block:
        connection.close()


def drop_broken() -> None:
    """After one connection was found broken: test the pool's others, so that they go together."""
    pool = getattr(connection, "pool", None)
    if pool is not None:
        pool.check()
