"""Imports and signal handlers of a process that has loaded detectors."""

import subprocess
import sys

from testing.detectors import build_standin, sample_photo_file
from testing.stacks import ROOT

OVERLAPPING = """
import os, signal, sys
from pathlib import Path
from detections import inference

first = inference.load_detector(Path(sys.argv[1]), "openvino")
second = inference.load_detector(Path(sys.argv[1]), "openvino")
del first
del second
signal.signal(signal.SIGINT, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_signal_handlers_work_after_two_detectors_were_loaded_at_once(standin_folder):
    command = [sys.executable, "-c", OVERLAPPING, standin_folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_an_openvino_process_imports_no_torch_and_sends_no_telemetry(tmp_path):
    script = """
import sys
from pathlib import Path
from detections import inference
assert not {"cv2", "numpy", "openvino"} & set(sys.modules), "imported too early"
detector = inference.load_detector(Path(sys.argv[1]), "openvino")
detector.predict(Path(sys.argv[2]).read_bytes(), inference.Options())
print(*sorted(name for name in ("torch", "ultralytics", "openvino_telemetry") if sys.modules.get(name)))
"""
    folder = build_standin(tmp_path / "standin")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, folder, sample_photo_file("bus.jpg")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
