"""What holds on every page of the console: weight, no faults, no shifts, accessible in both themes."""

from types import SimpleNamespace

import pytest

from testing import stacks
from testing.browsers import accessibility_faults, faultless_page, log_in
from testing.files.pictures import photo

PHONE, SCREEN = (390, 844), (1280, 800)
MOST_BYTES = 150_000
MOST_SHIFT = 0.02
# Sums how far elements jump, apart from what a user's input moves.
SHIFTS = """
self.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) self.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
PHOTOS = ("image/jpeg", "image/webp", "image/png")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory, standin_folder):
    """A system with a user who has something of everything, and the addresses of its pages."""
    options = {**stacks.UNTHROTTLED, "MODERATION_REQUIRED": "false"}
    with stacks.running("embedded", tmp_path_factory.mktemp("limits"), standin_folder, **options) as stack:
        client = stack.client().sign_up()
        single = client.upload(photo(640, 480), wait=30, is_public="true").json()["id"]
        files = [("images", (f"{number}.jpg", photo(480, 640))) for number in range(2)]
        files += [
            ("images", ("cut short.jpg", photo()[:200])),
            ("images", ("x" * 200 + ".txt", b"no picture")),
        ]
        batch = client.post("detect/batch", files=files, headers={"Prefer": "wait=30"}).json()["id"]
        client.post("users/api-keys", json={"name": "Camera", "scopes": ["detect"]}).raise_for_status()
        hook = {"url": "https://hooks.example.com/", "events": ["*"]}
        webhook = client.post("webhooks", json=hook).json()["id"]
        pages = {
            "detect": "/",
            "history": "/history",
            "result": f"/results/{single}",
            "failed": f"/results/{batch}?image=3",
            "account": "/account",
            "webhook": f"/account/webhooks/{webhook}",
        }
        yield SimpleNamespace(url=stack.url, email=client.email, pages=pages, visitors=VISITORS)


VISITORS = {
    "login": "/login",
    "signup": "/signup",
    "forgot-password": "/forgot-password",
    "public": "/public",
}


@pytest.mark.parametrize(("theme", "size"), [("light", SCREEN), ("dark", PHONE)])
def test_pages_are_accessible_fit_and_stand_still(site, browser, theme, size):
    width, height = size
    options = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    with faultless_page(browser, site.url, **options) as page:
        page.add_init_script(SHIFTS)
        faults = {f"{name}, logged out": faults_of(page, path, width) for name, path in site.visitors.items()}
        log_in(page, site.email)
        faults |= {name: faults_of(page, path, width) for name, path in site.pages.items()}
        assert {name: found for name, found in faults.items() if found} == {}


def faults_of(page, path, width):
    page.goto(path, wait_until="networkidle")
    faults = accessibility_faults(page)
    if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
        faults.append(("scrolls to the side", wide))
    if (shift := page.evaluate("self.shift")) > MOST_SHIFT:
        faults.append(("shifts", shift))
    return faults


def test_pages_weigh_little(site, browser):
    """As they are sent to a browser that has nothing yet, with headers and all that they load but photos."""
    with faultless_page(browser, site.url) as page:
        log_in(page, site.email)
        sizes = {name: weight(page, path) for name, path in site.pages.items()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


def weight(page, path):
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    types, total = {}, []
    session.on("Network.responseReceived", lambda told: types.update({told["requestId"]: told["response"]}))
    session.on(
        "Network.loadingFinished",
        lambda told: is_photo(types[told["requestId"]]) or total.append(told["encodedDataLength"]),
    )
    page.goto(path, wait_until="networkidle")
    session.detach()
    return sum(total)


def is_photo(response):
    return response["mimeType"] in PHOTOS
