"""The keys of a page."""

import pytest

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
    keys.get_by_text("This help").wait_for()
    assert accessibility_faults(page) == []
    page.keyboard.press("Escape")
    keys.wait_for(state="detached")
    page.get_by_role("button", name="Account menu").click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    keys.get_by_role("button", name="Close").click()
    keys.wait_for(state="detached")


def test_keys_do_nothing_while_the_user_types(page, embedded_stack):
    embedded_stack.shared_client.upload(photo(), wait=30).raise_for_status()
    page.goto("/history")
    page.get_by_role("searchbox").press_sequentially("why?")
    assert page.get_by_role("searchbox").input_value() == "why?"
    assert page.get_by_role("dialog").count() == 0
