"""A database with a user of many rows and one of few, among those of other users."""

from __future__ import annotations

from typing import Any, NamedTuple

FEW = 100
"""Detections of the user with few rows; each has ten results."""

# Run inside the system, whose settings name the database.
FILL = """
from accounts.models import User
from testing import scale
scale.fill(User.objects.get(pk="{owner}"), {detections})
"""
# The few are taken from the other users, whom `scale` gives as many rows together as the one of many.
GIVE_DETECTIONS = """
UPDATE detections_detection SET user_id = %(few)s WHERE id IN (
    SELECT id FROM detections_detection WHERE user_id <> %(many)s ORDER BY id LIMIT %(count)s
)
"""
GIVE_ROWS = """
UPDATE {table} SET user_id = %(few)s
WHERE detection_id IN (SELECT id FROM detections_detection WHERE user_id = %(few)s)
"""
TABLES = ("detections_detectionimage", "detections_detectionresult")


class Large(NamedTuple):
    """A system, and the clients of its users with many and with few rows."""

    stack: Any
    many: Any
    few: Any


def filled(stack: Any, detections: int) -> Large:
    """The system with two new users: of `detections` detections of ten results each, and of `FEW`."""
    system = Large(stack, stack.client().sign_up(), stack.client().sign_up())
    values = {"many": user_id(system.many), "few": user_id(system.few), "count": min(FEW, detections // 4)}
    stack.manage("shell", "-c", FILL.format(owner=values["many"], detections=detections))
    stack.connection.execute(GIVE_DETECTIONS, values)
    for table in TABLES:
        stack.connection.execute(GIVE_ROWS.format(table=table), values)
    stack.connection.execute("VACUUM ANALYZE")
    return system


def user_id(client: Any) -> str:
    return str(client.get("users/get-profile").json()["id"])
