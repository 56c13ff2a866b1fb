import psycopg
import pytest
from django.db import connection, connections

from objectvision.lib.connections import has_ended
from testing.services import connection_parameters
from testing.waiting import until


@pytest.fixture
def own(transactional_db):
    """A connection of the test alone, in use."""
    own = connections.create_connection("default")
    own.settings_dict = {**own.settings_dict, "OPTIONS": {}}  # without the pool
    with own.cursor() as cursor:
        cursor.execute("SELECT 1")
    yield own
    own.close()


@pytest.mark.postgresql
def test_an_idle_connection_has_ended_once_the_server_has_closed_it(own):
    assert not has_ended(own)
    backend = own.connection.info.backend_pid
    with psycopg.connect(**connection_parameters()) as server:
        server.execute("SELECT pg_terminate_backend(%s)", [backend])
    until(lambda: has_ended(own), 10)


def test_a_connection_that_is_not_open_has_not_ended(transactional_db):
    connection.close()
    assert not has_ended(connection)
