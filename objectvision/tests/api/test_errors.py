import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, ProgrammingError, connection

FORM = {"type", "errors"}


def fault(response, status, kind="client_error"):
    """The code of the only error in an answer of the documented format."""
    assert response.status_code == status
    assert response["Content-Type"].startswith("application/json")
    content = response.json()
    assert set(content) == FORM
    assert content["type"] == kind
    (error,) = content["errors"]
    assert set(error) == {"code", "detail", "attr"}
    return error["code"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/", "/api/v1/nowhere", "/api/v1/detect/no-uuid", "/health/"]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_route_answers_404_in_the_error_format(api, path, method):
    assert fault(getattr(api(), method)(path), 404) == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", "/api/v1/auth/login", "POST, OPTIONS"),
        ("put", "/api/v1/auth/signup", "POST, OPTIONS"),
        ("delete", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_answers_405_with_the_allowed_ones(api, method, path, allowed):
    response = getattr(api(), method)(path)
    assert fault(response, 405) == "method_not_allowed"
    assert response["Allow"] == allowed


def test_put_on_the_upload_endpoint_answers_405(api, user):
    response = api(user).put("/api/v1/detect/image", {})
    assert fault(response, 405) == "method_not_allowed"


def test_an_unreachable_database_answers_503_without_internals(api, user):
    def away(*_):
        raise OperationalError("connection to db.internal failed")

    client = api(user)
    client.raise_request_exception = False
    with connection.execute_wrapper(away):
        response = client.get("/api/v1/users/get-profile")
    assert fault(response, 503, "server_error") == "unavailable"
    assert "internal" not in response.content.decode()
    assert response["Retry-After"] == "5"


def test_an_exception_answers_500_without_internals_and_is_logged(api, user, caplog):
    def broken(*_):
        raise RuntimeError("a secret of ours")

    client = api(user)
    client.raise_request_exception = False
    with connection.execute_wrapper(broken):
        response = client.get("/api/v1/users/get-profile")
    assert fault(response, 500, "server_error") == "error"
    assert "secret" not in response.content.decode()
    assert "a secret of ours" in caplog.text


def test_a_database_error_in_authentication_is_not_retried(api, user):
    asked = []

    def broken(execute, sql, *args):
        asked.append(sql)
        raise ProgrammingError("no such table")

    client = api(user)
    client.raise_request_exception = False
    with connection.execute_wrapper(broken):
        response = client.get("/api/v1/users/get-profile")
    assert fault(response, 500, "server_error") == "error"
    assert len(asked) == 1


def test_an_unknown_host_is_refused_in_the_error_format(api):
    assert fault(api().get("/health", headers={"Host": "evil.example.com"}), 400) == "parse_error"


def test_form_fields_over_the_size_limit_answer_413(api, user, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = api(user).post("/api/v1/detect/image", {"name": "x" * 200}, format="multipart")
    assert fault(response, 413) == "too_large"


def test_a_form_with_too_many_fields_answers_400(api, user, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 2
    response = api(user).post("/api/v1/detect/image", {"a": "1", "b": "2", "c": "3"}, format="multipart")
    assert fault(response, 400, "client_error") == "too_many_fields"


def test_a_form_with_too_many_files_answers_400(api, user, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 1
    files = {name: SimpleUploadedFile(name, b"x") for name in ("image", "other")}
    response = api(user).post("/api/v1/detect/image", files, format="multipart")
    assert fault(response, 400, "client_error") == "too_many_files"


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"email": }', b""])
def test_malformed_json_answers_400(api, content):
    response = api().generic("POST", "/api/v1/auth/login", content, content_type="application/json")
    assert response.status_code == 400
    assert set(response.json()) == FORM


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "zlib", "rot13", "undefined", "idna", "utf-16"])
def test_a_body_with_any_charset_answers_400_not_500(api, charset):
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        response = api().generic(
            "POST", "/api/v1/auth/login", b"[]", content_type=f"{kind}; charset={charset}"
        )
        assert response.status_code == 400
        assert set(response.json()) == FORM


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/signup"])
def test_endlessly_nested_json_is_a_parse_error(api, db, path):
    response = api().post(path, b"[" * 100_000, content_type="application/json")
    assert fault(response, 400) == "parse_error"


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-16"])
def test_a_form_in_an_odd_encoding_is_refused(api, db, charset):
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    response = api().post("/api/v1/auth/login", b"username=\xff&password=\xfe", content_type=kind)
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/v1/docs"])
@pytest.mark.parametrize("method", ["options", "post", "put"])
def test_a_documentation_page_refuses_other_methods_in_the_error_format(api, path, method):
    assert fault(getattr(api(), method)(path), 405) == "method_not_allowed"


def test_a_documentation_page_answers_406_to_another_accept_header(api):
    assert fault(api().get("/docs", headers={"Accept": "image/png"}), 406) == "not_acceptable"


@pytest.mark.parametrize("path", ["/openapi.json", "/health"])
@pytest.mark.parametrize("accept", ["application/json", "text/plain", "text/html"])
def test_openapi_and_health_ignore_the_accept_header(api, path, accept):
    assert api().get(path, headers={"Accept": accept}).status_code == 200


def test_long_answers_are_compressed_and_short_ones_are_not(api):
    compressed = api().get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    plain = api().get("/openapi.json")
    assert compressed["Content-Encoding"] == "gzip"
    assert len(compressed.content) < len(plain.content) / 5
    assert "Content-Encoding" not in api().get("/health", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain


@pytest.mark.parametrize(
    ("method", "path", "attr", "body"),
    [
        ("patch", "users/settings", "theme", r'{"theme": "\ud800"}'),
        ("post", "users/api-keys", "scopes", r'{"name": "n", "scopes": ["\ud800"]}'),
        ("post", "detect/exports", "format", r'{"format": "\ud800"}'),
        ("post", "detect/exports", "status", r'{"format": "csv", "status": "a\udfff"}'),
    ],
)
def test_half_a_surrogate_pair_that_an_error_repeats_answers_400(api, user, method, path, attr, body):
    send = getattr(api(user), method)
    response = send(f"/api/v1/{path}", body, content_type="application/json")
    assert response.status_code == 400
    assert [error["attr"] for error in response.json()["errors"]] == [attr]


def test_an_unreachable_database_is_logged_without_a_traceback(api, user, caplog):
    def away(*_):
        raise OperationalError("connection refused")

    client = api(user)
    with connection.execute_wrapper(away):
        assert client.get("/api/v1/users/get-profile").status_code == 503
    assert "Traceback" not in caplog.text
    assert "OperationalError" in caplog.text
