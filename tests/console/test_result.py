"""The page of a result in a browser: boxes on the canvas, filters, keys, sharing, hostile names."""

import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from testing import browsers, stacks
from testing.browsers import has_line
from testing.detectors import build_standin
from testing.files.pictures import photo
from testing.waiting import until

HOSTILE = [
    "<img src=x onerror=document.title='hacked'>",
    "\u202egnp.exe \u2067\u0627\u0628\U0001f600" + "n" * 80,
]
SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput) shifts.push(entry.sources.map(({ node }) => node?.outerHTML));
      }
    }).observe({ type: "layout-shift", buffered: true });
    """

pytestmark = pytest.mark.browser


@contextmanager
def opened(browser, stack, client, path, **options):
    """A page of the user's that has drawn its picture."""
    with browsers.faultless_page(browser, stack.url, **options) as page:
        page.add_init_script(SHIFTS)
        browsers.log_in(page, client.email)
        show(page, path)
        yield page
        page.wait_for_load_state("networkidle")  # requests that are cut short would be faults


def show(page, path):
    page.wait_for_load_state("networkidle")
    page.goto(path)
    until_drawn(page)


def until_drawn(page):
    page.locator("canvas[data-shown]").wait_for()


def place_of(page, size, x, y):
    """In the window, of a place of the picture (0..1)."""
    corner = page.locator("canvas").bounding_box()
    left, top, scale = map(float, page.locator("canvas").get_attribute("data-view").split())
    return corner["x"] + left + x * size[0] * scale, corner["y"] + top + y * size[1] * scale


def rows(page):
    return page.locator(".rows li:visible")


def uploaded(client, *names, **fields):
    """A detection of pictures that differ in nothing but their names; each has three boxes."""
    files = [("images", (name, photo(640, 480))) for name in names]
    sent = {"confidence": "0.05", **fields}
    return client.post("detect/batch", files=files, data=sent, headers={"Prefer": "wait=30"}).json()


def test_slider_and_chips_filter_list_canvas_and_download_and_stay(browser, stack):
    client = stack.client().sign_up()
    older = uploaded(client, "c.jpg")
    detection = uploaded(client, "a.jpg", "b.jpg")
    _, beta, least = (result["bbox_normalized"] for result in detection["images"][0]["results"])
    with opened(browser, stack, client, f"/results/{detection['id']}") as page:
        download = page.locator('[data-download="annotated"]')
        expect(rows(page)).to_have_count(3)
        assert has_line(page, (640, 480), least, 0)
        page.get_by_role("slider").fill("0.3")
        expect(rows(page)).to_have_count(2)
        assert not has_line(page, (640, 480), least, 0)
        expect(download).to_have_attribute("href", re.compile("min_confidence=0.3$"))
        assert has_line(page, (640, 480), beta, 1)
        page.get_by_role("button", name="beta 1").click()
        expect(rows(page)).to_have_text(re.compile("alpha"))
        assert not has_line(page, (640, 480), beta, 1)
        expect(download).to_have_attribute("href", re.compile("min_confidence=0.3&classes=alpha$"))
        expect(page.get_by_text("1 of 3 objects")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text("2 of 2")).to_be_visible()
        expect(page.get_by_role("heading", name="b.jpg")).to_be_visible()
        expect(rows(page)).to_have_count(1)
        until_drawn(page)
        page.keyboard.press("ArrowRight")
        page.wait_for_url(f"**/results/{older['id']}")
        expect(page.get_by_role("heading", name="c.jpg")).to_be_visible()
        expect(download).to_have_attribute("href", re.compile(f"{older['id']}.*classes=alpha$"))
        page.go_back()
        expect(page.get_by_text("2 of 2")).to_be_visible()
        page.reload()
        expect(rows(page)).to_have_count(1)
        page.get_by_role("button", name="Reset").click()
        expect(rows(page)).to_have_count(3)
        assert page.evaluate("shifts") == []


def test_a_row_and_its_box_are_one_by_keyboard_and_pointer(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    boxes = [result["bbox_normalized"] for result in detection["images"][0]["results"]]
    with opened(browser, embedded_stack, client, f"/results/{detection['id']}") as page:
        page.get_by_role("button", name="beta 1").focus()
        page.keyboard.press("Tab")
        expect(rows(page).nth(0).get_by_role("button")).to_have_attribute("aria-current", "true")
        page.keyboard.press("ArrowDown")
        expect(rows(page).nth(1).get_by_role("button")).to_be_focused()
        page.keyboard.press("ArrowUp")
        corner = boxes[2]["x"] + boxes[2]["width"] / 2, boxes[2]["y"] + boxes[2]["height"] / 2
        page.mouse.move(*place_of(page, (640, 480), *corner))
        expect(page.locator(".pointed")).to_have_text(re.compile("0.10"))
        page.mouse.down()
        page.mouse.up()
        expect(page.locator("[aria-current=true].quiet")).to_have_text(re.compile("0.10"))
        page.keyboard.press("b")
        assert not has_line(page, (640, 480), boxes[1], 1)
        page.keyboard.press("b")
        page.get_by_role("button", name="Rename").click()
        page.get_by_label("Name", exact=True).press_sequentially("blue fog?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="blue fog?")).to_be_visible()
        expect(page).to_have_title(re.compile(r"^blue fog\?"))
        assert has_line(page, (640, 480), boxes[1], 1)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Full screen")


def test_boxes_move_with_the_picture_and_keep_their_width(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    size, boxes = (640, 480), [result["bbox_normalized"] for result in detection["images"][0]["results"]]
    with opened(browser, embedded_stack, client, f"/results/{detection['id']}") as page:
        inside = boxes[1]["x"] + boxes[1]["width"] * 0.9, boxes[1]["y"] + boxes[1]["height"] * 0.9
        before = place_of(page, size, *inside)
        page.mouse.move(*before)
        page.mouse.wheel(0, -500)
        expect(page.locator(".zoom")).not_to_have_text("114 %")
        expect(page.locator("canvas")).to_have_class(re.compile("zoomed"))
        assert place_of(page, size, *inside) == pytest.approx(before, abs=1)
        page.mouse.down()
        page.mouse.move(before[0] - 90, before[1] - 60, steps=3)
        page.mouse.up()
        page.evaluate("new Promise(requestAnimationFrame)")
        assert place_of(page, size, *inside) == pytest.approx((before[0] - 90, before[1] - 60), abs=1)
        assert has_line(page, size, boxes[1], 1)
        expect(page.locator(".pointed")).to_have_text(re.compile("beta"))
        page.keyboard.press("0")
        page.evaluate("new Promise(requestAnimationFrame)")
        assert place_of(page, size, *inside) == pytest.approx(before, abs=1)


@stacks.both_ways
def test_a_running_detection_redraws_itself_without_moving_anything(browser, stack):
    client = stack.client().sign_up()
    files = [("images", (f"{number}.jpg", photo(3000, 2000))) for number in range(40)]
    detection = client.post("detect/batch", files=files).json()["detection_id"]
    with opened(browser, stack, client, f"/results/{detection}?image=40") as page:
        expect(page.get_by_role("progressbar").or_(rows(page).first)).to_be_visible()
        expect(rows(page)).to_have_count(2, timeout=30_000)
        expect(page.get_by_role("progressbar")).to_have_count(0, timeout=30_000)
        assert page.evaluate("shifts") == []


def test_a_link_shows_the_result_until_it_is_revoked(browser, stack):
    client = stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    with opened(browser, stack, client, f"/results/{detection['id']}") as page:
        page.get_by_role("button", name="Share").click()
        page.get_by_label("A link that works for").select_option("1 day")
        page.get_by_role("button", name="Make link").click()
        field = page.get_by_label("Copy it now")
        expect(field).to_have_value(re.compile(f"^{stack.url}/s/"))
        link = field.input_value()
        visitor = browser.new_context()
        assert visitor.request.get(link).status == 200
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("shows nothing from now on")).to_be_visible()
        assert visitor.request.get(link).status == 404
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("appears once it has been looked at")).to_be_visible()
        assert client.get(f"detect/{detection['id']}").json()["is_public"]
        page.get_by_role("button", name="Withdraw").click()
        expect(page.get_by_role("button", name="Publish")).to_be_visible()
        page.get_by_role("button", name="Close").click()
        expect(page.locator(".badge")).to_have_count(0)
        visitor.close()


def test_deleting_can_be_undone_until_the_page_is_left(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    path = f"detect/{uploaded(client, 'a.jpg')['id']}"
    with opened(browser, embedded_stack, client, path.replace("detect", "/results")) as page:
        for is_undone in (True, False):
            page.get_by_role("button", name="More").click()
            page.get_by_role("button", name="Delete…").click()
            page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            page.get_by_text("Deleted.").wait_for()
            assert client.get(path).status_code == 200
            if is_undone:
                page.get_by_role("button", name="Undo").click()
        page.goto("/account")
        until(lambda: client.get(path).status_code == 404)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A result whose every name is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    detector = build_standin(folder / "detector", classes=HOSTILE)
    with stacks.running("embedded", folder, detector, **stacks.UNTHROTTLED) as stack:
        client = stack.client().sign_up()
        detection = uploaded(client, f"{HOSTILE[0]}.jpg", "broken.jpg", name=HOSTILE[1][:200])
        yield SimpleNamespace(stack=stack, client=client, path=f"/results/{detection['id']}")


@pytest.mark.parametrize(("theme", "width", "height"), [("light", 1280, 800), ("dark", 360, 640)])
def test_pages_are_accessible_fit_and_take_names_as_text(browser, hostile, theme, width, height):
    options = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    with opened(browser, hostile.stack, hostile.client, hostile.path, **options) as page:
        expect(rows(page)).to_have_count(3)
        assert {*rows(page).locator(".name").all_text_contents()} == {*HOSTILE}
        assert page.locator("main img").count() == 0
        assert page.title() != "hacked"
        assert browsers.accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Share").click()
        page.get_by_role("button", name="Make link").click()
        expect(page.get_by_label("Copy it now")).to_be_visible()
        assert browsers.accessibility_faults(page) == []
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Download").click()
        assert browsers.accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
