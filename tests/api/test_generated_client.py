"""A client generated from the OpenAPI document, used from sign-up to results."""

import subprocess
import sys

import pytest

from detections.operations import demo
from testing import stacks

PACKAGE = "object_vision_client"
IMPORTS = f"""
import importlib, pkgutil
import {PACKAGE}.api

found = list(pkgutil.walk_packages({PACKAGE}.api.__path__, "{PACKAGE}.api."))
for module in found:
    importlib.import_module(module.name)
print(*(module.name.rpartition(".")[2] for module in found if not module.ispkg))
"""
FROM_SIGNUP_TO_RESULTS = f"""
import sys

from {PACKAGE} import AuthenticatedClient, Client
from {PACKAGE}.api.auth import login, logout, signup
from {PACKAGE}.api.detect import (
    delete_detection, get_annotated_image, get_detection, get_job, get_original_image, list_detections,
    update_detection, upload_image,
)
from {PACKAGE}.api.users import get_settings, update_settings
from {PACKAGE}.models import (
    DetectImageRequest, DetectionStatusEnum, DetectionSummaryParameters, LoginRequest, LogoutRequest,
    PatchedDetectionRequest, PatchedUserSettingsRequest, SignupRequest,
)
from {PACKAGE}.types import File

url, photo = sys.argv[1:]
stranger = Client(url)
user = signup.sync(
    client=stranger, body=SignupRequest(email="ada@example.com", password="a-long-passphrase", name="Ada")
)
assert user.name == "Ada"
pair = login.sync(client=stranger, body=LoginRequest(email="ada@example.com", password="a-long-passphrase"))
client = AuthenticatedClient(url, token=pair.access_token)

with open(photo, "rb") as file:
    form = DetectImageRequest(image=File(file, "bus.jpg", "image/jpeg"), confidence=0.3, name="Bus stop")
    job = upload_image.sync(client=client, body=form)
while job.status in {{DetectionStatusEnum.PENDING, DetectionStatusEnum.PROCESSING}}:
    job = get_job.sync(job.job_id, client=client)
assert job.status == DetectionStatusEnum.COMPLETED
assert job.progress.percent == 100

detection = get_detection.sync(job.detection_id, client=client)
(image,) = detection.images
assert (image.original_name, image.width, image.height) == ("bus.jpg", 810, 1080)
assert all(result.confidence >= 0.3 for result in image.results)
assert all(result.bbox.x2 <= image.width for result in image.results)
print(*(result.object_class for result in image.results))

annotated = get_annotated_image.sync(detection.id, client=client, min_confidence=0.5)
original = get_original_image.sync(detection.id, image.id, client=client)
assert annotated.payload.read(2) == original.payload.read(2) == bytes.fromhex("ffd8")

update_detection.sync(detection.id, client=client, body=PatchedDetectionRequest(name="In the morning"))
page = list_detections.sync(client=client, object_class=image.results[0].object_class, search="morning")
assert page.total == 1
(listed,) = page.items
assert (listed.id, listed.name) == (detection.id, "In the morning")
assert isinstance(listed.parameters, DetectionSummaryParameters)
assert listed.parameters.confidence == 0.3

update_settings.sync(client=client, body=PatchedUserSettingsRequest(retention_days=90))
assert get_settings.sync(client=client).retention_days == 90

refused = upload_image.sync(client=client, body=DetectImageRequest(image=File(open(__file__, "rb"), "a.jpg")))
assert refused.errors[0].code == "unsupported_format"
assert delete_detection.sync_detailed(detection.id, client=client).status_code == 204
assert logout.sync_detailed(client=client, body=LogoutRequest()).status_code == 204
assert get_settings.sync(client=client).errors[0].code == "authentication_failed"
"""


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(embedded_stack, tmp_path_factory):
    """A folder that the generated client is imported from."""
    folder = tmp_path_factory.mktemp("generated")
    run(
        stacks.BIN / "openapi-python-client", "generate", "--url", f"{embedded_stack.url}/openapi.json",
        "--config", stacks.ROOT / "docs" / "client.yaml", "--output-path", folder / "client",
        "--fail-on-warning", cwd=folder,
    )  # fmt: skip  # a command with its arguments
    return folder / "client"


def test_the_generated_client_has_a_module_for_every_operation(package, embedded_stack):
    document = embedded_stack.client().http.get(f"{embedded_stack.url}/openapi.json").json()
    operations = {
        operation["operationId"] for path in document["paths"].values() for operation in path.values()
    }
    assert set(run(sys.executable, "-c", IMPORTS, cwd=package).split()) == operations


def test_the_generated_client_works_from_sign_up_to_results(package, embedded_stack):
    script = package / "script.py"
    script.write_text(FROM_SIGNUP_TO_RESULTS)
    printed = run(sys.executable, script, embedded_stack.url, demo.sample_photo(), cwd=package)
    assert printed.split() == ["alpha", "beta"]
