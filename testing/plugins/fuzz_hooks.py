"""What `schemathesis run` cannot make up: log-ins, real photos, detections that exist.

Valid requests alone are helped; what is broken on purpose stays as it is.
"""

import os
from uuid import uuid4

import requests
import schemathesis
from hypothesis.strategies import just
from schemathesis import GenerationMode
from schemathesis.transport.serialization import Binary

from objectvision.tests.stack import PASSWORD, Client, photo, until

URL = os.environ["FUZZED_URL"]
ANONYMOUS = os.environ["FUZZED_BY"] == "nobody"
CHANGES_WHAT_OTHERS_REST_ON = {
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/logout-all",
    "POST /api/v1/auth/password/change",
    "DELETE /api/v1/auth/sessions/{id}",
    "PATCH /api/v1/users/settings",
    "DELETE /api/v1/users/{id}",
}


@schemathesis.auth(refresh_interval=None)
class LoggedIn:
    def get(self, case, context):  # noqa: ARG002  # schemathesis's signature
        return ours.http.headers["Authorization"]

    def set(self, case, data, context):  # noqa: ARG002  # as above
        if ANONYMOUS:
            return
        # Whoever logs out, leaves, or sets defaults for all uploads, is somebody else each time.
        apart = case.operation.label in CHANGES_WHAT_OTHERS_REST_ON
        other = Client(URL).sign_up() if apart else None
        case.headers["Authorization"] = other.http.headers["Authorization"] if other else data


schemathesis.openapi.format("binary", just(Binary(photo())))


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    path = case.operation.path
    if path == "/api/v1/auth/signup":
        case.body.update(email=f"{uuid4().hex}@example.com", password=PASSWORD)
    elif path == "/api/v1/auth/password/change":
        case.body.update(current_password=PASSWORD, new_password=f"{PASSWORD}-and-more")
    elif path in IDS:
        case.path_parameters["id"] = IDS[path]()
        if path.endswith("/file"):
            case.query["signature"] = export["download_url"].partition("=")[2]
    elif "id" in (case.path_parameters or {}):
        point_to_a_detection(case, fresh=case.operation.method.upper() == "DELETE")


def point_to_a_detection(case, *, fresh):
    found = uploaded() if fresh else detection
    case.path_parameters["id"] = found["id"]
    if "image_id" in case.path_parameters:
        case.path_parameters["image_id"] = found["images"][0]["id"]
    if "image_id" in (case.query or {}):
        case.query["image_id"] = found["images"][0]["id"]


def a_key():
    kept = ours.get("users/api-keys").json()["items"]
    return kept[0] if kept else ours.post("users/api-keys", json={"name": "Camera"}).json()


def uploaded():
    response = ours.upload(photo(), wait=30)
    assert response.status_code == requests.codes.ok, response.text
    return response.json()


def exported():
    place = ours.post("detect/exports", json={"format": "csv"}).headers["Location"]

    def look():
        answer = requests.get(place, headers=ours.http.headers, timeout=60).json()
        return answer if answer["download_url"] else None

    return until(look)


ours = Client(URL).sign_up()
profile = ours.get("users/get-profile").json()
detection = uploaded()
export = exported()
IDS = {
    "/api/v1/users/{id}": lambda: profile["id"],
    "/api/v1/users/api-keys/{id}": lambda: a_key()["id"],
    "/api/v1/auth/sessions/{id}": lambda: str(uuid4()),
    "/api/v1/detect/exports/{id}": lambda: export["id"],
    "/api/v1/detect/exports/{id}/file": lambda: export["id"],
}
