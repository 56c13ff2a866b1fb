"""What a benchmark adds to the processes that it measures."""

import os
import subprocess
import sys

from benchmarks import statements
from testing.files.pictures import photo
from testing.stacks import ROOT

STATEMENTS = """
import django
django.setup()
from django.db import connection, transaction
with transaction.atomic(), connection.cursor() as cursor:
    cursor.execute("SELECT 1")
    cursor.execute("SELECT 2")
connection.close()
with connection.cursor() as cursor:
    cursor.execute("SELECT 3")
"""


def test_processes_note_each_statement_once_but_no_begin_or_commit(tmp_path):
    log = tmp_path / "statements"
    environment = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "STATEMENTS_LOG": str(log), "DB_HOST": ""}
    paths = {"DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen(
        [sys.executable, "-c", STATEMENTS], cwd=ROOT, env={**os.environ, **environment, **paths}
    ) as process:
        assert process.wait() == 0
    assert statements.counted(log) == statements.counted(log, process.pid) == 3
    assert statements.counted(log, 1) == 0


def test_the_bare_view_answers_with_the_same_json_as_the_api(api, user, submit, settings):
    settings.ROOT_URLCONF = "benchmarks.urls"
    detection = submit(user, photo())
    bare = api(user).get(f"/bare/jobs/{detection.pk}")
    assert bare.status_code == 200
    assert bare.json() == api(user).get(f"/api/v1/detect/jobs/{detection.pk}").json()
    assert api().get(f"/bare/jobs/{detection.pk}").status_code == 401
