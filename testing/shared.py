"""What the processes of a parallel run build once and share."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

IS_OWNER = "TESTS_FOLDER" not in os.environ
if IS_OWNER:  # the processes that it starts inherit the name
    os.environ["TESTS_FOLDER"] = tempfile.mkdtemp(prefix="objectvision-tests-")
FOLDER = Path(os.environ["TESTS_FOLDER"])


def built_once(name: str, build: Callable[[Path], object]) -> Path:
    """The folder of this name, filled by `build` in the process that asks first.

    A build that raises is tried again by the next.
    """
    folder = FOLDER / name
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=FOLDER))
            build(unfinished)
            unfinished.rename(folder)
    return folder


def remove() -> None:
    """At the end, by the process that began it."""
    if IS_OWNER:
        shutil.rmtree(FOLDER)
