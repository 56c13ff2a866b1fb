import json
import re
from urllib.parse import urljoin

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from objectvision import __version__

pytestmark = pytest.mark.django_db  # a static file's end looks after the connections

PAGES = ["/docs", "/redoc", "/api/v1/docs", "/api/v1/redoc"]


@pytest.fixture(scope="module")
def document():
    return json.loads(Client().get("/api/v1/openapi.json").content)


def test_the_document_is_valid_and_made_without_a_warning(tmp_path):
    file = tmp_path / "openapi.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(file))
    assert file.read_text().startswith("openapi: 3.1.0")


def test_the_served_document_is_the_same_with_and_without_the_prefix(document):
    response = Client().get("/openapi.json")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/vnd.oai.openapi+json"
    assert json.loads(response.content) == document
    validate_schema(document)
    assert document["info"]["version"] == __version__


def routes():
    """Every path that the API serves, as the document writes them."""
    pages = {"openapi", "docs", "redoc"}
    api = next(entry for entry in get_resolver().url_patterns if str(entry.pattern) == "api/v1/")
    groups = [e for e in get_resolver().url_patterns if str(e.pattern) == str(api.pattern)]
    patterns = [pattern for group in groups for pattern in group.url_patterns if pattern.name not in pages]
    paths = (re.sub(r"<\w+:pk>", "{id}", str(pattern.pattern)) for pattern in patterns)
    return {"/api/v1/" + re.sub(r"<\w+:(\w+)>", r"{\1}", path) for path in paths}


def test_the_document_has_every_route_of_the_api_and_nothing_else(document):
    assert "/api/v1/detect/image" in routes()
    assert set(document["paths"]) == routes()


def test_every_operation_says_how_it_may_be_refused(document):
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= len(routes())
    for operation in operations:
        assert operation["summary"]
        if {"bearer": []} in operation.get("security", []):
            assert "401" in operation["responses"]


def test_the_upload_is_documented_as_a_form_with_a_file(document):
    upload = document["paths"]["/api/v1/detect/image"]["post"]
    assert list(upload["requestBody"]["content"]) == ["multipart/form-data"]
    assert {"200", "202", "400", "401", "413", "415", "503"} <= set(upload["responses"])


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_load_nothing_from_another_host(path):
    response = Client().get(path)
    assert response.status_code == 200
    page = response.content.decode()
    assert len(re.findall(r'(?:src|href)="([^"]+)"', page)) > 0
    assert re.findall(r"""(?:https?:)?//(?!localhost|testserver)[\w-]+\.[\w.-]+""", page) == []


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_own_files_are_served(path):
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


def test_a_static_file_that_is_none_is_404():
    for path in ("/static/none.js", "/static/../objectvision/settings.py"):
        assert Client().get(path).status_code == 404


def test_every_operation_has_a_summary_of_its_own(document):
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


def test_every_operation_is_described_and_shows_what_is_sent_and_answered(document):
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
                if kind == "application/json" and status != "400"  # what a 400 says depends on what was wrong
            },
        }
        assert [kind for kind, content in shown.items() if not content.get("examples")] == [], name


def test_what_the_document_shows_is_what_it_says(document):
    """Each example fits the schema that it stands beside."""
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


def test_whoever_has_the_document_is_told_so():
    response = Client().get("/openapi.json")
    again = Client().get("/openapi.json", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_limits_and_offsets_are_documented_with_their_ranges(document):
    history = operations(document)["GET /api/v1/detect/history"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in history["parameters"]}
    assert schemas["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    assert schemas["offset"]["minimum"] == 0
    assert schemas["min_confidence"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert schemas["status"]["enum"] == ["cancelled", "completed", "failed", "pending", "processing"]


VERBS = {
    "cancel", "check", "confirm", "create", "delete", "end", "get",
    "list", "login", "logout", "refresh", "retry", "revoke",
    "signup", "update", "upload", "verify",
}  # fmt: skip  # a list to read at a glance


def test_every_operation_has_a_short_name_of_its_own_that_begins_with_a_verb(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name), name
        assert name.split("_")[0] in VERBS, name
