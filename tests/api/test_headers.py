"""Security and cache headers of every answer, from Django and from the code before it."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from detections.jobs import processing
from testing.api import MULTIPART, send_through_asgi
from testing.clients import PASSWORD
from testing.endpoints import ENDPOINTS, call
from testing.files.pictures import photo

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Of a page in whose address a secret stands: not even its own links' targets learn the path.
WITH_A_SECRET = {"Referrer-Policy": "strict-origin"}
PAGES = {
    "/docs": 200,
    "/redoc": 200,
    "/redoc?script=": 200,
    "/docs?script=": 200,
    "/openapi.json": 200,
    "/static/objectvision/favicon.svg": 200,
    "/static/admin/js/core.js": 200,
    "/static/nothing.js": 404,
    "/favicon.ico": 302,
    "/admin/": 302,
    "/admin/login/": 200,
    "/health": 200,
    "/nowhere": 404,
    "/api/v1/nowhere": 404,
    "/api/v1/auth/login": 405,
    "/health?x=%00": 200,
    "/p/unknown": 404,
}
# What changes with a deploy alone, or asks again each time.
CACHED = {"/redoc?script=", "/openapi.json", "/static/objectvision/favicon.svg", "/static/admin/js/core.js"}

# The history too, but not within a transaction.
CONDITIONAL = {
    ("GET", "detect/<uuid:pk>"), ("GET", "detect/jobs/<uuid:pk>"), ("GET", "detect/public/<uuid:pk>"),
    ("GET", "detect/public/<uuid:pk>/thumbnail"), ("GET", "detect/shared/<str:token>"),
}  # fmt: skip  # a list to read at a glance


def assert_guarded(response, **differing):
    expected = ALWAYS | differing
    assert {name: response.headers.get(name) for name in expected} == expected
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["default-src"] + policy.get("script-src", "")
    assert "Server" not in response.headers
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(("path", "status"), PAGES.items())
def test_every_page_has_security_headers_and_only_public_files_are_cached(client, db, path, status):
    response = client.get(path)
    assert response.status_code == status
    assert_guarded(response)
    assert ("no-store" in response["Cache-Control"]) == (path not in CACHED)


@pytest.mark.parametrize("who", ["owner", "stranger", "anonymous"])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_endpoint_has_security_headers_and_is_kept_by_no_shared_cache(
    api,
    owned,
    user,
    stranger,
    who,
    method,
    path,
):
    client = api({"owner": user, "stranger": stranger}.get(who))
    response = call(client, method, path, owned)
    assert_guarded(response, **WITH_A_SECRET if (method, path) == ("GET", "auth/verify-email") else {})
    kept = response["Cache-Control"]
    if ("/image" in path or (method, path) in CONDITIONAL) and response.status_code == 200:  # asks again
        assert kept == "private, no-cache"
    elif path != "openapi.json":
        assert "no-store" in kept
    response.close()


def test_answers_with_tokens_are_no_store(api, user):
    login = api().post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD})
    refresh = api().post("/api/v1/auth/refresh", {"refresh_token": login.json()["refresh_token"]})
    for response in (login, refresh):
        assert (response.status_code, response["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("which", ["image", "images/{image}"])
@pytest.mark.parametrize("download", [False, True])
def test_pictures_have_the_right_content_type_and_a_safe_file_name(api, user, detector, which, download):
    client = api(user)
    form = {"image": SimpleUploadedFile('a"; filename=x.html\\\u202egpj.jpg', photo())}
    detection = client.post("/api/v1/detect/image", form, format="multipart").json()["detection_id"]
    processing.process_waiting()
    image = client.get(f"/api/v1/detect/{detection}").json()["images"][0]["id"]
    path = f"/api/v1/detect/{detection}/{which.format(image=image)}"
    response = client.get(path, {"download": "true"} if download else {})
    assert response["Content-Type"] == "image/jpeg"
    kind, _, name = response["Content-Disposition"].partition("; ")
    assert kind == ("attachment" if download else "inline")
    assert name.count(";") == 0
    assert name.endswith('.jpg"')
    assert_guarded(response)
    response.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/v1/detect/image", {"Content-Type": MULTIPART, "Content-Length": "300000000"}, 413),
        ("/api/v1/auth/login", {"Content-Type": "application/json; charset*=foo''bar"}, 400),
    ],
)
def test_answers_given_before_django_have_security_headers_too(db, path, headers, status):
    response = send_through_asgi("POST", path, headers, b"")
    assert response.status_code == status
    assert_guarded(response)
    assert response.headers["Cache-Control"] == "no-store"


def test_over_https_answers_carry_hsts_and_http_is_redirected(client, db, settings, read_settings):
    deployed = read_settings(SECURE_SSL_REDIRECT="true")
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = deployed["SECURE_HSTS_SECONDS"]
    redirect = client.get("/docs")
    assert_guarded(redirect)
    assert redirect["Location"] == "https://testserver/docs"
    assert client.get("/docs", secure=True)["Strict-Transport-Security"] == "max-age=31536000"
    assert client.get("/health").status_code == 200  # probes come by plain HTTP
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    told = Client().get("/docs", secure=True)["Strict-Transport-Security"]
    assert told == "max-age=31536000; includeSubDomains"


def test_admin_pages_have_no_inline_scripts_and_no_password_hashes(client, user, submit):
    user.is_staff = user.is_superuser = True
    user.save()
    detection = submit(user, photo())
    client.force_login(user)
    for path in ("", "accounts/user/", f"accounts/user/{user.pk}/change/", "detections/detection/"):
        page = client.get(f"/admin/{path}")
        assert page.status_code == 200
        assert_guarded(page)
        text = page.content.decode()
        assert "<script>" not in text
        assert " onclick=" not in text
        assert user.password not in text
    assert client.get(f"/admin/detections/detection/{detection.pk}/change/").status_code == 200
