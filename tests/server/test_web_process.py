"""A web process stays small because it imports no model runtime."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"cv2", "numpy", "openvino", "pillow_heif", "simplejpeg", "torch", "torchvision", "ultralytics"}
MEGABYTE = 1 << 20

START = """
import json, os, sys, psutil
import objectvision.asgi
from django.core.checks import run_checks
from django.test import Client
from django.urls import get_resolver
run_checks()  # resolves all routes
assert len(get_resolver().reverse_dict) > 5
assert Client().get("/health", HTTP_HOST="localhost").status_code == 200
"""
REPORT = """
print(json.dumps({"modules": list(sys.modules), "memory": psutil.Process().memory_info().rss}))
"""
SERVE = """
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from accounts.models import User
from accounts.tokens import open_session
from detections.models import DetectionImage, Detector
from testing.files.pictures import photo
call_command("migrate", verbosity=0)
user = User.objects.create_user("ada@example.com", "a-long-passphrase")
Detector.objects.create(name="d", version="1", path="d", sha256="0" * 64, backend="openvino", image_size=64,
                        classes=["a"], is_default=True)
bearer = "Bearer " + open_session(user, "").access_token
client = Client(headers={"Host": "localhost", "Authorization": bearer})
upload = client.post("/api/v1/detect/image", {"image": SimpleUploadedFile("a.jpg", photo())})
assert upload.status_code == 202, upload.content
detection = upload.json()["detection_id"]
batch = client.post("/api/v1/detect/batch", {"images": SimpleUploadedFile("a.jpg", photo()), "tile": "64"})
assert batch.status_code == 202, batch.content
original = f"{detection}/images/{DetectionImage.objects.get(detection=detection).pk}"
DetectionImage.objects.update(state="done")
for path in (f"jobs/{detection}", detection, f"{detection}/image", original, f"{original}/thumbnail"):
    assert client.get(f"/api/v1/detect/{path}").status_code == 200, path
for page in ("/docs", "/openapi.json", "/health/detector"):
    client.get(page)
"""


def run(code, tmp_path):
    environment = {
        **os.environ,
        "DB_HOST": "",
        "DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_serving_every_kind_of_request_imports_no_model_runtime(tmp_path):
    process = run(START + SERVE + REPORT, tmp_path)
    assert HEAVY & set(process["modules"]) == set()
    assert "detections.inference" in process["modules"]


def test_an_idle_web_process_takes_less_than_150_megabytes(tmp_path):
    assert run(START + REPORT, tmp_path)["memory"] < 150 * MEGABYTE


def test_a_web_process_raises_its_limit_of_open_files_to_the_maximum(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))"
    told = "import json; print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    assert run(f"{limit}\nimport objectvision.asgi\n{told}", tmp_path) == [4096, 4096]
