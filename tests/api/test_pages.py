"""The pages in a real browser: no console errors, no requests to other hosts."""

import re

import pytest

from testing import stacks
from testing.browsers import faultless_page
from testing.clients import PASSWORD
from testing.files.pictures import photo
from testing.waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory, standin_folder):
    with stacks.running("embedded", tmp_path_factory.mktemp("pages"), standin_folder) as stack:
        stack.manage(
            "shell", "-c",
            "from accounts.models import User;"
            f"User.objects.create_superuser('root@example.com', '{PASSWORD}')",
        )  # fmt: skip  # a command line
        stack.client().sign_up().upload(photo(), wait=30).raise_for_status()
        yield stack


@pytest.fixture
def page(site, browser):
    with faultless_page(browser, site.url) as page:
        yield page


def test_swagger_ui_shows_operations_and_tries_one_out(page):
    page.goto("/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() > 20
    page.locator("#operations-health-health_retrieve, [id^=operations-health]").first.click()
    page.get_by_text("Try it out").click()
    page.get_by_text("Execute", exact=True).click()
    page.wait_for_selector(".live-responses-table")
    assert "objectvision" in page.locator(".live-responses-table").inner_text()


def test_redoc_renders_and_searches_the_document(page):
    page.goto("/redoc")
    page.wait_for_selector("h1")
    assert "ObjectVision" in page.locator("h1").first.inner_text()
    page.get_by_placeholder("Search...").fill("annotated")
    page.wait_for_selector('[role="search"] [data-role="search:results"]')


def test_the_admin_works_in_a_browser_from_login_to_change_pages(page):
    page.goto("/admin/")
    page.fill("#id_username", "root@example.com")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    page.wait_for_selector("#user-tools")
    for path in ("accounts/user", "accounts/session", "detections/detection", "detections/detector"):
        page.goto(f"/admin/{path}/")
        page.locator("#result_list tbody th a").first.click()
        page.wait_for_selector(".submit-row, .readonly")
    page.goto("/admin/accounts/user/add/")
    page.wait_for_selector("#id_password1")


def mailed_link(stack, path):
    """The last one of this path that the embedded server has printed."""
    found = until(
        lambda: re.findall(rf"^http://localhost:\d+({path}\S+)$", stack.log("serve"), re.MULTILINE), 20
    )
    return found[-1]


def test_a_password_can_be_reset_on_a_page_without_scripts(page, site):
    client = site.client().sign_up()
    email = client.get("users/get-profile").json()["email"]
    client.post("auth/password/reset", json={"email": email}).raise_for_status()
    link = mailed_link(site, "/reset-password")
    page.goto(link)
    assert page.locator("script").count() == 0
    page.get_by_label("New password", exact=True).fill("another-passphrase")
    page.get_by_label("New password confirmation").fill("another-passphrase")
    page.get_by_role("button", name="Change my password").click()
    page.get_by_text("Your password is changed").wait_for()
    assert page.url == f"{site.url}/reset-password"  # the secret has left the address
    assert client.get("users/get-profile").status_code == 401
    account = {"email": email, "password": "another-passphrase"}
    assert client.post("auth/login", json=account, headers={"Authorization": ""}).status_code == 200


def test_an_email_address_can_be_verified_on_a_page(page, site):
    client = site.client().sign_up()
    page.goto(mailed_link(site, "/api/v1/auth/verify-email"))
    page.get_by_role("heading", name="Your address is verified").wait_for()
    assert client.get("users/get-profile").json()["email_verified_at"] is not None
