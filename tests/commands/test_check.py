"""`check` as a process: what an operator sees of wrong settings."""

import subprocess
import sys

from testing.services import DOCUMENTED
from testing.stacks import ROOT


def test_check_ends_with_the_refused_setting_as_its_last_line(tmp_path):
    environment = {**dict.fromkeys(DOCUMENTED, ""), "DATA_DIR": str(tmp_path), "ENVIRONMENT": "production"}
    command = [sys.executable, ROOT / "manage.py", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "django.core.exceptions.ImproperlyConfigured: production does not start without SECRET_KEY"
    )
