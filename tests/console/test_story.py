"""A newcomer's first hour at the console, from the sign-up to the log-out, with boxes of a real photo."""

import re
from collections import Counter
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import expect

from testing import stacks
from testing.browsers import drop, faultless_page, has_line
from testing.clients import PASSWORD
from testing.detectors import COCO, sample_photo
from testing.files.pictures import photo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

READ = "(path) => fetch(`/api/v1/${path}`).then((answer) => answer.json())"


@pytest.fixture(params=stacks.WAYS)
def site(request, tmp_path):
    """With a detector of COCO's classes, where the environment names one."""
    if not COCO:
        yield request.getfixturevalue(f"{request.param}_stack")
        return
    with stacks.running(request.param, tmp_path, COCO[0], **stacks.UNTHROTTLED) as stack:
        yield stack


def press(scope, name):
    scope.get_by_role("button", name=name, exact=True).click()


def sign_up(page):
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill(f"{uuid4().hex}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    press(page.get_by_role("main"), "Sign up")
    page.wait_for_url("**/")  # with its scripts, which take what is dropped
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()


def open_result(page):
    """The detection, as the API has it, whose page the only card leads to."""
    page.get_by_role("link", name="bus.jpg").click()
    page.wait_for_url("**/results/*")
    expect(page.get_by_role("heading", name="bus.jpg")).to_be_visible()
    page.locator("canvas[data-shown]").wait_for()
    return page.evaluate(READ, f"detect/{page.url.rpartition('/')[2]}")


def assert_boxes_are_drawn(page, image):
    size = image["width"], image["height"]
    for result in image["results"]:
        assert has_line(page, size, result["bbox_normalized"], result["class_id"]), result
    summary = page.locator("canvas").get_attribute("aria-label")
    for name, count in Counter(result["object_class"] for result in image["results"]).items():
        assert f"{count} {name}" in summary


def assert_filters_act(page, results):
    rows = page.locator(".rows li:visible")
    expect(rows).to_have_count(len(results))
    ((name, count),) = Counter(result["object_class"] for result in results).most_common(1)
    page.get_by_role("slider").fill("0.5")
    expect(rows).to_have_count(sum(result["confidence"] >= 0.5 for result in results))
    press(page, "Reset")
    press(page, f"{name} {count}")
    expect(rows).to_have_count(len(results) - count)
    press(page, "Reset")
    return name


def search(page, words, count):
    page.get_by_role("searchbox").fill(words)
    page.keyboard.press("Enter")
    expect(page.locator(".item")).to_have_count(count)


def shared_link(page):
    press(page, "Share")
    press(page, "Make link")
    link = page.get_by_label("Copy it now")
    expect(link).to_have_value(re.compile("/s/"))
    address = link.input_value()
    press(page, "Close")
    return address


def assert_visitors_see(browser, site, link, results):
    with faultless_page(browser, site.url) as visitor:
        visitor.goto(link)
        expect(visitor.get_by_role("heading", name=f"{len(results)} objects")).to_be_visible()
        assert "bus.jpg" not in visitor.content()
        assert visitor.context.cookies() == []


def made_key(page):
    page.get_by_role("button", name="Account menu").click()
    page.get_by_role("link", name="Account and settings").click()
    press(page, "New key")
    dialog = page.get_by_role("dialog", name="New API key")
    dialog.get_by_label("Name", exact=True).fill("Camera")
    press(dialog, "Make key")
    key = page.locator("output.secret").inner_text()
    press(page.get_by_role("dialog"), "Done")
    return key


def test_a_newcomer_finds_searches_shares_and_automates(browser, site):
    content = sample_photo("bus.jpg") if COCO else photo(640, 480)
    with faultless_page(browser, site.url) as page:
        sign_up(page)
        drop(page, "bus.jpg", content)
        card = page.locator(".shot[data-state=completed]")
        expect(card).to_contain_text(re.compile(r"\d objects"))
        expect(card.locator("rect")).not_to_have_count(0)
        detection = open_result(page)
        (image,) = detection["images"]
        assert_boxes_are_drawn(page, image)
        name = assert_filters_act(page, image["results"])
        page.get_by_role("link", name="History").last.click()
        search(page, f"class:{name} conf>0.3", 1)
        search(page, "status:failed", 0)
        page.go_back()
        expect(page.locator(".item")).to_have_count(1)
        assert open_result(page)["id"] == detection["id"]
        assert_visitors_see(browser, site, shared_link(page), image["results"])
        headers = {"X-API-Key": made_key(page)}
        answer = requests.get(f"{site.url}/api/v1/detect/history", headers=headers, timeout=30)
        assert [row["id"] for row in answer.json()["items"]] == [detection["id"]]
        other = page.context.new_page()
        other.goto("/history")
        page.get_by_role("button", name="Account menu").click()
        press(page, "Log out")
        other.wait_for_url("**/login?next=*")
