"""A real browser in front of a running system."""

from base64 import b64encode
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from detections.images.palette import colour
from testing import services
from testing.clients import PASSWORD

# The first two are pages of the bar for addresses, which each context would load at half a second.
# The others are Playwright's, whose list this one replaces.
DISABLED = [
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose", "HttpsUpgrades", "MediaRouter", "NetworkTimeServiceQuerying",
    "OptimizationHints", "PaintHolding", "PreconnectToSearch",
]  # fmt: skip  # a list to read at a glance
# Without a sandbox, as root in a container has none; and without what a browser does by itself.
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", f"--disable-features={','.join(DISABLED)}",
]  # fmt: skip

# Chromium gives files to pages in events of a user alone: this one is made of bytes.
DROP = """([name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), (each) => each.charCodeAt(0))], name));
    const options = {dataTransfer: data, bubbles: true, cancelable: true};
    for (const type of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(type, options));
    }
}"""
# Whether this colour is within three pixels of a place (0..1), by a copy of the canvas: Chromium warns of
# canvases that are read often.
HAS_COLOUR = """
    (canvas, [x, y, width, height, colour]) => new Promise(requestAnimationFrame).then(() => {
      const [left, top, scale] = canvas.dataset.view.split(" ").map(Number);
      const place = [left + x * width * scale, top + y * height * scale];
      const corner = place.map((side) => Math.round(side * devicePixelRatio) - 3);
      const copy = new OffscreenCanvas(7, 7).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, ...corner, 7, 7, 0, 0, 7, 7);
      const { data } = copy.getImageData(0, 0, 7, 7);
      const pixels = Array.from({ length: 49 }, (_, at) => data.subarray(4 * at, 4 * at + 3));
      return pixels.some((pixel) => colour.every((part, at) => pixel[at] === part));
    })
    """

REFUSALS = ("Failed to load resource: the server responded with a status of 4",)
OUTAGES = ("failed: ", "Failed to load resource: net::", "WebSocket connection to ")


expect.set_options(timeout=20_000)  # milliseconds: on a busy machine, pages are slow


@contextmanager
def launched(*arguments, **options):
    """`arguments` are Chromium's, `options` Playwright's for a launch."""
    with sync_playwright() as playwright:
        arguments = [*OPTIONS, *arguments]
        browser = playwright.chromium.launch(executable_path=services.chromium(), args=arguments, **options)
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


def drop(page, name, content):
    """A file onto the page."""
    page.evaluate(DROP, [name, b64encode(content).decode()])


def has_line(page, size, box, class_id):
    """Whether the box's line is there, at three places of its lower edge."""
    places = [(box["x"] + box["width"] * part, box["y"] + box["height"]) for part in (0.2, 0.5, 0.8)]
    canvas = page.locator("canvas")
    return any(canvas.evaluate(HAS_COLOUR, [*place, *size, colour(class_id)]) for place in places)
