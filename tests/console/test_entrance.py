"""Signing up, logging in and out in a real browser, and pages of other sites that would like to."""

import re
from types import SimpleNamespace
from uuid import uuid4

import pytest

from testing import browsers, services, stacks
from testing.browsers import accessibility_faults, log_in
from testing.clients import PASSWORD
from testing.waiting import until

HOSTILE = '"><img src=x onerror=alert(1)>\u202e👩🏽‍🚀' + "n" * 100

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    """As browsers of users do, it keeps pages in memory for Back."""
    with browsers.launched(ignore_default_args=["--disable-back-forward-cache"]) as browser:
        yield browser


@pytest.fixture
def page(stack, browser):
    """Fails the test if a page opens a dialog or breaks its policy. The next page may break off requests."""
    page, faults = browser.new_page(base_url=stack.url), []
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on("console", lambda told: "Content Security Policy" in told.text and faults.append(told.text))
    yield page
    page.close()
    assert faults == []


@pytest.fixture
def tabs(stack, browser):
    """Two tabs of one browser. `shown` are their texts when Back has brought pages from its memory."""
    context = browser.new_context(base_url=stack.url)
    shown = []

    def note(text):
        shown.append(text)

    context.expose_function("seen", note)
    context.add_init_script("""addEventListener("pageshow", (event) => {
        if (event.persisted) requestAnimationFrame(async () => {
            await seen(document.body.innerText);
            document.documentElement.dataset.seen = "";
        });
    })""")
    yield SimpleNamespace(first=context.new_page(), second=context.new_page(), shown=shown)
    context.close()


@pytest.fixture
def foreign(stack, browser):
    """A page of another port, whose requests carry the cookies, in a browser that is logged in."""
    context = browser.new_context(base_url=stack.url)
    email = stack.client().sign_up().email
    log_in(context.new_page(), email)
    page = context.new_page()
    origin = f"http://{stack.address}:{services.free_port()}"
    page.route(
        f"{origin}/**",
        lambda route: route.fulfill(body="<!doctype html><title>Evil</title>", content_type="text/html"),
    )
    page.goto(f"{origin}/")
    yield page
    context.close()


def new_account():
    return f"{uuid4().hex}@example.com"


def fill(page, **values):
    for label, value in values.items():
        page.get_by_label(label.replace("_", "-"), exact=True).fill(value)


def send(page, name):
    page.get_by_role("main").get_by_role("button", name=name).click()


def log_out(page):
    page.get_by_role("button", name="Account menu").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()


def mailed_link(stack, email, path):
    """The last link of this path that was mailed to the address."""
    log = "serve" if "serve" in stack.processes else "default"
    pattern = rf"^To: {re.escape(email)}$(?:.|\n)*?^https?://[^/\s]+({path}\S+)$"
    return until(lambda: re.findall(pattern, stack.log(log), re.MULTILINE), 20)[-1]


def test_a_visitor_signs_up_logs_out_and_logs_in_again(page):
    email = new_account()
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    fill(page, Name=HOSTILE, E_mail=email, Password=PASSWORD)
    send(page, "Sign up")
    page.get_by_text(f"We have sent a mail to {email}").wait_for()
    assert page.locator(".who-name").text_content() == HOSTILE
    for path in ("/public", "/account", "/"):
        page.goto(path)
        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    log_out(page)
    page.goto("/login?next=/public")
    fill(page, E_mail=email, Password=PASSWORD)
    send(page, "Log in")
    page.wait_for_url("**/public")
    page.get_by_role("button", name="Account menu").wait_for()


def test_faults_stand_beside_their_fields_and_keep_what_was_typed(stack, browser):
    page = browser.new_page(base_url=stack.url)
    page.goto("/signup")
    email = new_account()
    fill(page, Name="Ada", E_mail=email, Password="short")
    send(page, "Sign up")
    page.get_by_text("This password is too short.").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "Ada"
    assert page.get_by_label("E-mail").input_value() == email
    assert page.evaluate("document.activeElement.name") == "password"
    assert page.get_by_label("Password", exact=True).input_value() == ""
    assert accessibility_faults(page) == []
    page.close()


def test_a_forgotten_password_is_reset_by_a_mailed_link(stack, page):
    client = stack.client().sign_up()
    page.goto("/login")
    page.get_by_role("link", name="Forgot your password?").click()
    fill(page, E_mail=client.email)
    send(page, "Send me a link")
    page.get_by_text("If there is an account with this address").wait_for()
    page.goto(mailed_link(stack, client.email, "/reset-password"))
    page.get_by_label("New password", exact=True).fill("another-passphrase")
    page.get_by_label("New password confirmation").fill("another-passphrase")
    page.get_by_role("button", name="Change my password").click()
    page.get_by_role("link", name="Log in").click()
    fill(page, E_mail=client.email, Password="another-passphrase")
    send(page, "Log in")
    page.get_by_role("button", name="Account menu").wait_for()
    assert client.get("users/get-profile").status_code == 401


def test_a_log_out_ends_the_other_tab_and_back_shows_nothing_of_before(stack, tabs):
    email = stack.client().sign_up().email
    log_in(tabs.first, email)
    tabs.first.goto("/public")
    tabs.first.goto("/")
    tabs.first.evaluate("history.back()")
    tabs.first.wait_for_url("**/public", wait_until="commit")
    tabs.first.locator(".who-name").wait_for(state="visible")
    tabs.second.goto("/public")
    tabs.second.locator(".who-name").wait_for()
    tabs.first.locator("html[data-seen]").wait_for(state="attached")
    tabs.shown.clear()
    log_out(tabs.first)
    tabs.second.wait_for_url("**/login?next=*", timeout=5000)
    tabs.first.evaluate("history.back()")
    tabs.first.get_by_role("heading", name="Log in").wait_for()
    assert email not in "".join(tabs.shown)


def test_back_shows_nothing_of_a_log_in_that_has_ended_elsewhere(stack, tabs):
    client = stack.client().sign_up()
    log_in(tabs.first, client.email)
    tabs.first.goto("/public")
    tabs.first.goto("/docs")
    client.post("auth/logout-all").raise_for_status()
    tabs.first.evaluate("history.back()")
    tabs.first.get_by_role("heading", name="Log in").wait_for()
    assert client.email not in "".join(tabs.shown)


def test_a_log_in_that_ends_elsewhere_ends_the_page_within_seconds(stack, tabs):
    client = stack.client().sign_up()
    log_in(tabs.first, client.email)
    tabs.first.goto("/public")
    client.post("auth/logout-all").raise_for_status()
    tabs.first.wait_for_url("**/login?next=*", timeout=10_000)


def test_a_form_of_before_a_log_in_says_what_to_do(stack, tabs):
    email = stack.client().sign_up().email
    tabs.second.goto("/login?next=/public")
    log_in(tabs.first, email)
    fill(tabs.second, E_mail=email, Password=PASSWORD)
    send(tabs.second, "Log in")
    tabs.second.get_by_role("heading", name="This page is out of date").wait_for()
    tabs.second.get_by_role("link", name="Reload the page").click()
    tabs.second.wait_for_url("**/public")


@stacks.both_ways
def test_cookies_are_out_of_reach_of_scripts_and_other_hosts(stack, page):
    log_in(page, stack.client().sign_up().email)
    deployed = stack.environment["ENVIRONMENT"] == "production"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert set(cookies) == ({"__Host-console", "__Host-csrftoken"} if deployed else {"console", "csrftoken"})
    for cookie in cookies.values():
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Lax", deployed)
    assert page.evaluate("document.cookie") == ""


def test_a_page_of_another_origin_reads_and_changes_nothing(stack, foreign):
    read = """(url) => fetch(`${url}/api/v1/users/get-profile`, {credentials: "include"})
        .then((got) => got.text(), () => "refused")"""
    assert foreign.evaluate(read, stack.url) == "refused"
    blind = """async (url) => {
        const bodies = {"auth/logout-all": "", "users/api-keys": '{"name": "Evil"}', "../../logout": ""};
        for (const [path, body] of Object.entries(bodies)) {
            const request = {method: "POST", mode: "no-cors", credentials: "include", body};
            await fetch(`${url}/api/v1/${path}`, request).catch(() => "sent, without an answer");
        }
    }"""
    foreign.evaluate(blind, stack.url)
    own = foreign.context.pages[0]
    keys = "fetch('/api/v1/users/api-keys').then((got) => got.json())"
    assert own.evaluate(keys)["total"] == 0  # and the log-in is alive
    foreign.evaluate(
        """(url) => {
        document.body.innerHTML = `<form method="post" action="${url}/logout"></form>`;
        document.forms[0].submit();
    }""",
        stack.url,
    )
    foreign.get_by_role("heading", name="This page is out of date").wait_for()
    assert own.evaluate(keys)["total"] == 0


def test_a_socket_of_a_page_of_another_origin_is_refused(stack, foreign):
    connect = """(url) => new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onmessage = () => resolve("message");
        socket.onclose = (event) => resolve(event.code);
    })"""
    assert foreign.evaluate(connect, f"{stack.url.replace('http', 'ws')}/ws/") in {4401, 4403, 1006}


def test_a_page_of_another_origin_shows_no_page_in_a_frame(stack, foreign):
    with foreign.expect_event(
        "framenavigated", lambda frame: frame.url.startswith(("chrome-error:", stack.url))
    ):
        foreign.evaluate(
            "(url) => { document.body.innerHTML = `<iframe src='${url}/login'></iframe>`; }", stack.url
        )
    assert foreign.frame_locator("iframe").get_by_label("Password").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_for_visitors_are_accessible_and_fit(embedded_stack, browser, theme):
    page = browser.new_page(base_url=embedded_stack.url, color_scheme=theme)
    for path in ("/", "/public", "/login", "/forgot-password?sent", "/nowhere", "/reset-password?token=x"):
        page.goto(path)
        assert accessibility_faults(page) == [], path
        page.set_viewport_size({"width": 360, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.set_viewport_size({"width": 1280, "height": 800})
    page.close()
