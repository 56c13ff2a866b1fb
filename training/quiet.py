"""ultralytics without network access and without files in the home folder."""

from __future__ import annotations

import os
import sys
import tempfile

os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO then takes a stub

import ultralytics
from ultralytics import YOLO
from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn import tasks
from ultralytics.nn.modules.block import PSABlock
from ultralytics.optim.muon import muon_update
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors

tasks.PSABlock = PSABlock  # where ultralytics looks for what a model is made of

if ultralytics.settings["sync"]:
    ultralytics.settings.update({"sync": False})

__all__ = [
    "YOLO",
    "DetectionTrainer",
    "TaskAlignedAssigner",
    "engine",
    "make_anchors",
    "muon_update",
    "v8DetectionLoss",
]
