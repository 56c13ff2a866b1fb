"""Writes the schemas of this version beside its applied migrations, for the upgrade tests of later versions.

Run once a release, with PostgreSQL on localhost and its pg_dump: `python -m tests.upgrades.dump`.
"""

import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg

from objectvision import __version__
from testing import services
from testing.stacks import Stack

DUMPS = Path(__file__).parent / "dumps"


def postgresql(folder):
    name = f"objectvision_{uuid4().hex}"
    parameters = services.connection_parameters(name)
    environment = {
        "DB_HOST": parameters["host"],
        "DB_PORT": parameters["port"],
        "DB_USER": parameters["user"],
        "DB_PASSWORD": parameters["password"],
        "DB_NAME": name,
    }
    dump = [
        "pg_dump",
        "-h",
        parameters["host"],
        "-p",
        parameters["port"],
        "-U",
        parameters["user"],
        "--no-owner",
    ]
    secret = {**os.environ, "PGPASSWORD": parameters["password"]}
    with psycopg.connect(**services.connection_parameters(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            Stack(folder, environment).manage("migrate")
            parts = (["--schema-only"], ["--data-only", "--inserts", "--table=django_migrations"])
            dumps = [subprocess.check_output([*dump, *part, name], env=secret, text=True) for part in parts]
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    kept = [line for line in "".join(dumps).splitlines() if line and not line.startswith(("--", "\\"))]
    return "\n".join(kept) + "\n"


def sqlite(folder):
    Stack(folder, {}).manage("migrate")
    with sqlite3.connect(folder / "data" / "objectvision.sqlite3") as connection:
        lines = list(connection.iterdump())
    kept = [line for line in lines if "INSERT INTO" not in line or '"django_migrations"' in line]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    DUMPS.mkdir(exist_ok=True)
    for kind, write in {"postgresql": postgresql, "sqlite": sqlite}.items():
        with tempfile.TemporaryDirectory() as folder:
            (DUMPS / f"{__version__}.{kind}.sql").write_text(write(Path(folder)))
