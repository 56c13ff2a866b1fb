"""The PostgreSQL of the tests: from the environment, on localhost, or started from compose.yaml.

Without any of these, tests run on SQLite.
"""

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import psycopg

# Below 32768, where Linux begins with the ports of outgoing connections.
FIRST_PORT, PORTS, PORT_RANGES = 20_000, 1_000, 12
ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = (ROOT / ".env.example").read_text().splitlines()
# The environment's names that .env.example documents.
DOCUMENTED = [line.partition("=")[0] for line in EXAMPLE if line and not line.startswith("#")]


def postgresql_answers(**server) -> bool:
    try:
        psycopg.connect(**connection_parameters() | server, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def connection_parameters(dbname: str = "postgres") -> dict:
    return {
        "host": os.environ.get("DB_HOST") or "localhost",
        "port": os.environ.get("DB_PORT") or "5432",
        "user": os.environ.get("DB_USER") or "postgres",
        "password": os.environ.get("DB_PASSWORD") or "postgres",
        "dbname": dbname,
    }


def docker_starts_them() -> bool:
    engine = (
        shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    )
    if not engine:
        return False
    up = [
        "docker",
        "compose",
        "-p",
        "objectvision-tests",
        "-f",
        str(ROOT / "compose.yaml"),
        "up",
        "--detach",
        "--wait",
        "db",
    ]
    return subprocess.run(up, env={**os.environ, "DB_PASSWORD": "postgres"}).returncode == 0


def sqlite_is_chosen() -> bool:
    """Whether the tests run on SQLite where there is a PostgreSQL."""
    return os.environ.get("DATABASE") == "sqlite"


def use_postgresql_if_found() -> bool:
    """Point the settings at PostgreSQL if there is one. Returns whether there is."""
    found = not sqlite_is_chosen() and (
        postgresql_answers() or (docker_starts_them() and postgresql_answers())
    )
    names = {
        "host": "DB_HOST",
        "port": "DB_PORT",
        "user": "DB_USER",
        "password": "DB_PASSWORD",
        "dbname": "DB_NAME",
    }
    for parameter, value in connection_parameters().items():
        os.environ[names[parameter]] = value if found else ""
    return found


def redis_server() -> str | None:
    """The path of the program: tests empty, stop and restart only their own servers."""
    return shutil.which("redis-server")


def chromium() -> str | None:
    """A browser that is installed: none is downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def node() -> str | None:
    return shutil.which("node")


def prometheus() -> str | None:
    """The path of the server, if its tool is installed too."""
    return shutil.which("promtool") and shutil.which("prometheus")


@cache
def ports() -> Iterator[int]:
    """All ports of this process, in an order of its own, again and again.

    Workers of a parallel run draw from separate ranges, since a server starts there only later. The order
    does not follow `random.seed`, which pytest-randomly repeats for each test.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    first = FIRST_PORT + worker % PORT_RANGES * PORTS
    return cycle(random.SystemRandom().sample(range(first, first + PORTS), PORTS))


def free_port() -> int:
    """A port that nothing listens on, outside of the range of outgoing connections.

    Two draws give two ports, though no server is there yet.
    """
    for port in islice(ports(), PORTS):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("All ports of this process are in use.")
