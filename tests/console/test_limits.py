"""What holds on every page: weight, no faults, no shifts, accessible in both themes."""

from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.urls import resolve

from console import urls
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
# Each page, by who sees it; a page of the console that is missing here fails a test below.
VISITORS = {
    "welcome": "/",
    "login": "/login",
    "signup": "/signup",
    "forgot-password": "/forgot-password",
    "verify-email": "/verify-email",
    "public": "/public",
    "published": "/p/{single}",
    "shared": "/s/{token}",
    "gone": "/s/x",
    "missing": "/nowhere",
    "reset-refused": "/reset-password?token=x",
}
USERS = {
    "detect": "/",
    "history": "/history",
    "nothing matches": "/history?search=zzz&status=completed",
    "result": "/results/{single}",
    "failed": "/results/{batch}?image=3",
    "account": "/account",
    "webhook": "/account/webhooks/{webhook}",
    "delivery": "/account/webhooks/{webhook}/{delivery}",
    "deleted": "/results/{webhook}",
}
# What pages ask for themselves, and the log-out, which leads elsewhere.
NO_PAGES = {
    "cards", "service", "history-cards", "history-ids", "account-keys", "account-sessions",
    "account-webhooks", "webhook-state", "webhook-log", "delivery-part", "logout",
}  # fmt: skip  # a list to read at a glance

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory, standin_folder):
    """A system with a user who has something of everything, and the addresses of its pages."""
    options = {**stacks.UNTHROTTLED, "MODERATION_REQUIRED": "false", "WEBHOOK_ALLOW_PRIVATE": "true"}
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
        hook = {"url": "http://127.0.0.1:9/", "events": ["*"]}  # nothing listens there
        webhook = client.post("webhooks", json=hook).json()["id"]
        names = {
            "single": single,
            "batch": batch,
            "webhook": webhook,
            "delivery": client.post(f"webhooks/{webhook}/ping").json()["id"],
            "token": client.post(f"detect/{single}/shares", json={}).json()["token"],
        }
        yield SimpleNamespace(
            url=stack.url, email=client.email, users=filled(USERS, names), visitors=filled(VISITORS, names)
        )


def filled(pages, names):
    return {name: path.format(**names) for name, path in pages.items()}


def test_every_page_of_the_console_is_on_the_lists():
    names = dict.fromkeys(("single", "batch", "webhook", "delivery"), uuid4()) | {"token": "x"}
    paths = [urlsplit(path).path for pages in (USERS, VISITORS) for path in filled(pages, names).values()]
    listed = {resolve(path).url_name for path in paths if path != VISITORS["missing"]}
    assert {route.name for route in urls.urlpatterns} - NO_PAGES - listed == set()


@pytest.mark.parametrize(("theme", "size"), [("light", SCREEN), ("dark", PHONE)])
def test_pages_are_accessible_fit_weigh_little_and_stand_still(site, browser, theme, size):
    width, height = size
    options = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    with faultless_page(browser, site.url, refusals=True, **options) as page:
        page.add_init_script(SHIFTS)
        sizes = weigh(page)
        faults = {f"{name}, logged out": faults_of(page, path, sizes) for name, path in site.visitors.items()}
        log_in(page, site.email)
        faults |= {name: faults_of(page, path, sizes) for name, path in site.users.items()}
        assert {name: found for name, found in faults.items() if found} == {}


def faults_of(page, path, sizes):
    page.wait_for_load_state("networkidle")
    sizes.clear()
    page.goto(path)
    faults = accessibility_faults(page)
    page.wait_for_load_state("networkidle")
    if (wide := page.evaluate("document.documentElement.scrollWidth")) > page.viewport_size["width"]:
        faults.append(("scrolls to the side", wide))
    if (shift := page.evaluate("self.shift")) > MOST_SHIFT:
        faults.append(("shifts", shift))
    if sum(sizes) > MOST_BYTES:
        faults.append(("weighs", sum(sizes)))
    return faults


def weigh(page):
    """The sizes of what the page loads from now on but photos, as a browser that has nothing gets them."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    types, sizes = {}, []
    session.on("Network.responseReceived", lambda told: types.update({told["requestId"]: told["response"]}))
    session.on(
        "Network.loadingFinished",
        lambda told: is_photo(types[told["requestId"]]) or sizes.append(told["encodedDataLength"]),
    )
    return sizes


def is_photo(response):
    return response["mimeType"] in PHOTOS
