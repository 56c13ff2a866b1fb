"""The pages of public and shared results in a real browser, in both themes and on small screens."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from testing import stacks
from testing.browsers import accessibility_faults
from testing.files.pictures import photo

SIZES = [(1280, 800), (360, 640)]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def blog(tmp_path_factory):
    """Another site: its address, and the file of its page."""
    folder = tmp_path_factory.mktemp("blog")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", folder / "index.html"
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory, standin_folder, blog):
    """A system whose pages one other site may show."""
    origin, file = blog
    options = {"MODERATION_REQUIRED": "false", "EMBED_ALLOWED_ORIGINS": origin, **stacks.UNTHROTTLED}
    folder = tmp_path_factory.mktemp("visitors")
    with stacks.running("embedded", folder, standin_folder, **options) as stack:
        client = stack.client().sign_up()
        public = client.upload(photo(640, 480), wait=30, is_public="true").json()["id"]
        files = [("images", (f"{number}.jpg", photo(480, 640))) for number in range(3)]
        batch = client.post("detect/batch", files=files, headers={"Prefer": "wait=30"}).json()["id"]
        token = client.post(f"detect/{batch}/shares", json={}).json()["token"]
        file.write_text(f'<iframe src="{stack.url}/p/{public}"></iframe>')
        yield SimpleNamespace(url=stack.url, public=f"/p/{public}", shared=f"/s/{token}", gone="/s/unknown")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible_and_fit_in_both_themes(site, browser, theme):
    for width, height in SIZES:
        page = browser.new_page(
            base_url=site.url, viewport={"width": width, "height": height}, color_scheme=theme
        )
        faults = []
        page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        page.on(
            "console", lambda told, faults=faults: "status of 404" in told.text or faults.append(told.text)
        )
        for path in (site.public, f"{site.shared}?image=2", site.gone):
            page.goto(path)
            for details in page.locator("summary").all():
                details.click()
            assert accessibility_faults(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert {fault for fault in faults if "status of 404" not in fault} == set()
        page.close()


def test_everything_works_without_scripts_and_tells_nobody_the_token(site, browser):
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    told = []
    page.on("request", lambda asked: told.append(asked.all_headers().get("referer")))
    page.goto(site.shared)
    for number in (2, 3):
        page.get_by_role("link", name="Next").click()
        page.get_by_text(f"{number} of 3").wait_for()
        assert page.locator(".picture img").evaluate("image => image.naturalWidth") == 480
    assert len(told) > 6
    assert not any(told)
    page.goto(site.public)
    page.get_by_text("Report this picture").click()
    page.get_by_label("What should not be public, and why?").fill("It shows me.")
    page.get_by_role("button", name="Send report").click()
    page.get_by_role("status").wait_for()
    context.close()


def test_only_the_configured_site_shows_a_page_in_a_frame(site, blog, browser):
    origin, _ = blog
    page = browser.new_page()
    for address, count in ((origin, 1), (origin.replace("127.0.0.1", "localhost"), 0)):
        page.goto(address, wait_until="networkidle")
        assert page.frame_locator("iframe").get_by_role("heading", level=1).count() == count
    page.close()
