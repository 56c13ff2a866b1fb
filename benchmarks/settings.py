"""The project's settings, for what a benchmark adds: a bare view, the original's task, counted statements.

The processes of a stack read them through DJANGO_SETTINGS_MODULE.
"""

import os

from objectvision.settings import *  # noqa: F403  # all of them

ROOT_URLCONF = "benchmarks.urls"
CELERY_IMPORTS = ["benchmarks.original"]

if os.environ.get("STATEMENTS_LOG"):
    from benchmarks import statements

    statements.write_to(os.environ["STATEMENTS_LOG"])
