"""Every endpoint refuses names that it does not know, and single ones that come twice: nothing is dropped."""

import json
import re
import time
from http import HTTPStatus
from urllib.parse import urlencode

import pytest
from django.test import Client
from rest_framework.settings import api_settings

from detections.models import Detection
from objectvision.api.views import StrictView
from testing.api import BATCH, IMAGE, MULTIPART, content_of, faults, file_of, upload_form
from testing.endpoints import ENDPOINTS, url_patterns, with_ids
from testing.files.pictures import photo

PAGES = ("health", "docs", "redoc", "openapi.json")  # opened by people and probes, who add parameters
LENIENT = [("GET", path) for _, path in ENDPOINTS if path.startswith(PAGES)]
LENIENT.append(("GET", "auth/verify-email"))  # the mailed link, to which mail programs add parameters
STRICT = sorted(set(ENDPOINTS) - set(LENIENT))
UPLOADS = {"detect/image", "detect/batch"}
WRITES = [(method, path) for method, path in STRICT if method != "GET" and path not in UPLOADS]
HISTORY, SETTINGS = "/api/v1/detect/history", "/api/v1/users/settings"
LOGIN = "/api/v1/auth/login"


@pytest.fixture(scope="module")
def document():
    return json.loads(Client().get("/api/v1/openapi.json").content)


@pytest.fixture
def ask(api, owned, user):
    """Request an endpoint as the owner of the object in its path; the unknown fields that are refused."""

    def ask(method, path, query="", body=None):
        path = with_ids(path, owned.get(ENDPOINTS[method, path], owned["export"]), owned)
        content = {"data": json.dumps(body), "content_type": "application/json"} if body else {}
        response = api(user).generic(method, f"/api/v1/{path}{query}", **content)
        assert response.status_code == 400, response.content
        return [error["attr"] for error in response.json()["errors"] if error["code"] == "unknown_field"]

    return ask


def test_every_view_of_the_api_is_strict():
    views = [pattern.callback for path, pattern in url_patterns() if path.startswith("api/v1/")]
    assert all(issubclass(getattr(view, "cls", None) or view.view_class, StrictView) for view in views)


def operation_of(document, method, path):
    named = re.sub(r"<\w+:(\w+)>", r"{\1}", path.replace("<uuid:pk>", "{id}"))
    return document["paths"][f"/api/v1/{named}"][method.lower()]


def test_only_the_parameters_in_the_document_are_taken(ask, document):
    for method, path in STRICT:
        parameters = operation_of(document, method, path).get("parameters", ())
        known = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        sent = {*known, "nonesuch", "limit", "offset", "format", "search"}
        refused = ask(method, path, f"?{urlencode(dict.fromkeys(sent, ''))}")
        assert set(refused) == sent - known, (method, path)


def test_only_the_fields_in_the_document_are_taken(ask, document):
    for method, path in WRITES:
        known = {}
        if body := operation_of(document, method, path).get("requestBody"):
            name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            known = dict.fromkeys(document["components"]["schemas"][name]["properties"])
        refused = ask(method, path, body={**known, "nonesuch": 1, "Name": 2})
        assert refused == ["nonesuch", "Name"], (method, path)


@pytest.mark.parametrize("path", sorted(UPLOADS))
def test_only_the_fields_in_the_document_are_taken_in_uploads(api, user, detector, nothing_stored, path):
    url = f"/api/v1/{path}"
    response = api(user).post(f"{url}?conf=1", {"image": file_of(photo())}, format="multipart")
    assert faults(response) == [("unknown_field", "conf")]
    name = "image" if path.endswith("image") else "images"
    fields = {name: file_of(photo()), "conf": "0.95", "classes[]": "alpha", "other": file_of(photo())}
    response = api(user).post(url, fields, format="multipart")
    assert faults(response) == [("unknown_field", name) for name in ("conf", "classes[]", "other")]
    details = [error["detail"] for error in response.json()["errors"]]
    assert "the nearest is confidence." in details[0]
    assert "the nearest is classes." in details[1]


@pytest.mark.django_db(transaction=True)  # a part of the health looks from a thread of its own
def test_pages_ignore_an_unknown_parameter():
    for method, path in LENIENT:
        url = f"/api/v1/{path}"
        plain, asked = (Client().generic(method, url + query) for query in ("", "?nonesuch=1"))
        assert asked.status_code == plain.status_code, path


@pytest.mark.parametrize("query", ["limit=1&limit=2", "status=failed&status=completed", "search=a&search=b"])
def test_a_parameter_that_comes_twice_is_refused(api, user, query):
    name = query.partition("=")[0]
    response = api(user).get(f"{HISTORY}?{query}")
    assert faults(response) == [("repeated_field", name)]
    assert name in response.json()["errors"][0]["detail"]


def test_fields_that_come_twice_are_refused_in_json(api, user):
    body = '{"theme": "dark", "retention_days": 9, "theme": "light"}'
    response = api(user).generic("PATCH", SETTINGS, body, content_type="application/json")
    assert faults(response) == [("repeated_field", "theme")]
    assert api(user).get(SETTINGS).json()["theme"] == "system"


def test_single_fields_that_come_twice_are_refused_in_forms(api, user, detector, nothing_stored):
    fields = [("image", photo()), ("image", photo(colour=(0, 0, 0))), ("name", "a"), ("name", "a")]
    response = api(user).generic("POST", IMAGE, upload_form(fields), content_type=MULTIPART)
    assert sorted(faults(response)) == [("repeated_field", "image"), ("repeated_field", "name")]
    fields = [("archive", photo()), ("archive", photo())]
    response = api(user).generic("POST", BATCH, upload_form(fields), content_type=MULTIPART)
    assert ("repeated_field", "archive") in faults(response)


@pytest.mark.parametrize(
    ("values", "ids"),
    [(["alpha"], [0]), (["alpha,beta"], [0, 1]), (["alpha", "beta"], [0, 1]), (["beta", "0"], [0, 1])],
)
def test_classes_that_come_several_times_all_count(api, user, detector, values, ids):
    fields = [("image", photo()), *(("classes", value) for value in values)]
    assert api(user).generic("POST", IMAGE, upload_form(fields), content_type=MULTIPART).status_code == 202
    assert Detection.objects.get().parameters["classes"] == ids


def test_classes_that_come_several_times_are_taken_literally(api, user, detector, nothing_stored):
    fields = [("image", photo()), ("classes", "alpha"), ("classes", "alpha,beta")]
    response = api(user).generic("POST", IMAGE, upload_form(fields), content_type=MULTIPART)
    assert faults(response) == [("unknown_class", "classes")]
    assert "alpha,beta" in response.json()["errors"][0]["detail"]


def test_the_annotated_picture_shows_every_class_that_is_named(api, user, owned):
    client = api(user)

    def picture(query):
        return content_of(client.get(f"/api/v1/detect/{owned['detection']}/image?{query}"))

    both = picture("classes=alpha&classes=beta")
    assert both == picture("classes=alpha,beta")
    assert both != picture("classes=alpha")


@pytest.mark.parametrize("last_id", ["", "7", "01a22752-964a-436e-896f-4c216eb666dc"])
def test_a_last_event_id_of_no_event_is_refused(api, user, last_id):
    response = api(user).get("/api/v1/events", headers={"Last-Event-ID": last_id})
    assert faults(response) == [("invalid", "Last-Event-ID")]


def test_the_form_log_in_ignores_what_oauth2_has_besides(api, user):
    fields = [("username", user.email), ("password", "a-long-passphrase")]
    oauth2 = [("grant_type", "password"), ("scope", ""), ("client_id", "x"), ("client_secret", "y")]
    kind = "application/x-www-form-urlencoded"
    assert api().generic("POST", LOGIN, urlencode(fields + oauth2), content_type=kind).status_code == 200
    twice = api().generic("POST", LOGIN, urlencode([*fields, fields[0]]), content_type=kind)
    assert faults(twice) == [("repeated_field", "username")]


def test_a_change_may_send_back_what_can_only_be_read(api, user, owned):
    for path in (f"detect/{owned['detection']}", f"users/{user.pk}"):
        whole = api(user).get(f"/api/v1/{path}").json()
        answer = api(user).patch(f"/api/v1/{path}", {**whole, "name": "Renamed", "id": "another"})
        assert (answer.status_code, answer.json()["name"], answer.json()["id"]) == (
            200,
            "Renamed",
            whole["id"],
        )


def test_what_is_read_only_is_refused_where_something_is_made(api, user):
    key = {"name": "Camera", "prefix": "ov_mine", "last_used_at": None}
    response = api(user).post("/api/v1/users/api-keys", key)
    assert faults(response) == [("unknown_field", "prefix"), ("unknown_field", "last_used_at")]


def test_unknown_and_missing_fields_are_reported_together(api, db):
    response = api().post(LOGIN, {"emial": "ada@example.com", "password": "x"})
    assert faults(response) == [("required", "email"), ("unknown_field", "emial")]
    assert response.json()["errors"][1]["detail"].endswith("the nearest is email.")


@pytest.mark.parametrize("path", ["detect/{}", "detect/{}/image", "detect/jobs/{}", "detect/exports/{}"])
def test_an_object_of_another_user_is_not_found_whatever_is_asked(api, stranger, owned, path):
    url = f"/api/v1/{path.format(owned['detection'])}"
    assert api(stranger).get(f"{url}?nonesuch=1").status_code == HTTPStatus.NOT_FOUND
    cancel = f"/api/v1/detect/jobs/{owned['detection']}/cancel"
    assert api(stranger).post(cancel, {"nonesuch": 1}).status_code == HTTPStatus.NOT_FOUND


def test_a_credential_comes_before_names(api):
    assert api().get(f"{HISTORY}?nonesuch=1").status_code == HTTPStatus.UNAUTHORIZED


def test_a_body_where_none_is_taken_is_refused(api, user, owned):
    cancel = f"/api/v1/detect/jobs/{owned['detection']}/cancel"
    none_taken = ("invalid", api_settings.NON_FIELD_ERRORS_KEY)
    response = api(user).generic("POST", cancel, "[1]", content_type="application/json")
    assert faults(response) == [none_taken]
    assert api(user).post(cancel, {}).status_code == HTTPStatus.OK


@pytest.mark.parametrize("name", ["", "non_field_errors", "a.b", "\ud800", "\0", "x" * 100_000, "é"])
def test_any_name_can_be_told(api, user, name):
    ((code, attr),) = faults(api(user).generic("PATCH", SETTINGS, json.dumps({name: 1}), "application/json"))
    assert (code, attr) == ("unknown_field", name[:100].encode(errors="replace").decode())


def test_as_many_unknown_names_as_fit_into_a_body_cost_little(api, user):
    body = json.dumps(dict.fromkeys(map(str, range(60_000)), 1))
    begun = time.thread_time()
    assert len(faults(api(user).generic("PATCH", SETTINGS, body, "application/json"))) == 10
    assert time.thread_time() - begun < 1
