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
CHANGES_WHAT_OTHERS_REST_ON = (
    "/api/v1/auth/logout", "/api/v1/auth/logout-all", "/api/v1/auth/password/change",
    "/api/v1/users/settings",
)  # fmt: skip  # a list to read at a glance


@schemathesis.auth(refresh_interval=None)
class LoggedIn:
    def get(self, case, context):  # noqa: ARG002  # schemathesis's signature
        return ours.http.headers["Authorization"]

    def set(self, case, data, context):  # noqa: ARG002  # as above
        # Whoever logs out, or sets defaults for all uploads, is somebody else each time.
        apart = case.operation.path in CHANGES_WHAT_OTHERS_REST_ON
        other = Client(URL).sign_up() if apart else None
        case.headers["Authorization"] = other.http.headers["Authorization"] if other else data


schemathesis.openapi.format("binary", just(Binary(photo())))


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    path, method = case.operation.path, case.operation.method.upper()
    match path, method:
        case "/api/v1/auth/signup", _:
            case.body.update(email=f"{uuid4().hex}@example.com", password=PASSWORD)
        case "/api/v1/auth/password/change", _:
            case.body.update(current_password=PASSWORD, new_password=f"{PASSWORD}-and-more")
        case "/api/v1/users/{id}", _:
            case.path_parameters["id"] = profile["id"]
        case "/api/v1/detect/exports/{id}", _:
            case.path_parameters["id"] = export["id"]
        case "/api/v1/detect/exports/{id}/file", _:
            case.path_parameters["id"] = export["id"]
            case.query["signature"] = export["download_url"].partition("=")[2]
        case _:
            if "id" in (case.path_parameters or {}):
                point_to_a_detection(case, fresh=method == "DELETE")


def point_to_a_detection(case, *, fresh):
    found = uploaded() if fresh else detection
    case.path_parameters["id"] = found["id"]
    if "image_id" in case.path_parameters:
        case.path_parameters["image_id"] = found["images"][0]["id"]
    if "image_id" in (case.query or {}):
        case.query["image_id"] = found["images"][0]["id"]


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
