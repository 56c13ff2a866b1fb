"""The main job on real photographs, both ways of running, every backend and model family."""

import io
import json
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from detections.operations import demo
from testing import stacks
from testing.detectors import COCO, assert_found, codes, family_of
from testing.files.pictures import photo
from testing.waiting import until

pytestmark = pytest.mark.longest

DETECTORS = ["bundled", *COCO]
BACKENDS = ["openvino", "ultralytics"]
# In one process, since importing torch takes seconds.
PREPARE = """
from django.core.management import call_command
for source in {sources}:
    for backend in {backends}:
        call_command("prepare_detector", source, backend=backend)
"""
BUS = demo.sample_photo()
# Recorded results at a confidence of 0.25, highest first.
SEEN = {
    ("yolo26n", "bus.jpg"): "bus .94, person .93, person .92, person .87, person .59",
    ("yolo26n", "zidane.jpg"): "person .93, person .91, tie .48",
    ("yolov8n", "bus.jpg"): "person .89, person .88, person .88, bus .87, person .35",
    ("yolov8n", "zidane.jpg"): "person .83, person .82, tie .34, person .31",
}
WEB_MEGABYTES = 150
WORKER_MEGABYTES = 350
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9"}  # nothing listens there


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of all detectors: their trials take long, and both ways find them ready."""
    folder = tmp_path_factory.mktemp("prepared")
    with stacks.embedded(folder, "bundled") as stack:
        prepare_all(stack)
    return folder / "data" / "detectors"


@pytest.fixture(params=stacks.WAYS)
def bundled(request, tmp_path, prepared):
    with stacks.running(request.param, tmp_path, "bundled", **stacks.SLOW_PASSWORDS) as stack:
        shutil.copytree(prepared, tmp_path / "data" / "detectors", dirs_exist_ok=True)
        prepare_all(stack)
        yield stack


def prepare_all(stack):
    stack.manage("shell", "-c", PREPARE.format(sources=list(map(str, DETECTORS)), backends=BACKENDS))


def photos(model):
    return demo.sample_scenes() if model == "bundled" else [BUS, BUS.with_name("zidane.jpg")]


def assert_seen(image, model):
    if model == "bundled":
        assert_found(image["results"], image["original_name"])
        return
    expected, results = SEEN[model, image["original_name"]], image["results"]
    expected = sorted((name, float(confidence)) for name, confidence in map(str.split, expected.split(", ")))
    found = sorted((result["object_class"], result["confidence"]) for result in results)
    assert [name for name, _ in found] == [name for name, _ in expected]
    # Processors without VNNI multiply int8 otherwise: confidences differ by up to 0.05.
    assert [confidence for _, confidence in found] == pytest.approx([c for _, c in expected], abs=0.06)


def test_an_upload_gets_the_recorded_results_and_an_annotated_picture(bundled):
    client = bundled.client().sign_up()
    for source in DETECTORS:
        model = family_of(source)
        for backend in BACKENDS:
            for file in photos(model):
                response = client.upload(file.read_bytes(), file.name, wait=30, detector=f"{model}:{backend}")
                assert response.status_code == 200, response.text
                detection = response.json()
                (image,) = detection["images"]
                assert image["original_name"] == file.name
                assert_seen(image, model)
                picture = client.get(f"detect/{detection['id']}/image")
                assert picture.headers["Content-Type"] == "image/jpeg"
                with Image.open(io.BytesIO(picture.content)) as annotated:
                    assert annotated.size == (image["width"], image["height"])
                again = client.get(
                    f"detect/{detection['id']}/image", headers={"If-None-Match": picture.headers["ETag"]}
                )
                assert (again.status_code, again.content) == (304, b"")


def resident_megabytes(process):
    return process.memory_info().rss / 1e6


def loaded(process, library):
    return any(f"/{library}/" in mapping.path for mapping in process.memory_maps())


@pytest.mark.services
@pytest.mark.parametrize("source", DETECTORS[:2], ids=lambda source: Path(source).name)
def test_web_processes_load_no_runtime_workers_no_torch_and_both_stay_small(tmp_path, source):
    with stacks.production(tmp_path, source) as stack:
        stack.environment |= stacks.SLOW_PASSWORDS
        stack.web()
        stack.worker("inference")
        client = stack.client().sign_up()
        web = psutil.Process(stack.processes["web"].pid).children()
        for process in web:
            assert resident_megabytes(process) < WEB_MEGABYTES
        for _ in range(25):
            assert client.upload(BUS.read_bytes(), wait=30).status_code == 200
        for process in web:
            assert not any(loaded(process, library) for library in ("torch", "openvino", "cv2"))
        (worker,) = psutil.Process(stack.processes["inference"].pid).children()
        assert loaded(worker, "openvino")
        assert not loaded(worker, "torch")
        assert resident_megabytes(worker) < WORKER_MEGABYTES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_in_five_seconds_during_a_waiting_upload_and_loses_nothing(
    tmp_path, standin_folder, number
):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        client = stack.serve().client().sign_up()
        for file in (tmp_path / "data" / "detectors").rglob("*.xml"):
            file.rename(file.with_suffix(".away"))  # nothing is claimed while the detector does not load
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.upload, photo(), wait=30)
            until(lambda: "Nothing claimed" in stack.log("serve"))
            started = time.monotonic()
            assert stack.stop("serve", number) == 0
            assert time.monotonic() - started < 5
            assert waiting.result().status_code == 202
        for file in (tmp_path / "data" / "detectors").rglob("*.away"):
            file.rename(file.with_suffix(".xml"))
        stack.serve()
        assert client.finished(waiting.result().json()["detection_id"])["status"] == "completed"


def test_serve_stops_in_five_seconds_while_an_upload_stalls(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        stack.serve()
        head = "POST /api/v1/detect/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", stack.port)) as connection:
            connection.sendall(head.encode())
            started = time.monotonic()
            assert stack.stop("serve") == 0
            assert time.monotonic() - started < 5


def test_serve_stopped_while_processing_finishes_at_the_next_start(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        client = stack.serve().client().sign_up()
        large = photo(4000, 3000)
        accepted = [client.upload(large).json()["detection_id"] for _ in range(20)]
        started = time.monotonic()
        assert stack.stop("serve") == 0
        assert time.monotonic() - started < 5
        stack.serve()
        for detection in accepted:
            assert client.finished(detection)["status"] == "completed"


def test_the_curl_line_that_serve_prints_works_when_pasted(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        line = next(line for line in stack.serve().log("serve").splitlines() if "TOKEN=" in line)
        pasted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert json.loads(pasted.stdout)["status"] == "completed"
        assert stack.url in line


def test_the_demo_succeeds_and_saves_an_annotated_picture(tmp_path, standin_folder):
    stack = stacks.Stack(tmp_path, {"MODEL_PATH": str(standin_folder)})
    output = stack.manage("demo")
    assert "alpha" in output
    with Image.open(tmp_path / "data" / "demo" / "annotated-bus.jpg") as picture:
        assert picture.size == (810, 1080)


def test_without_network_setup_names_the_bundled_detector_whose_demo_finds_every_code(tmp_path):
    stack = stacks.Stack(tmp_path, NO_NETWORK)
    output = stack.manage("setup")
    assert "Detector: bundled" in output
    assert "which finds qr_code, barcode, marker" in output
    assert "MODEL_PATH" in output
    output = stack.manage("demo")
    for scene in demo.sample_scenes():
        table = output.partition(f"{scene.name}, ")[2].partition("Annotated picture")[0]
        found = sorted(line.split()[0] for line in table.splitlines()[2:] if line)
        assert found == sorted(code["object_class"] for code in codes(scene.name))
        assert (tmp_path / "data" / "demo" / f"annotated-{scene.name}").exists()


def test_the_curl_line_uploads_a_sample_scene_for_the_bundled_detector(tmp_path):
    with stacks.embedded(tmp_path, "bundled") as stack:
        line = next(line for line in stack.serve().log("serve").splitlines() if "TOKEN=" in line)
        pasted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        (image,) = json.loads(pasted.stdout)["images"]
        assert_found(image["results"], image["original_name"])
