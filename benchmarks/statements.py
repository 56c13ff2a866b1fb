"""Counts the SQL statements of processes: each writes its id into a file, once a statement.

BEGIN and COMMIT are not counted.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.db.backends.base.base import BaseDatabaseWrapper


def write_to(log: str) -> None:
    """From now on this process and its children add a line for each statement."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(execute: Callable[..., Any], sql: str, *parameters: Any) -> Any:
        if not sql.startswith("BEGIN"):  # on SQLite alone they go through a cursor
            os.write(file, b"%d\n" % os.getpid())
        return execute(sql, *parameters)

    def listen(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if note not in connection.execute_wrappers:  # it connects again after a loss
            connection.execute_wrappers.append(note)

    connection_created.connect(listen, weak=False)


def counted(log: Path, pid: int | None = None) -> int:
    """Statements so far, of one process or of all."""
    lines = log.read_text(encoding="ascii").split()
    return len(lines) if pid is None else lines.count(str(pid))
