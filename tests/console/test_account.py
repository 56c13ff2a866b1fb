"""The account page in a real browser: what is made in it works, and what is ended in it ends."""

import re
from contextlib import contextmanager
from zipfile import ZipFile

import pytest
import requests

from testing import stacks
from testing.browsers import accessibility_faults, faultless_page, log_in
from testing.clients import PASSWORD
from testing.files.pictures import photo
from testing.peers.receivers import Answer, receiving
from testing.waiting import until

HOSTILE = '<img src=x onerror="alert(1)"> \u202egnp.exe 🦊'
NARROW = {"width": 360, "height": 740}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

pytestmark = pytest.mark.browser


@pytest.fixture
def owner(stack):
    return stack.client().sign_up()


@pytest.fixture
def site(embedded_stack):
    """For what is the same in both forms."""
    return embedded_stack


@pytest.fixture
def member(site):
    return site.client().sign_up()


@contextmanager
def account_page(browser, stack, owner, path="/account", **options):
    """The page of the user, who has just logged in; a dialog of the browser's own would be injected code."""
    with faultless_page(browser, stack.url, **options) as page:
        log_in(page, owner.email)
        alerts = []
        page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
        open_page(page, path)
        yield page
        assert alerts == []


def open_page(page, path="/account"):
    page.goto(path)
    if path == "/account":
        page.locator("#numbers:not([aria-busy])").wait_for()


def press(scope, name):
    scope.get_by_role("button", name=name, exact=True).click()


def confirm(page, name):
    press(page.get_by_role("dialog"), name)


def faults(scope):
    scope.locator(".fault").first.wait_for()
    return scope.locator(".fault").all_inner_texts()


def secret_shown(page):
    secret = page.locator("output.secret").inner_text()
    press(page.get_by_role("dialog"), "Done")
    return secret


def make_webhook(owner, receiver, **values):
    return owner.post("webhooks", json={"url": receiver.url, **values}).json()


def deliveries(page, state):
    return page.locator("#log li").filter(has_text=state)


def test_a_key_made_in_the_page_works_until_it_is_revoked(stack, browser, owner):
    with account_page(browser, stack, owner) as page:
        press(page, "New key")
        dialog = page.get_by_role("dialog", name="New API key")
        dialog.get_by_label("Name", exact=True).fill(HOSTILE)
        dialog.get_by_label("account Read and change").check()
        dialog.get_by_label("Expires").select_option("In 30 days")
        press(dialog, "Make key")
        key = secret_shown(page)
        row = page.locator("#keys li")
        assert HOSTILE in row.inner_text()
        assert re.search(r"account\s+detect\s+read\s+Never used\s+Expires \d", row.inner_text())

        def status():
            url = f"{stack.url}/api/v1/users/settings"
            return requests.get(url, headers={"X-API-Key": key}, timeout=30).status_code

        assert status() == 200
        open_page(page)
        assert "Last used" in row.inner_text()
        assert key not in page.content()
        row.get_by_role("button").click()
        confirm(page, "Revoke")
        row.wait_for(state="detached")
        assert status() == 401


def test_a_webhook_is_tried_and_what_failed_is_sent_again(stack, browser, owner):
    with receiving() as receiver, account_page(browser, stack, owner) as page:
        press(page, "New webhook")
        dialog = page.get_by_role("dialog", name="New webhook")
        dialog.get_by_label("Address").fill(receiver.url)
        dialog.get_by_label("Description").fill(HOSTILE)
        press(dialog, "Add webhook")
        secret = secret_shown(page)
        page.locator("#webhook-list").get_by_role("link", name="Manage").click()
        assert HOSTILE in page.locator("#webhook-state").inner_text()
        press(page, "Send a ping")
        deliveries(page, "Delivered").wait_for()
        assert [body["type"] for body in receiver.verified(secret)] == ["ping"]

        receiver.answers = [Answer(500, HOSTILE.encode(), (("X-Odd", "<b>x</b>"),))]
        press(page, "Send a ping")
        failed = deliveries(page, "Failed")
        failed.wait_for()
        assert "answered 500" in failed.inner_text()
        page.get_by_role("link", name="Failed").click()
        deliveries(page, "Delivered").wait_for(state="detached")
        failed.get_by_role("link").click()
        answer = page.get_by_role("article", name="Attempt")
        assert "<b>x</b>" in answer.inner_text()
        assert HOSTILE in answer.get_by_role("region").inner_text()
        press(page, "Send again")
        page.get_by_text("Delivered", exact=True).first.wait_for()
        assert answer.count() == 2
        assert len({*receiver.ids}) == 2
        assert len(receiver.verified(secret)) == 3


def test_a_webhook_is_changed_paused_given_a_new_secret_and_deleted(site, browser, member):
    with receiving() as receiver:
        webhook = make_webhook(member, receiver)
        with account_page(browser, site, member, f"/account/webhooks/{webhook['id']}") as page:
            page.get_by_label("Description").fill("Line 2")
            page.get_by_label("All, also").uncheck()
            page.get_by_label("export.failed").check()
            press(page, "Save webhook")
            page.locator("#webhook-form .saved", has_text="Saved").wait_for()
            page.locator("#webhook-state", has_text="Line 2").get_by_text("export.failed").wait_for()
            press(page, "Replace secret")
            confirm(page, "Replace")
            secret = secret_shown(page)
            press(page, "Send a ping")
            deliveries(page, "Delivered").wait_for()
            for signing in (secret, webhook["secret"]):
                assert len(receiver.verified(signing)) == 1
            press(page, "Pause")
            confirm(page, "Pause")
            page.get_by_text("Paused", exact=True).wait_for()
            press(page, "Resume")
            page.get_by_text("Active", exact=True).wait_for()
            press(page, "Delete webhook")
            confirm(page, "Delete")
            page.get_by_text("No webhooks yet").wait_for()
            page.locator("#numbers:not([aria-busy])").wait_for()
    assert member.get("webhooks").json()["total"] == 0


def test_failures_of_a_span_of_time_are_sent_again(site, browser, member):
    with receiving() as receiver:
        receiver.answers = [Answer(500)] * 2
        webhook = make_webhook(member, receiver)
        path = f"webhooks/{webhook['id']}"
        for count in (1, 2):
            member.post(f"{path}/ping").raise_for_status()
            until(lambda count=count: member.get(f"{path}/deliveries?state=failed").json()["total"] == count)
        with account_page(browser, site, member, f"/account/{path}", refusals=True) as page:
            form = page.locator("#replay-form")
            press(form, "Send again")
            assert faults(form) == ["This field is required."]
            form.get_by_label("From").fill("2026-01-01T00:00")
            press(form, "Send again")
            page.get_by_text("Deliveries that are sent again: 2.").wait_for()
            until(lambda: deliveries(page, "Delivered").count() == 2)
        assert len(receiver.asked) == 4


@stacks.both_ways
def test_ending_a_session_makes_its_browser_leave(stack, browser, owner):
    with (
        account_page(browser, stack, owner, user_agent=FIREFOX) as other,
        account_page(browser, stack, owner) as page,
    ):
        row = page.locator("#session-list li").filter(has_text="Firefox 145 on Linux")
        assert "This browser" not in row.inner_text()
        row.get_by_role("button").click()
        row.wait_for(state="detached")
        other.wait_for_url("**/login?next=%2Faccount", timeout=5000)
        assert "This browser" in page.locator("#session-list li").first.inner_text()


def test_logging_out_everywhere_ends_this_browser_too(stack, browser, owner):
    with account_page(browser, stack, owner) as page:
        press(page, "Log out everywhere")
        confirm(page, "Log out everywhere")
        page.wait_for_url("**/login")
        page.goto("/account")
        page.wait_for_url("**/login?next=*")
    assert owner.get("users/settings").status_code == 401


def test_a_theme_acts_at_once_and_is_kept(site, browser, member):
    with account_page(browser, site, member, color_scheme="light") as page:
        assert background(page) == "rgb(255, 255, 255)"
        page.get_by_label("Dark").check()
        assert background(page) == "rgb(15, 18, 22)"
        page.locator("#theme-form .saved", has_text="Saved").wait_for()
        open_page(page)
        assert background(page) == "rgb(15, 18, 22)"
        assert page.get_by_label("Dark").is_checked()
    assert member.get("users/settings").json()["theme"] == "dark"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_settings_are_saved_section_by_section(site, browser, member):
    with account_page(browser, site, member) as page:
        page.get_by_label("Name", exact=True).first.fill("Ada <b>")
        press(page, "Save name")
        page.locator("#name-form .saved", has_text="Saved").wait_for()
        assert page.locator(".who-name").inner_text() == "Ada <b>"
        defaults = page.locator("#defaults-form")
        defaults.get_by_label("Confidence").fill("0.4")
        defaults.get_by_label("Classes", exact=True).fill(HOSTILE)
        defaults.get_by_label("Classes", exact=True).press("Enter")
        defaults.get_by_label("Classes", exact=True).fill("bus")  # added by saving
        defaults.get_by_label("Keep detections for").fill("30")
        defaults.get_by_label("Show my name").check()
        press(page, "Save defaults")
        defaults.locator(".saved", has_text="Saved").wait_for()
        page.get_by_label("Mail me when").uncheck()
        assert member.get("users/settings").json()["notifications"] is True
        press(page, "Save notifications")
        page.locator("#notifications-form .saved", has_text="Saved").wait_for()
        press(page, "Send the mail again")
        page.get_by_text("It is on its way.").wait_for()
        open_page(page)
        assert page.locator("#class-tokens li").all_inner_texts() == [HOSTILE, "bus"]
        press(page, "Remove bus")
        press(page, "Save defaults")
        defaults.locator(".saved", has_text="Saved").wait_for()
    assert member.get("users/settings").json() == {
        "theme": "system",
        "notifications": False,
        "default_confidence": 0.4,
        "default_classes": [HOSTILE],
        "retention_days": 30,
        "show_name": True,
    }


def test_faults_stand_beside_their_fields_and_go_when_they_are_mended(site, browser, member):
    with account_page(browser, site, member, refusals=True) as page:
        defaults = page.locator("#defaults-form")
        defaults.get_by_label("Confidence").fill("2")
        defaults.get_by_label("Keep detections for").fill("0")
        press(page, "Save defaults")
        texts = ["less than or equal to 1.", "greater than or equal to 1."]
        assert [fault.endswith(text) for fault, text in zip(faults(defaults), texts, strict=True)]
        field = defaults.get_by_label("Confidence")
        assert field.get_attribute("aria-invalid") == "true"
        assert field.evaluate("field => field === document.activeElement")
        field.fill("0.5")
        defaults.get_by_label("Keep detections for").fill("")
        press(page, "Save defaults")
        defaults.locator(".saved", has_text="Saved").wait_for()
        assert defaults.locator(".fault, [aria-invalid]").count() == 0

        password = page.locator("#password-form")
        password.get_by_label("Current password").fill("wrong")
        password.get_by_label("New password").fill("12345")
        press(password, "Change password")
        assert faults(password) == ["The password is wrong."]
        password.get_by_label("Current password").fill(PASSWORD)
        press(password, "Change password")
        password.get_by_text("too short").wait_for()
        password.get_by_label("New password").fill("another-long-passphrase")
        press(password, "Change password")
        password.get_by_text("Changed.").wait_for()
        assert password.get_by_label("Current password").input_value() == ""

        press(page, "New key")
        dialog = page.get_by_role("dialog")
        for scope in ("detect Upload", "read Read"):
            dialog.get_by_label(scope).uncheck()
        press(dialog, "Make key")
        assert faults(dialog) == ["This field may not be blank.", "This selection may not be empty."]
        page.keyboard.press("Escape")
        press(page, "New webhook")
        dialog.get_by_label("Address").fill("ftp://example.com")
        dialog.get_by_label("All, also").uncheck()
        press(dialog, "Add webhook")
        assert len(faults(dialog)) == 2
        page.keyboard.press("Escape")
    assert member.get("users/settings").status_code == 401  # its session was another one


def test_everything_is_downloaded(site, browser, member):
    detection = member.upload(photo(), wait=20).json()
    with account_page(browser, site, member, refusals=True) as page:
        assert page.locator('[data-number="images"]').inner_text() == "1"
        with page.expect_download() as started:
            page.get_by_role("link", name="Download everything").click()
        with ZipFile(started.value.path()) as archive:
            assert "account.json" in archive.namelist()
            assert f"detections/{detection['id']}.json" in archive.namelist()


def test_deleting_the_account_erases_it(stack, browser, owner):
    owner.upload(photo(), wait=20)
    with account_page(browser, stack, owner, refusals=True) as page:
        press(page, "Delete account…")
        dialog = page.get_by_role("dialog")
        button = dialog.get_by_role("button", name="Delete for good")
        assert button.is_disabled()
        dialog.get_by_label("Type").fill(owner.email)
        dialog.get_by_label("Password").fill("wrong")
        button.click()
        assert faults(dialog) == ["The password is wrong."]
        dialog.get_by_label("Password").fill(PASSWORD)
        button.click()
        page.wait_for_url(lambda url: "/account" not in url)
        assert page.goto("/account").url.startswith(f"{stack.url}/login")
    assert owner.get("users/settings").status_code == 401
    account = {"email": owner.email, "password": PASSWORD}
    assert owner.post("auth/login", json=account).status_code == 401


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit(site, browser, member, theme):
    member.post("users/api-keys", json={"name": "x" * 100}).raise_for_status()
    with receiving() as receiver:
        receiver.answers = [Answer(500, b"x" * 300)]
        webhook = make_webhook(member, receiver, description="x" * 200)
        path = f"webhooks/{webhook['id']}"
        delivery = member.post(f"{path}/ping").json()["id"]
        until(lambda: member.get(f"{path}/deliveries?state=failed").json()["total"])
    options = {"viewport": NARROW, "color_scheme": theme}
    with account_page(browser, site, member, **options) as page:
        for opened in ("New key", "New webhook", "Delete account…"):
            press(page, opened)
            assert_usable(page)
            page.keyboard.press("Escape")
        for shown in ("/account", f"/account/{path}", f"/account/{path}/{delivery}"):
            open_page(page, shown)
            assert_usable(page)


def assert_usable(page):
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_keys_are_made_and_revoked_by_keyboard(site, browser, member):
    with account_page(browser, site, member) as page:
        page.get_by_role("button", name="New key").focus()
        page.keyboard.press("Enter")
        page.keyboard.type("Camera")
        page.keyboard.press("Enter")
        page.locator("output.secret").wait_for()
        page.keyboard.press("Escape")
        revoke = page.get_by_role("button", name="Revoke Camera")
        revoke.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        assert revoke.evaluate("button => button === document.activeElement")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("No keys yet").wait_for()


def test_an_unreachable_server_is_told_where_it_was_asked(site, browser, member):
    page = browser.new_context(base_url=site.url).new_page()
    log_in(page, member.email)
    open_page(page)
    page.route("**/api/v1/**", lambda route: route.abort())
    press(page, "Save name")
    assert faults(page.locator("#name-form")) == ["The server cannot be reached."]
    page.context.close()
