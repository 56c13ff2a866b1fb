import json
import re
from urllib.parse import urljoin

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from accounts import keys
from detections import reports
from detections.api import account, upload_serializers
from detections.exports import runs
from detections.live import slots
from detections.uploads import zip_reader
from notifications.models import WebhookDelivery, WebhookEndpoint
from objectvision import __version__, health
from testing.endpoints import url_patterns

pytestmark = pytest.mark.django_db  # a static file's end looks after the connections

OLD_SECRET_HOURS = WebhookEndpoint.OLD_SECRET_SIGNS.total_seconds() / 3600
PAGES = ["/docs", "/redoc", "/api/v1/docs", "/api/v1/redoc"]


@pytest.fixture(scope="module")
def document():
    return json.loads(Client().get("/api/v1/openapi.json").content)


def test_the_openapi_document_is_valid_and_generated_without_warnings(tmp_path):
    file = tmp_path / "openapi.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(file))
    assert file.read_text().startswith("openapi: 3.1.0")


def test_the_openapi_document_is_the_same_with_and_without_the_prefix(document):
    response = Client().get("/openapi.json")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/vnd.oai.openapi+json"
    assert json.loads(response.content) == document
    validate_schema(document)
    assert document["info"]["version"] == __version__


def routes():
    """Every path that the API serves, as the document writes them."""
    pages = {"openapi", "docs", "redoc"}
    served = [path for path, pattern in url_patterns() if pattern.name not in pages]
    named = (re.sub(r"<\w+:(\w+)>", r"{\1}", re.sub(r"<\w+:pk>", "{id}", path)) for path in served)
    return {f"/{path}" for path in named if path.startswith("api/v1/")}


def test_the_openapi_document_has_exactly_the_routes_of_the_api(document):
    assert "/api/v1/detect/image" in routes()
    assert set(document["paths"]) == routes()


def test_every_operation_with_a_login_documents_401(document):
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= len(routes())
    for operation in operations:
        assert operation["summary"]
        if {"bearer": []} in operation.get("security", []):
            assert "401" in operation["responses"]


def test_the_upload_is_documented_as_multipart_with_its_errors(document):
    upload = document["paths"]["/api/v1/detect/image"]["post"]
    assert list(upload["requestBody"]["content"]) == ["multipart/form-data"]
    assert {"200", "202", "400", "401", "413", "415", "503"} <= set(upload["responses"])


def test_the_stream_of_events_is_documented_with_its_errors(document):
    stream = document["paths"]["/api/v1/events"]["get"]
    assert {each["name"]: each["in"] for each in stream["parameters"]} == {
        "Last-Event-ID": "header",
        "since": "query",
        "ticket": "query",
    }
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {"400", "401", "403", "429"} <= set(stream["responses"])
    refused = document["components"]["schemas"]["FollowEventsError"]["discriminator"]["mapping"]
    assert {"since", "Last-Event-ID", "any_name"} <= set(refused)
    foreign = stream["responses"]["403"]["content"]["application/json"]["examples"]["Answer"]["value"]
    assert foreign["errors"][0]["code"] == "foreign_origin"


@pytest.mark.parametrize("path", PAGES)
def test_documentation_pages_load_nothing_from_other_hosts(path):
    response = Client().get(path)
    assert response.status_code == 200
    page = response.content.decode()
    assert len(re.findall(r'(?:src|href)="([^"]+)"', page)) > 0
    assert re.findall(r"""(?:https?:)?//(?!localhost|testserver)[\w-]+\.[\w.-]+""", page) == []


@pytest.mark.parametrize("path", PAGES)
def test_every_file_linked_by_a_documentation_page_is_served(path):
    links = re.findall(r'(?:src|href)="([^"]+)"', Client().get(path).content.decode())
    for link in links:
        response = Client().get(urljoin(path, link))
        assert response.status_code == 200, link
        assert len(response.content) > 100, link


def test_a_static_file_answers_a_repeated_request_with_304():
    link = re.search(r'src="(/static/[^"]+\.js)"', Client().get("/docs").content.decode()).group(1)
    first = Client().get(link)
    assert first["Content-Type"].startswith("text/javascript")
    again = Client().get(link, headers={"If-Modified-Since": first["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")


def test_an_unknown_static_file_answers_404():
    for path in ("/static/none.js", "/static/../objectvision/settings.py"):
        assert Client().get(path).status_code == 404


def test_operations_of_one_path_have_different_summaries(document):
    detection = document["paths"]["/api/v1/detect/{id}"]
    assert {method: detection[method]["summary"] for method in detection} == {
        "get": "A detection with its images and results",
        "patch": "Rename or publish a detection",
        "delete": "Delete a detection",
    }


def operations(document):
    """Every operation by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_has_a_description_and_examples(document):
    for name, operation in operations(document).items():
        assert operation["description"], name
        sent = operation.get("requestBody", {}).get("content", {})
        answered = operation["responses"]
        shown = {
            **{f"request {kind}": content for kind, content in sent.items()},
            **{
                f"{status} {kind}": content
                for status, answer in answered.items()
                for kind, content in answer.get("content", {}).items()
                if kind == "application/json" and status != "400"  # a 400 has no fixed example
            },
        }
        assert [kind for kind, content in shown.items() if not content.get("examples")] == [], name


def test_every_example_fits_its_schema(document):
    components = {"components": document["components"]}
    for name, operation in operations(document).items():
        contents = [answer.get("content", {}) for answer in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for content in contents:
            for kind, shown in content.items():
                for example in shown.get("examples", {}).values():
                    schema = {**shown["schema"], **components}
                    faults = list(Draft202012Validator(schema).iter_errors(example["value"]))
                    assert faults == [], (name, kind)


def test_the_openapi_document_with_a_matching_etag_answers_304():
    response = Client().get("/openapi.json")
    again = Client().get("/openapi.json", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_query_parameters_are_documented_with_their_ranges(document):
    history = operations(document)["GET /api/v1/detect/history"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in history["parameters"]}
    assert schemas["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    assert schemas["offset"]["minimum"] == 0
    assert schemas["min_confidence"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert schemas["status"]["enum"] == ["cancelled", "completed", "failed", "pending", "processing"]


VERBS = {
    "add", "cancel", "change", "check", "confirm", "create", "delete", "end", "follow", "get",
    "list", "login", "logout", "ping", "redeliver", "refresh", "replay", "rerun", "retry", "review", "revoke",
    "rotate", "signup", "update", "upload", "verify",
}  # fmt: skip  # a list to read at a glance


def test_operation_ids_are_unique_short_and_begin_with_a_verb(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name), name
        assert name.split("_")[0] in VERBS, name


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("GET /api/v1/detect/{id}", f"first {reports.MOST_SHOWN_OF_IMAGE:,} of each image"),
        ("GET /api/v1/detect/{id}", f"{reports.MOST_SHOWN:,} in all"),
        ("POST /api/v1/detect/exports", f"At most {runs.MOST_UNFINISHED} exports"),
        ("POST /api/v1/detect/exports", f"{runs.MOST_KEPT} are kept"),
        ("POST /api/v1/detect/batch", f"up to {upload_serializers.MOST_IMAGES} files"),
        ("POST /api/v1/detect/batch", f"`archive` of up to {zip_reader.MOST_ENTRIES}"),
        ("GET /api/v1/users/export", f"the latest {account.MOST_SESSIONS:,}"),
        ("GET /api/v1/health", f"within {health.ANSWER_SECONDS} seconds"),
        ("POST /api/v1/users/api-keys", f"At most {keys.MAX_KEYS} "),
        ("GET /api/v1/events", f"At most {slots.MOST_STREAMS} streams"),
        ("POST /api/v1/webhooks", f"At most {WebhookEndpoint.MOST_OF_USER} are kept"),
        ("GET /api/v1/webhooks/{id}", f"After {WebhookEndpoint.MAY_FAIL_FOR.days} days"),
        ("POST /api/v1/webhooks/{id}/rotate-secret", f"For {OLD_SECRET_HOURS:.0f} hours"),
        ("GET /api/v1/webhooks/{id}/deliveries", f"of the last {WebhookDelivery.KEPT.days} days"),
        (
            "GET /api/v1/webhooks/{id}/deliveries/{delivery_id}",
            f"of the last {WebhookDelivery.ANSWERS_KEPT} attempts",
        ),
    ],
)
def test_limits_in_descriptions_equal_those_in_the_code(document, operation, text):
    assert text in operations(document)[operation]["description"]


def test_descriptions_name_the_scope_that_an_api_key_needs(document):
    described = operations(document)
    assert described["GET /api/v1/detectors"]["description"].endswith("API keys need the scope `read`.")
    assert "API keys need" not in described["GET /api/v1/auth/sessions"]["description"]


def test_every_query_parameter_has_documented_errors(document):
    schemas = document["components"]["schemas"]

    def resolved(schema):
        return schemas[schema["$ref"].rpartition("/")[2]]

    for name, operation in operations(document).items():
        queried = {entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "query"}
        if not queried or name == "GET /api/v1/auth/verify-email":  # which redirects whatever the token is
            continue
        answer = resolved(operation["responses"]["400"]["content"]["application/json"]["schema"])
        refused = schemas[answer["discriminator"]["mapping"]["validation_error"].rpartition("/")[2]]
        error = resolved(refused["properties"]["errors"]["items"])
        fields = error.get("discriminator", {}).get("mapping") or error["properties"]["attr"]["enum"]
        assert queried <= set(fields), name


def test_forms_that_are_refused_before_their_fields_have_documented_codes(document):
    codes = document["components"]["schemas"]["ParseErrorCodeEnum"]["enum"]
    assert set(codes) == {"parse_error", "too_many_fields", "too_many_files", "too_many_parts"}


def test_every_request_body_is_documented_to_take_no_other_fields(document):
    schemas = document["components"]["schemas"]
    bodies = [
        each["requestBody"]["content"] for each in operations(document).values() if "requestBody" in each
    ]
    names = {media["schema"]["$ref"].rpartition("/")[2] for body in bodies for media in body.values()}
    assert len(names) > 10
    assert [name for name in names if schemas[name].get("additionalProperties") is not False] == []


def test_operations_share_one_error_of_names_which_may_be_any_text(document):
    schemas = document["components"]["schemas"]
    assert schemas["NameErrorComponent"]["properties"]["attr"] == {"type": "string"}
    assert {"$ref": "#/components/schemas/NameErrorComponent"} in schemas["UploadImageError"]["oneOf"]
    assert [name for name in schemas if name.endswith("AnyNameErrorComponent")] == []
