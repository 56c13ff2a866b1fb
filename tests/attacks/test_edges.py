"""What browsers are told: CORS, content security policy and cookies."""

import pytest

PROFILE = "/api/v1/users/get-profile"
APP = "https://app.example.com"


@pytest.fixture
def allowed(settings):
    settings.CORS_ALLOWED_ORIGINS = [APP]


def preflight(client, origin, path=PROFILE, headers="authorization,prefer,idempotency-key"):
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": headers}
    return client.options(path, headers={"Origin": origin, **asked})


def test_an_allowed_origin_may_send_every_header_of_the_api(client, allowed, db):
    response = preflight(client, APP)
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == APP
    assert "PATCH" in response["Access-Control-Allow-Methods"]
    assert {"authorization", "prefer", "idempotency-key", "x-api-key", "x-request-id"} <= set(
        response["Access-Control-Allow-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in response


def test_an_allowed_origin_may_read_the_headers_of_an_error_answer(client, allowed, db):
    response = client.get(PROFILE, headers={"Origin": APP})
    assert response.status_code == 401
    assert response["Access-Control-Allow-Origin"] == APP
    assert {"location", "retry-after", "x-request-id", "etag"} <= set(
        response["Access-Control-Expose-Headers"].split(", ")
    )


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com", "https://app.example.com.evil.com", "https://app.example.com:8443",
        "http://app.example.com", "https://APP.example.com", "https://app-example.com",
        "https://user@app.example.com", "null", "*", "", "file://", "https://app.example.com, https://evil.com",
    ],
)  # fmt: skip  # a list to read at a glance
def test_another_origin_may_not_call_the_api(client, allowed, db, origin):
    for response in (preflight(client, origin), client.get(PROFILE, headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in response
        assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize(
    "path", ["/api/v1/auth/login", PROFILE, "/api/v1/nowhere", "/openapi.json", "/docs", "/health"]
)
def test_no_origin_may_call_with_cookies(client, allowed, db, path):
    for origin in (APP, "null", "https://evil.example.com"):
        for response in (client.get(path, headers={"Origin": origin}), preflight(client, origin, path)):
            assert "Access-Control-Allow-Credentials" not in response
            assert response.get("Access-Control-Allow-Origin", APP) == APP


def test_an_allowed_origin_may_send_an_api_key(client, allowed, db):
    response = preflight(client, APP, headers="x-api-key")
    assert "x-api-key" in response["Access-Control-Allow-Headers"].split(", ")


def test_by_default_no_other_origin_may_call_the_api(client, db):
    assert "Access-Control-Allow-Origin" not in preflight(client, APP)


def test_no_other_origin_may_call_the_admin(client, allowed, db):
    assert "Access-Control-Allow-Origin" not in preflight(client, APP, "/admin/login/")


@pytest.mark.parametrize("path", ["/api/v1/users/get-profile", "/docs", "/redoc", "/admin/login/", "/none"])
def test_pages_run_only_scripts_from_files_and_may_not_be_framed(client, db, path):
    response = client.get(path)
    policy = dict(part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert ("style-src" in policy) == (path in {"/docs", "/redoc"})
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_pages_have_no_inline_scripts_and_serve_their_own(client, db, path):
    page = client.get(path).content.decode()
    assert "<script>" not in page
    for script in (part.split('"')[0] for part in page.split('<script src="')[1:]):
        answer = client.get(script if script.startswith("/") else f"{path}{script}")
        assert answer["Content-Type"].split(";")[0] in {"text/javascript", "application/javascript"}


def test_a_browser_finds_the_favicon(client, db):
    response = client.get("/favicon.ico", follow=True)
    assert (response.status_code, response["Content-Type"]) == (200, "image/svg+xml")


def test_admin_cookies_are_http_only_and_same_site_lax(client, db):
    cookie = client.get("/admin/login/").cookies["csrftoken"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_production_cookies_are_sent_over_https_only(read_settings):
    deployed = read_settings(
        ENVIRONMENT="production", SECRET_KEY="s" * 40, JWT_SECRET_KEY="j" * 40, ALLOWED_HOSTS="x",
        DB_HOST="db", REDIS_HOST="redis", API_BASE_URL="https://api.example.com/vision",
    )  # fmt: skip  # a list to read at a glance
    assert deployed["SESSION_COOKIE_SECURE"] is deployed["CSRF_COOKIE_SECURE"] is True
    assert deployed["CSRF_TRUSTED_ORIGINS"] == ["https://api.example.com"]
    assert read_settings()["SESSION_COOKIE_SECURE"] is False
