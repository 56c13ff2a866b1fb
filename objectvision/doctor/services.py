"""PostgreSQL and Redis: whether they answer, what they are, and what time they have."""

import re
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from objectvision.celery import app
from objectvision.doctor.findings import NOT_USED, Finding, error, first_line, ok, warning
from objectvision.health import QUEUES
from objectvision.lib.migrations import known_migrations, unapplied_migrations
from objectvision.lib.redis import shared_client

CONNECT_SECONDS = 3
OLDEST_REDIS = 6
SKEW_WARNING, SKEW_ERROR = 2, 5  # seconds
SHOWN = 5

DATABASE_HINT = (
    "Start PostgreSQL, or set DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME, or DATABASE_URL."
)
# By what PostgreSQL, or Django, says.
DATABASE_HINTS = {
    "password (authentication failed|supplied)": "Set DB_PASSWORD, or the password in DATABASE_URL.",
    'database ".*" does not exist': "Create it (createdb), or set DB_NAME, or the name in DATABASE_URL.",
    'role ".*" does not exist': "Create it (createuser), or set DB_USER, or the user in DATABASE_URL.",
    "pg_hba.conf": "Let PostgreSQL's pg_hba.conf admit this machine and user.",
    "too many|connection slots": "Raise PostgreSQL's max_connections, or set DB_POOL_SIZE lower.",
    "or later is required": "Upgrade PostgreSQL to version 14 or newer.",
}
REDIS_HINT = "Start Redis, or set REDIS_URL, or REDIS_HOST and REDIS_PORT."
CLOCK_HINT = "Synchronise the clocks of both machines, by chrony or systemd-timesyncd."


def connect_directly() -> None:
    """Do without the pool, which would hide why the database refuses a connection."""
    options = settings.DATABASES["default"].get("OPTIONS", {})
    options.pop("pool", None)
    if connection.vendor == "postgresql":
        options["connect_timeout"] = CONNECT_SECONDS


def check_database() -> Finding:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as reason:
        return error(first_line(reason), database_hint(str(reason)))
    if connection.vendor == "sqlite":
        return ok(f"SQLite, {settings.DATABASES['default']['NAME']}")
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    return ok(f"PostgreSQL {version}")


def database_hint(reason: str) -> str:
    said = reason.partition("FATAL:")[2] or reason
    return next((hint for text, hint in DATABASE_HINTS.items() if re.search(text, said)), DATABASE_HINT)


def check_migrations() -> Finding:
    missing = unapplied_migrations()
    if not missing:
        return ok(f"all {len(known_migrations())} are applied")
    shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
    return error(f"{len(missing)} of {len(known_migrations())} are not applied: {shown}")


def check_redis() -> Finding:
    client = shared_client()
    if client is None:
        return ok(NOT_USED)
    try:
        version = str(client.info("server")["redis_version"])
        client.set("objectvision:doctor", 1, ex=10)
    except redis.RedisError as reason:
        return error(f"{settings.REDIS_URL}: {first_line(reason)}", redis_hint(reason))
    if int(version.partition(".")[0]) < OLDEST_REDIS:
        return warning(f"Redis {version}", f"Upgrade Redis to version {OLDEST_REDIS} or newer.")
    return ok(f"Redis {version}, {settings.REDIS_URL}")


def redis_hint(reason: redis.RedisError) -> str:
    match reason:
        case redis.AuthenticationError():
            return "Set the user and password in REDIS_URL."
        case redis.OutOfMemoryError() | redis.ReadOnlyError() | redis.ResponseError():
            return "Redis refuses to write: see its log, its disk, maxmemory, and that it is no replica."
    return REDIS_HINT


def check_broker() -> Finding:
    client = shared_client()
    if client is None:
        return ok(NOT_USED)
    with app.connection_for_write() as broker:
        broker.connect()
    waiting = {queue: client.llen(queue) for queue in sorted(QUEUES)}
    counts = ", ".join(f"{queue} {count}" for queue, count in waiting.items())
    return ok(f"connected; messages: {counts}")


def check_clock_of_database() -> Finding:
    if connection.vendor != "postgresql":
        return ok("not used: SQLite has none of its own")
    connection.ensure_connection()  # opening it is no part of the time between
    return compare_clock(database_time)


def database_time() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])


def check_clock_of_redis() -> Finding:
    client = shared_client()
    if client is None:
        return ok(NOT_USED)

    def redis_time() -> float:
        seconds, microseconds = client.time()
        return seconds + microseconds / 1_000_000

    return compare_clock(redis_time)


def compare_clock(their_time: Callable[[], float]) -> Finding:
    before = time.time()
    theirs = their_time()
    skew = theirs - (before + time.time()) / 2
    if abs(skew) < SKEW_WARNING:
        return ok(f"within {SKEW_WARNING} s of this machine's")
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    return warning(found) if abs(skew) < SKEW_ERROR else error(found)
