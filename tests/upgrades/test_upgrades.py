"""A database of a released version, migrated, has the schema of a new database.

`python -m tests.upgrades.dump` writes the dumps of a release, once.
"""

import re
import sqlite3
from uuid import uuid4

import psycopg
import pytest

from testing import services
from testing.stacks import Stack
from tests.upgrades.dump import DUMPS


def of_version(kind):
    return sorted(DUMPS.glob(f"*.{kind}.sql"))


@pytest.fixture
def database():
    """Creates PostgreSQL databases; returns the environment for a new one and a connection to it."""
    made = []
    with psycopg.connect(**services.connection_parameters(), autocommit=True) as server:

        def make():
            made.append(f"objectvision_{uuid4().hex}")
            server.execute(f'CREATE DATABASE "{made[-1]}"')
            parameters = services.connection_parameters(made[-1])
            names = {"host": "DB_HOST", "port": "DB_PORT", "user": "DB_USER", "password": "DB_PASSWORD"}
            environment = {names[key]: str(parameters[key]) for key in names} | {"DB_NAME": made[-1]}
            return environment, psycopg.connect(**parameters, autocommit=True)

        yield make
        for name in made:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def schema(connection):
    """Columns, indexes and constraints, as sets: an upgrade may add columns in another order."""
    columns = """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'"""
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
    constraints = """SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace"""
    rows = [connection.execute(query).fetchall() for query in (columns, indexes, constraints)]
    return [{tuple(map(without_casts, row)) for row in found} for found in rows]


def without_casts(value):
    """PostgreSQL writes the casts of a condition in another way once the condition was dumped and read."""
    return re.sub(r"::(character varying|text)(\[\])?|[()]", "", str(value))


@pytest.mark.services
@pytest.mark.parametrize("dump", of_version("postgresql"), ids=lambda dump: dump.name)
def test_an_upgraded_postgresql_database_has_the_schema_of_a_new_one(dump, database, tmp_path):
    schemas = []
    for script in (dump.read_text(), ""):
        environment, connection = database()
        with connection:
            connection.execute(f"{script}; RESET ALL")
            Stack(tmp_path, environment).manage("migrate")
            schemas.append(schema(connection))
    assert [upgraded ^ new for upgraded, new in zip(*schemas, strict=True)] == [set(), set(), set()]
    assert len(schemas[1][0]) > 100


@pytest.mark.parametrize("dump", of_version("sqlite"), ids=lambda dump: dump.name)
def test_an_upgraded_sqlite_database_has_the_schema_of_a_new_one(dump, tmp_path):
    models = []
    for number, script in enumerate((dump.read_text(), "")):
        stack = Stack(tmp_path / str(number), {})
        file = tmp_path / str(number) / "data" / "objectvision.sqlite3"
        file.parent.mkdir(parents=True)
        with sqlite3.connect(file) as connection:
            connection.executescript(script)
        stack.manage("migrate")
        models.append(stack.manage("inspectdb"))
    assert models[0] == models[1]
    assert "class DetectionsDetectionimage" in models[1]
