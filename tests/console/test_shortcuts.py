"""The keys of a page."""

import pytest
from playwright.sync_api import expect

from testing.browsers import accessibility_faults, faultless_page, log_in
from testing.files.pictures import photo

pytestmark = pytest.mark.browser


@pytest.fixture
def page(embedded_stack, browser):
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, embedded_stack.shared_client.email)
        yield page


def test_a_question_mark_lists_the_keys_and_escape_ends_the_list(page):
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    page.keyboard.press("?")
    expect(keys).to_contain_text("Choose files")
    assert accessibility_faults(page) == []
    page.keyboard.press("Escape")
    keys.wait_for(state="detached")
    menu = page.get_by_role("button", name="Account menu")
    menu.click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    keys.get_by_role("button", name="Close").click()
    keys.wait_for(state="detached")
    expect(menu).to_be_focused()
    page.goto("/public")  # which has no keys of its own
    menu.click()
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()


def test_by_keys_alone_detections_are_selected_deleted_and_brought_back(page, embedded_stack):
    for _ in range(2):
        embedded_stack.shared_client.upload(photo(), wait=30).raise_for_status()
    page.goto("/history")
    boxes, bar = page.locator(".item input"), page.get_by_role("region", name="Selection")
    boxes.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("s")
    expect(bar.get_by_role("button").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    expect(boxes.first).to_be_focused()
    count = boxes.count()
    page.keyboard.press("Space")
    page.keyboard.press("Delete")
    expect(boxes).to_have_count(count - 1)
    expect(boxes.first).to_be_focused()
    page.keyboard.press("Control+z")
    expect(boxes).to_have_count(count)
    expect(boxes.first).to_be_focused()


def test_escape_closes_menus_and_gives_the_focus_back(page, embedded_stack):
    detection = embedded_stack.shared_client.upload(photo(), wait=30).json()["id"]
    page.goto(f"/results/{detection}")
    page.locator("canvas[data-shown]").wait_for()
    download = page.get_by_role("button", name="Download")
    download.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("#download-menu")).to_be_hidden()
    expect(download).to_be_focused()
    page.goto("/history")
    date = page.locator("summary", has_text="Date")
    date.press("Enter")
    page.get_by_label("From").press("Escape")
    expect(page.get_by_label("From")).to_be_hidden()
    expect(date).to_be_focused()


def test_keys_do_nothing_while_the_user_types(page, embedded_stack):
    embedded_stack.shared_client.upload(photo(), wait=30).raise_for_status()
    page.goto("/history")
    page.get_by_role("searchbox").press_sequentially("why?")
    assert page.get_by_role("searchbox").input_value() == "why?"
    assert page.get_by_role("dialog").count() == 0
