import json
import re
from urllib.parse import urljoin

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema

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
