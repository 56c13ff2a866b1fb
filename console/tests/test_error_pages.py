"""Browsers get pages for errors, programs JSON."""

import pytest
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import UserSettings

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}

pytestmark = pytest.mark.django_db


def heading_of(response):
    assert response["Content-Type"].startswith("text/html")
    assert "Accept" in response["Vary"]
    content = response.content.decode()
    assert "<script" not in content
    return content.partition("<h1>")[2].partition("</h1>")[0]


@pytest.mark.parametrize("path", ["/nowhere", "/results/x", "/login/", "/%00"])
def test_a_browser_gets_a_page_for_what_does_not_exist(client, path):
    response = client.get(path, headers=HTML)
    assert (response.status_code, heading_of(response)) == (404, "There is no such page")


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1/nowhere", "/health/", "/docs/x", "/openapi.json/", "/metrics/x"]
)
def test_paths_of_programs_answer_json_to_browsers_too(client, path):
    response = client.get(path, headers=HTML)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/html", "text/plain", ""]
)
def test_clients_that_take_json_or_anything_get_json(client, accept):
    response = client.get("/nowhere", headers={"Accept": accept})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/login", "/signup", "/logout", "/forgot-password", "/end-access", "/admin/login/"]
)
def test_a_form_of_an_old_page_says_to_reload_it(path):
    client = Client(enforce_csrf_checks=True)
    response = client.post(path, headers={**HTML, "Referer": "http://testserver/login?next=/public"})
    assert (response.status_code, heading_of(response)) == (403, "This page is out of date")
    assert 'href="http://testserver/login?next=/public"' in response.content.decode()
    refused = client.post(path)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "csrf_failed")


@pytest.mark.parametrize(
    "referer", ["", "https://evil.example.com/", "javascript:alert(1)", "//evil.example.com"]
)
def test_the_page_of_a_refused_form_links_to_this_server_alone(referer):
    client = Client(enforce_csrf_checks=True)
    content = client.post("/login", headers={**HTML, "Referer": referer}).content.decode()
    assert 'href="/">Reload the page' in content
    assert "evil" not in content


def test_without_the_database_pages_say_to_try_again_and_nothing_of_the_inside(client):
    def broken(*_):
        raise OperationalError("connection to db.internal failed")

    client.raise_request_exception = False
    with connection.execute_wrapper(broken):
        page = client.get("/public", headers=HTML)
        answer = client.get("/public")
    assert (page.status_code, heading_of(page)) == (503, "The service is unavailable for the moment")
    assert "internal" not in page.content.decode()
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "unavailable")
    assert page["Retry-After"] == answer["Retry-After"] == "5"


def test_a_fault_of_a_page_says_nothing_of_the_inside(client, monkeypatch):
    def broken(*_):
        raise RuntimeError("fault of the inside")

    client.raise_request_exception = False
    monkeypatch.setattr("console.views.public.read_place", broken)
    page, answer = client.get("/public", headers=HTML), client.get("/public")
    assert (page.status_code, heading_of(page)) == (500, "Something went wrong here")
    assert "inside" not in page.content.decode()
    assert (answer.status_code, answer.json()["type"]) == (500, "server_error")


def test_too_many_requests_are_a_page(client, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (1, 60)}
    pages = [client.get("/login") for _ in range(2)]
    assert [page.status_code for page in pages] == [200, 429]
    assert "Too many requests" in pages[1].content.decode()
    assert 0 < int(pages[1]["Retry-After"]) <= 60


def test_a_request_that_is_not_understood_is_a_page(client):
    fields = {f"field-{number}": "" for number in range(1200)}
    page, answer = client.post("/login", fields, headers=HTML), client.post("/login", fields)
    assert (page.status_code, heading_of(page)) == (400, "The server does not understand this")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "parse_error")


def test_at_an_unknown_host_people_read_what_to_do(client):
    page = client.get("/", headers={**HTML, "Host": "evil.example.com"})
    answer = client.get("/", headers={"Host": "evil.example.com"})
    assert (page.status_code, heading_of(page)) == (400, "The server has another name")
    assert "ALLOWED_HOSTS" in page.content.decode()
    assert "evil" not in page.content.decode()
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "parse_error")


def test_error_pages_have_the_users_theme(console, user):
    UserSettings.objects.create(user=user, theme="dark")
    themes = {None: "system", user: "dark"}
    for who, theme in themes.items():
        browser = console(who)
        browser.handler.enforce_csrf_checks = True
        for page in (browser.get("/nowhere", headers=HTML), browser.post("/login", headers=HTML)):
            assert f'data-theme="{theme}"' in page.content.decode()


def test_a_missing_page_needs_no_database(console, user):
    def broken(*_):
        raise OperationalError("connection failed")

    browser = console(user)
    with connection.execute_wrapper(broken):
        assert heading_of(browser.get("/nowhere", headers=HTML)) == "There is no such page"
