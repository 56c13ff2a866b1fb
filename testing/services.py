"""Which PostgreSQL the tests run on: the one that the environment names or that answers on localhost,
else that of compose.yaml where there is a Docker engine, else none."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import psycopg

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"


def postgresql_answers() -> bool:
    try:
        psycopg.connect(**connection_parameters(), connect_timeout=3).close()
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
        str(COMPOSE),
        "up",
        "--detach",
        "--wait",
        "db",
    ]
    return subprocess.run(up, env={**os.environ, "DB_PASSWORD": "postgres"}).returncode == 0


def use_what_there_is() -> bool:
    """Point the settings at PostgreSQL, or at none. Whether there is one."""
    found = postgresql_answers() or (docker_starts_them() and postgresql_answers())
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
    """The program: tests empty, stop and restart only servers of their own."""
    return shutil.which("redis-server")


def chromium() -> str | None:
    """A browser that is installed: none is downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
