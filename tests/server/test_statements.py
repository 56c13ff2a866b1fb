"""PostgreSQL cancels statements of web processes that take too long."""

import os
import subprocess
import sys

import pytest

from testing.stacks import ROOT

SLEEP = """
import objectvision.asgi
from django.db import OperationalError, connection
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(cursor.fetchone()[0])
    cursor.execute("SET statement_timeout = 100")
    try:
        cursor.execute("SELECT pg_sleep(10)")
    except OperationalError as error:
        print(type(error.__cause__).__name__)
"""


@pytest.mark.postgresql
def test_statements_of_a_web_process_time_out_after_15_seconds(tmp_path):
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "DB_NAME": "postgres"}
    done = subprocess.run(
        [sys.executable, "-c", SLEEP], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["15s", "QueryCanceled"], done.stderr
