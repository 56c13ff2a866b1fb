"""Imports the runtimes with telemetry, downloads and automatic installation switched off."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

from django.conf import settings
from PIL import Image


def import_openvino() -> Any:
    # Importing it reports to an analytics service; without this package it uses its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


# One for the life of the process. A core sets its thread's stack for signal handlers and restores the former
# one at its end, so that of two overlapping cores the last one restores a stack that was freed.
@cache
def shared_core() -> Any:
    return import_openvino().Core()


def import_ultralytics(*, offline: bool = True) -> Any:
    """Import ultralytics, with its settings file in DATA_DIR unless YOLO_CONFIG_DIR is set."""
    os.environ.update(YOLO_OFFLINE=str(offline), YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"  # pickles may hold layers alone; no eval() builds models
    if "YOLO_CONFIG_DIR" not in os.environ:
        os.environ["YOLO_CONFIG_DIR"] = str(settings.DATA_DIR)
    import_openvino()
    opened = Image.open
    import ultralytics

    Image.open = opened  # ultralytics replaces it with a function that installs packages
    if not ultralytics.utils.SAFE_LOAD:
        raise ImportError("ultralytics was imported before it could be told to load weights safely")
    if ultralytics.settings["sync"]:  # writes the settings file, so only if needed
        ultralytics.settings.update({"sync": False})
    return ultralytics
