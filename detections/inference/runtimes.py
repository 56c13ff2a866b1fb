"""Imports the runtimes with everything off that would reach out of this machine."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from PIL import Image


def import_openvino() -> Any:
    # Its import alone reports to an analytics service. Without the package it takes the stub it brings.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def import_ultralytics(*, offline: bool = True) -> Any:
    """Its settings file lies in DATA_DIR, unless YOLO_CONFIG_DIR says where."""
    os.environ.update(YOLO_OFFLINE=str(offline), YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ["ULTRALYTICS_SAFE_LOAD"] = (
        "true"  # a pickle may hold layers alone, and no model is built by eval()
    )
    if "YOLO_CONFIG_DIR" not in os.environ:
        os.environ["YOLO_CONFIG_DIR"] = str(settings.DATA_DIR)
    import_openvino()
    opened = Image.open
    import ultralytics

    Image.open = opened  # it replaces this with one that installs packages when it meets no image
    if not ultralytics.utils.SAFE_LOAD:
        raise ImportError("ultralytics was imported before it could be told to load weights safely")
    if ultralytics.settings["sync"]:  # writes the file, so only once
        ultralytics.settings.update({"sync": False})
    return ultralytics
