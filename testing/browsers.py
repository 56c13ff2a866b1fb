"""A real browser in front of a running system."""

from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from testing import services
from testing.clients import PASSWORD

# Without a sandbox, as root in a container has none; and without what a browser does by itself.
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip  # a list to read at a glance

REFUSALS = ("Failed to load resource: the server responded with a status of 4",)
OUTAGES = ("failed: ", "Failed to load resource: net::", "WebSocket connection to ")


expect.set_options(timeout=20_000)  # milliseconds: on a busy machine, pages are slow


@contextmanager
def launched(**options):
    """`options` are Playwright's for a launch."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=services.chromium(), args=OPTIONS, **options)
        yield browser
        browser.close()


@contextmanager
def faultless_page(browser, url, *, refusals=False, outages=False, **options):
    """A page of this site whose errors and warnings, and requests to others, fail the test.

    With `refusals` the server may refuse requests, with `outages` connections may break. `options` are
    Playwright's for a new context: `viewport`.
    """
    faults = []
    expected = REFUSALS * refusals + OUTAGES * outages
    context = browser.new_context(base_url=url, **options)
    page = context.new_page()
    page.on("console", lambda told: told.type in {"error", "warning"} and faults.append(described(told)))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda asked: is_aborted(asked) or faults.append(f"failed: {asked.url}"))
    page.on("request", lambda asked: is_elsewhere(asked.url, url) and faults.append(asked.url))
    yield page
    context.close()
    found = [fault for fault in faults if not fault.startswith(expected)]
    assert not found, found


def described(told):
    return f"{told.text} {told.location['url']}".strip()


def is_aborted(asked):
    """Broken off by the browser itself, as when it leaves a page."""
    return asked.failure == "net::ERR_ABORTED"


def is_elsewhere(url, site):
    return not url.removeprefix("blob:").startswith((site, "data:"))


def accessibility_faults(page):
    """What axe finds: the rule and the first element of each fault."""
    found = Axe().run(page).response["violations"]
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in found]


def log_in(page, email, password=PASSWORD):
    """At the console, to its first page."""
    page.goto("/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
