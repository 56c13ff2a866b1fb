"""Log-ins, real photos, existing detections and webhooks for `schemathesis run`, which cannot make them up.

Only valid requests are changed; requests that are broken on purpose stay as they are.
"""

import os
from uuid import uuid4

import requests
import schemathesis
from hypothesis.strategies import just
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.core.transport import DEFAULT_MAX_STREAM_EVENTS
from schemathesis.transport.serialization import Binary

from testing.clients import PASSWORD, Client
from testing.files.pictures import photo
from testing.waiting import until

URL = os.environ["FUZZED_URL"]
ANONYMOUS = os.environ["FUZZED_BY"] == "anonymous"
ENDS_A_LOG_IN = {
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/logout-all",
    "POST /api/v1/auth/password/change",
    "DELETE /api/v1/auth/sessions/{id}",
    "DELETE /api/v1/users/{id}",
}
WEBHOOKS = "/api/v1/webhooks"
CLOSED = "http://127.0.0.1:9/"  # where nothing listens
SETTINGS = "PATCH /api/v1/users/settings"  # which are the defaults of uploads


@schemathesis.auth(refresh_interval=None)
class LoggedIn:
    def get(self, case, context):  # noqa: ARG002  # schemathesis's signature
        return ours.http.headers["Authorization"]

    def set(self, case, data, context):  # noqa: ARG002  # as above
        if ANONYMOUS:
            return
        if case.operation.label in ENDS_A_LOG_IN:
            data = (Client(URL).sign_up() if is_valid(case) else other).http.headers["Authorization"]
        elif case.operation.label == SETTINGS:
            data = other.http.headers["Authorization"]
        case.headers["Authorization"] = data


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


schemathesis.openapi.format("binary", just(Binary(photo())))


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method in {
        "GET",
        "HEAD",
        "OPTIONS",
    }:  # with a body they are refused before their path is looked at
        case.body = NOT_SET
    if is_valid(case):
        ask_for_what_exists(case)


def ask_for_what_exists(case):
    path = case.operation.path
    if path == "/api/v1/auth/signup":
        case.body.update(email=f"{uuid4().hex}@example.com", password=PASSWORD)
    elif path == "/api/v1/auth/password/change":
        case.body.update(current_password=PASSWORD, new_password=f"{PASSWORD}-and-more")
    elif path == "/api/v1/events":
        case.headers["Last-Event-ID"] = profile["id"]  # all events come after it
    elif path.startswith(WEBHOOKS):
        point_to_a_webhook(case)
    elif path in IDS:
        case.path_parameters["id"] = IDS[path]()
        if path.endswith("/file"):
            case.query["signature"] = export["download_url"].partition("=")[2]
    elif "id" in (case.path_parameters or {}):
        point_to_a_detection(case, fresh=case.operation.method.upper() == "DELETE")


# Of each event, which is what schemathesis compares; the document can only say that a stream is text.
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "event": {"type": "string", "pattern": r"^(detection|export|webhook)\.[a-z]+$"},
        "data": {"type": "string", "pattern": r"^\{.*\}$"},
    },
}


@schemathesis.hook
def before_load_schema(context, raw_schema):  # schemathesis's signature
    stream = raw_schema["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    stream["schema"] = EVENT


def point_to_a_detection(case, *, fresh):
    found = uploaded() if fresh else detection
    case.path_parameters["id"] = found["id"]
    if "image_id" in case.path_parameters:
        case.path_parameters["image_id"] = found["images"][0]["id"]
    if "image_id" in (case.query or {}):
        case.query["image_id"] = found["images"][0]["id"]


def point_to_a_webhook(case):
    if isinstance(case.body, dict) and "url" in case.body:
        case.body["url"] = CLOSED
    if case.path_parameters:
        found = a_webhook_to_delete() if case.method == "DELETE" else webhook
        case.path_parameters["id"] = found["id"]
        if "delivery_id" in case.path_parameters:
            case.path_parameters["delivery_id"] = delivery["id"]


def a_webhook_to_delete():
    found = ours.get("webhooks").json()["items"]
    return found[0] if len(found) > 1 else ours.post("webhooks", json={"url": CLOSED}).json()


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


ours, other = Client(URL).sign_up(), Client(URL).sign_up()
profile = ours.get("users/get-profile").json()
detection = uploaded()
export = exported()
webhook = ours.post("webhooks", json={"url": CLOSED}).json()
delivery = ours.post(f"webhooks/{webhook['id']}/ping").json()
for _ in range(DEFAULT_MAX_STREAM_EVENTS // 2):  # a stream with fewer events is waited for
    uploaded()
IDS = {
    "/api/v1/users/{id}": lambda: profile["id"],
    "/api/v1/users/api-keys/{id}": lambda: a_key()["id"],
    "/api/v1/auth/sessions/{id}": lambda: str(uuid4()),
    "/api/v1/detect/exports/{id}": lambda: export["id"],
    "/api/v1/detect/exports/{id}/file": lambda: export["id"],
}
