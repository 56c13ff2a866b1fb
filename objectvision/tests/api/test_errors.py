import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection

FORM = {"type", "errors"}


def fault(response, status, kind="client_error"):
    """The one error in an answer of the contract's form."""
    assert response.status_code == status
    assert response["Content-Type"].startswith("application/json")
    content = response.json()
    assert set(content) == FORM
    assert content["type"] == kind
    (error,) = content["errors"]
    assert set(error) == {"code", "detail", "attr"}
    return error["code"]


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/v1/", "/api/v1/nowhere", "/api/v1/detect/no-uuid", "/health/"]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_route_is_404_in_the_contracts_form(api, path, method):
    assert fault(getattr(api(), method)(path), 404) == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("get", "/api/v1/auth/login", "POST, OPTIONS"),
        ("put", "/api/v1/auth/signup", "POST, OPTIONS"),
        ("delete", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_right(api, method, path, allowed):
    response = getattr(api(), method)(path)
    assert fault(response, 405) == "method_not_allowed"
    assert response["Allow"] == allowed


def test_a_wrong_method_on_a_detection_is_405(api, user):
    response = api(user).put("/api/v1/detect/image", {})
    assert fault(response, 405) == "method_not_allowed"


def test_a_database_that_is_away_is_503_without_internals(api, user):
    def away(*_):
        raise OperationalError("connection to db.internal failed")

    client = api(user)
    client.raise_request_exception = False
    with connection.execute_wrapper(away):
        response = client.get("/api/v1/users/get-profile")
    assert fault(response, 503, "server_error") == "unavailable"
    assert "internal" not in response.content.decode()
    assert response["Retry-After"] == "5"


def test_a_fault_of_ours_is_500_without_internals_and_a_traceback_in_the_log(api, user, caplog):
    def broken(*_):
        raise RuntimeError("a secret of ours")

    client = api(user)
    client.raise_request_exception = False
    with connection.execute_wrapper(broken):
        response = client.get("/api/v1/users/get-profile")
    assert fault(response, 500, "server_error") == "error"
    assert "secret" not in response.content.decode()
    assert "a secret of ours" in caplog.text


def test_a_host_that_is_not_ours_is_refused_in_the_contracts_form(api):
    assert fault(api().get("/health", headers={"Host": "evil.example.com"}), 400) == "parse_error"


def test_a_body_over_the_limit_for_fields_is_413(api, user, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = api(user).post("/api/v1/detect/image", {"name": "x" * 200}, format="multipart")
    assert fault(response, 413) == "too_large"


def test_a_form_with_very_many_fields_is_400(api, user, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 2
    response = api(user).post("/api/v1/detect/image", {"a": "1", "b": "2", "c": "3"}, format="multipart")
    assert fault(response, 400, "validation_error") == "too_many_fields"


def test_a_form_with_very_many_files_is_400(api, user, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 1
    files = {name: SimpleUploadedFile(name, b"x") for name in ("image", "other")}
    response = api(user).post("/api/v1/detect/image", files, format="multipart")
    assert fault(response, 400, "validation_error") == "too_many_files"


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"email": }', b""])
def test_json_that_is_none_is_400(api, content):
    response = api().generic("POST", "/api/v1/auth/login", content, content_type="application/json")
    assert response.status_code == 400
    assert set(response.json()) == FORM


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "zlib", "rot13", "undefined", "idna", "utf-16"])
def test_no_charset_of_a_body_is_a_fault_of_ours(api, charset):
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        response = api().generic(
            "POST", "/api/v1/auth/login", b"[]", content_type=f"{kind}; charset={charset}"
        )
        assert response.status_code == 400
        assert set(response.json()) == FORM


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/signup"])
def test_json_that_is_nested_without_end_is_malformed(api, db, path):
    response = api().post(path, b"[" * 100_000, content_type="application/json")
    assert fault(response, 400) == "parse_error"


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-16"])
def test_a_form_in_an_odd_encoding_is_refused(api, db, charset):
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    response = api().post("/api/v1/auth/login", b"username=\xff&password=\xfe", content_type=kind)
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/v1/docs"])
@pytest.mark.parametrize("method", ["options", "post", "put"])
def test_a_page_refuses_other_methods_in_the_contracts_form(api, path, method):
    assert fault(getattr(api(), method)(path), 405) == "method_not_allowed"


def test_a_page_that_is_wanted_in_another_form_is_refused_in_the_contracts_form(api):
    assert fault(api().get("/docs", headers={"Accept": "image/png"}), 406) == "not_acceptable"


@pytest.mark.parametrize("path", ["/openapi.json", "/health"])
@pytest.mark.parametrize("accept", ["application/json", "text/plain", "text/html"])
def test_what_has_one_form_comes_whatever_the_client_accepts(api, path, accept):
    assert api().get(path, headers={"Accept": accept}).status_code == 200


def test_long_texts_are_compressed_and_short_ones_are_not(api):
    compressed = api().get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    plain = api().get("/openapi.json")
    assert compressed["Content-Encoding"] == "gzip"
    assert len(compressed.content) < len(plain.content) / 5
    assert "Content-Encoding" not in api().get("/health", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain
