"""Which migrations the database lacks: one query, since probes ask every second."""

from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

Names = frozenset[tuple[str, str]]


@cache
def known_migrations() -> Names:
    """App and name of each migration of this code. Loads their modules, once a process."""
    return frozenset(MigrationLoader(None).graph.nodes)


def unapplied_migrations() -> list[str]:
    """Such as `accounts.0002_ticket`, in order. Raises DatabaseError."""
    return [f"{app}.{name}" for app, name in sorted(known_migrations() - applied_migrations())]


def applied_migrations() -> Names:
    recorder = MigrationRecorder(connection)
    try:
        return frozenset(recorder.migration_qs.values_list("app", "name"))
    except DatabaseError:
        if recorder.has_table():
            raise
        return frozenset()
