"""The history in a browser: searched, scrolled, selected, and changed many at a time."""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from testing import browsers, stacks
from testing.clients import Client
from testing.files.pictures import photo
from testing.waiting import until

pytestmark = pytest.mark.browser
HOSTILE = [
    "<img src=x onerror=document.title='hacked'>",
    "\u202egnp.exe \u2067\u0627\u0628",
    "n" * 200,
    "\U0001f600 \U0001f469\u200d\U0001f4bb",
]
NAMED = 1 + len(HOSTILE)  # the others keep their file's name
SHIFTS = """
    window.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
    """


def account(stack, count):
    """A user of the running system with that many finished detections, the first called "Gate"."""
    client = Client(stack.url).sign_up()
    names = ["Gate", *HOSTILE, *(f"Street {number}" for number in range(count))][:count]
    uploads = [client.upload(photo(), name=name) for name in names]
    ids = [upload.json()["detection_id"] for upload in uploads]
    for pk, name in zip(ids[:NAMED], names, strict=False):
        client.http.patch(f"{client.api}/detect/{pk}", json={"name": name}).raise_for_status()
    until(lambda: total(client, status="completed") == count, seconds=120)
    return client, ids


@pytest.fixture(scope="session")
def kept_accounts():
    return {}


@pytest.fixture
def many(stack, kept_accounts):
    """A user with 41 detections, whom tests of this stack share: they change none of them."""
    return kept_accounts.get(stack.url) or kept_accounts.setdefault(stack.url, account(stack, 41))


@contextmanager
def opened(browser, stack, client, address="/history", **options):
    with browsers.faultless_page(browser, stack.url, **options) as page:
        browsers.log_in(page, client.email)
        show(page, address)
        yield page
        page.wait_for_load_state("networkidle")  # pictures that are cut short would be faults


def show(page, address):
    page.wait_for_load_state("networkidle")
    page.goto(address)
    page.wait_for_load_state("networkidle")


def names(page):
    return page.locator(".item .name").all_text_contents()


def total(client, **question):
    return client.get("detect/history", params=question).json()["total"]


def choose(page, *places):
    for place in places:
        page.locator(".item").nth(place).get_by_role("checkbox").check()


def act(page, name):
    page.get_by_role("region", name="Selection").get_by_role("button", name=name, exact=True).click()


def test_words_become_chips_and_an_address_that_back_undoes(stack, browser, many):
    client, _ = many
    with opened(browser, stack, client) as page:
        page.keyboard.press("/")
        page.keyboard.type("class:alpha conf>10% Gate")
        page.keyboard.press("Enter")
        page.wait_for_url("**/history?object_class=alpha&min_confidence=0.1&search=Gate")
        assert names(page) == ["Gate"]
        chips = page.get_by_role("list", name="Filters").get_by_role("link")
        expect(chips).to_have_text(
            ["Remove class: alpha", "Remove confidence ≥ 0.1", "Remove name: Gate", "Clear filters"]
        )
        page.wait_for_load_state("networkidle")
        chips.nth(2).click()
        page.wait_for_url("**/history?object_class=alpha&min_confidence=0.1")
        expect(page.locator(".item")).to_have_count(36)
        page.wait_for_load_state("networkidle")
        page.go_back()
        expect(page.locator(".item")).to_have_count(1)
        page.get_by_role("searchbox").fill("status:over")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("A status is one of waiting")
        expect(page.get_by_role("searchbox")).to_have_value("status:over")
        page.locator("summary", has_text="Status").click()
        page.get_by_role("link", name="Failed").click()
        expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
        page.get_by_role("link", name="Clear filters").last.click()
        page.wait_for_url("**/history")


def test_the_list_goes_on_while_it_is_scrolled_and_back_keeps_the_place(stack, browser, many):
    client, ids = many
    with opened(browser, stack, client) as page:
        assert page.locator(".item").count() == 36
        page.get_by_role("link", name="Older").scroll_into_view_if_needed()
        expect(page.locator(".item")).to_have_count(41)
        shown = page.locator(".item").evaluate_all("items => items.map((item) => item.dataset.id)")
        assert shown == ids[::-1]
        last = page.locator(".item").last
        last.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        until(lambda: page.evaluate("history.state?.seen?.parts === 2 && history.state.seen.y === scrollY"))
        before = last.bounding_box()["y"]
        show(page, "/")
        page.go_back()
        expect(page.locator(".item")).to_have_count(41)
        until(lambda: abs(last.bounding_box()["y"] - before) < 2, seconds=10)


def test_deletes_are_undone_or_sent_ten_seconds_later(stack, browser):
    client, ids = account(stack, 4)
    with opened(browser, stack, client) as page:
        page.clock.install()
        show(page, "/history")
        choose(page, 0, 1)
        act(page, "Delete")
        expect(page.locator(".item")).to_have_count(2)
        expect(page.get_by_text("2 detections", exact=True)).to_be_visible()
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".item")).to_have_count(4)
        choose(page, 0)
        page.keyboard.press("Delete")
        expect(page.locator(".item")).to_have_count(3)
        assert total(client) == 4
        page.clock.fast_forward(10_000)
        until(lambda: total(client) == 3)
    assert client.get(f"detect/{ids[0]}").ok


def test_a_delete_is_sent_when_the_page_is_left(stack, browser):
    client, _ = account(stack, 2)
    context = browser.new_context(
        base_url=stack.url
    )  # to Playwright, the request of a page that is left has failed
    page = context.new_page()
    browsers.log_in(page, client.email)
    show(page, "/history")
    choose(page, 0)
    act(page, "Delete")
    page.goto("/login")
    until(lambda: total(client) == 1)
    context.close()


def test_chosen_detections_are_exported_published_and_run_again(stack, browser):
    client, ids = account(stack, 3)
    with opened(browser, stack, client) as page:
        choose(page, 0)
        page.locator(".item").nth(2).locator("a").click(modifiers=["Shift"])
        expect(page.get_by_text("3 selected")).to_be_visible()
        page.locator(".item").nth(1).locator("a").click(modifiers=["Control"])
        expect(page.get_by_text("2 selected")).to_be_visible()
        act(page, "Export")
        page.get_by_label("Format").select_option("csv")
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        text = download.value.path().read_text()
        assert [pk in text for pk in ids] == [True, False, True]
        choose(page, 1)
        act(page, "Publish")
        expect(page.locator(".item").nth(1)).to_have_attribute("data-public", "")
        assert client.get(f"detect/{ids[1]}").json()["is_public"]
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".item").nth(1)).not_to_have_attribute("data-public", "")
        finished = client.get(f"detect/{ids[1]}").json()["finished_at"]
        choose(page, 1)
        act(page, "Reprocess")
        expect(page.get_by_text("1 detection queued again.")).to_be_visible()
        until(lambda: client.get(f"detect/{ids[1]}").json()["finished_at"] not in {None, finished})


def test_all_that_match_are_changed_at_once(embedded_stack, browser):
    client, _ = account(embedded_stack, 3)
    with opened(browser, embedded_stack, client, "/history?search=Gate") as page:
        choose(page, 0)
        page.keyboard.press("Escape")
        expect(page.get_by_role("region", name="Selection")).to_be_hidden()
        show(page, "/history")
        page.locator("h1").click()
        page.keyboard.press("Control+a")
        expect(page.get_by_text("3 selected")).to_be_visible()
        page.keyboard.press("Escape")
        choose(page, 0)
        page.get_by_role("button", name="Select all 3").click()
        act(page, "Delete")
        page.get_by_role("dialog", name="Delete 3 detections?").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("3 detections deleted.")).to_be_visible()
        assert page.locator(".item").count() == 0
        until(lambda: total(client) == 0)


@stacks.both_ways
def test_changes_and_news_appear_without_a_reload(stack, browser):
    client, ids = account(stack, 1)
    with opened(browser, stack, client) as page:
        client.upload(photo(), name="new.jpg")
        page.get_by_role("link", name="1 new").click()
        expect(page.locator(".item")).to_have_count(2)
        page.wait_for_load_state("networkidle")
        client.post("detect/bulk", json={"action": "publish", "detection_ids": ids})
        client.post("detect/bulk", json={"action": "reprocess", "detection_ids": ids})
        expect(page.locator(f"#d-{ids[0]}")).to_have_attribute("data-public", "")


def test_rows_of_others_are_neither_shown_nor_changed(embedded_stack, browser, stranger_ids):
    client, _ = account(embedded_stack, 1)
    with opened(browser, embedded_stack, client) as page:
        assert page.locator(".item").count() == 1
        show(page, f"/history/cards?ids={','.join(stranger_ids)}")
        assert page.locator("[data-id]").count() == 0
        show(page, "/history")
        answer = page.evaluate(
            """async (ids) => {
                const token = document.querySelector('[name="csrf-token"]').content;
                const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
                const body = JSON.stringify({ action: "delete", detection_ids: ids });
                const answer = await fetch("/api/v1/detect/bulk", { method: "POST", headers, body });
                return answer.json();
            }""",
            stranger_ids,
        )
        assert answer == {"count": 0}


@pytest.fixture
def stranger_ids(embedded_stack):
    client, ids = account(embedded_stack, 2)
    yield ids
    assert total(client) == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible_narrow_and_still(embedded_stack, browser, theme):
    client, _ = account(embedded_stack, 6)
    narrow = {"width": 360, "height": 740}
    with opened(browser, embedded_stack, client, color_scheme=theme, viewport=narrow) as page:
        page.add_init_script(SHIFTS)
        page.goto("/history")
        page.wait_for_load_state("networkidle")
        choose(page, 0)
        for view in ("Table", "Grid"):
            page.get_by_role("link", name=view, exact=True).click()
            assert browsers.accessibility_faults(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate("window.shift") < 0.01
        for menu in page.locator(".filter summary").all():
            menu.click()
            assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.set_viewport_size({"width": 1280, "height": 800})
        assert browsers.accessibility_faults(page) == []


def test_hostile_names_are_only_text(embedded_stack, browser):
    client, _ = account(embedded_stack, 5)
    with opened(browser, embedded_stack, client) as page:
        assert sorted(names(page)) == sorted(["Gate", *HOSTILE])
        assert re.fullmatch("History · .*", page.title())
        page.get_by_role("searchbox").fill(f'"{HOSTILE[0]}"')
        page.keyboard.press("Enter")
        page.wait_for_url("**search=*")
        assert names(page) == [HOSTILE[0]]
        assert re.fullmatch("History · .*", page.title())
        empty = Client(embedded_stack.url).sign_up()
    with opened(browser, embedded_stack, empty) as page:
        expect(page.get_by_role("heading", name="No detections yet")).to_be_visible()
        assert browsers.accessibility_faults(page) == []


def test_a_long_press_selects(embedded_stack, browser):
    client, _ = account(embedded_stack, 2)
    with opened(browser, embedded_stack, client, has_touch=True, is_mobile=True) as page:
        place = page.locator(".item .open").first.bounding_box()
        point = {"x": place["x"] + 60, "y": place["y"] + 60}
        devtools = page.context.new_cdp_session(page)
        devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        expect(page.get_by_text("1 selected")).to_be_visible()
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.locator(".item .open").nth(1).tap()
        expect(page.get_by_text("2 selected")).to_be_visible()
