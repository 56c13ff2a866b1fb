"""Uploads at the console, in a real browser: each picture arrives once, and its card tells the truth."""

import signal
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from testing import stacks
from testing.browsers import accessibility_faults, drop, faultless_page, log_in
from testing.files.pictures import jpeg, photo, png
from testing.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DONE, FAILED = ".shot[data-state=completed]", ".shot[data-state=failed]"
NAMES = [
    "<img src=x onerror=alert(1)>.png",
    "a\u202egpj.exe\u202c b.png",
    "x" * 296 + ".png",
    "🦊 fête 😀.png",
]
# Chromium gives files to pages in events of a user alone: this one is made of bytes.
PASTE = """([name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
    document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
}"""
SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000}


@contextmanager
def uploader(browser, stack, client, **options):
    with faultless_page(browser, stack.url, **options) as page:
        log_in(page, client.email)
        page.wait_for_load_state()  # before its scripts have run, a key does nothing
        yield page


def choose(page, *files):
    """By a click, as a person does: a page that was never touched may not ask before it is left."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([{"name": name, "mimeType": "", "buffer": content} for name, content in files])


def photos(count, first=1):
    """Each of another colour, so that no two are the same picture."""
    return [(f"photo-{number}.jpg", photo(colour=(number, 40, 40))) for number in range(first, first + count)]


def heavy(count):
    return [(f"{number}.jpg", jpeg(comment=bytes([number]) * 60_000)) for number in range(count)]


def reload(page):
    """Once nothing is under way: what a reload breaks off counts as a fault."""
    page.wait_for_load_state("networkidle")
    page.reload()


def stored(client):
    return client.get("detect/history", params={"limit": 100}).json()["items"]


def names_of(page):
    return sorted(page.locator(".shot-name").all_inner_texts())


def card(page, name):
    return page.locator(".shot").filter(has=page.get_by_text(name, exact=True))


@stacks.both_ways
def test_of_twenty_files_two_bad_ones_say_why_and_the_others_are_detected(browser, stack):
    client = stack.client().sign_up()
    with uploader(browser, stack, client, refusals=True) as page:
        expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
        choose(page, *photos(18), ("notes.jpg", b"no picture"), ("cut.jpg", jpeg(800, 600)[:-400]))
        expect(page.locator(DONE)).to_have_count(18)
        expect(card(page, "notes.jpg")).to_contain_text("no picture that can be read")
        expect(card(page, "cut.jpg")).to_contain_text("The JPEG file is damaged")
        expect(card(page, "photo-7.jpg")).to_contain_text("2 objects")
        expect(card(page, "photo-7.jpg")).to_contain_text("alpha 1")
        card(page, "cut.jpg").get_by_role("button", name="Dismiss").click()
        expect(page.locator(".shot")).to_have_count(19)
        reload(page)
        expect(page.locator(DONE)).to_have_count(18)
        assert names_of(page) == sorted(name for name, _ in photos(18))
        assert [row["status"] for row in stored(client)] == ["completed"] * 18


def test_a_file_over_the_limit_is_not_sent(browser, embedded_stack, tmp_path):
    client = embedded_stack.client().sign_up()
    huge = tmp_path / "huge.tiff"
    with huge.open("wb") as file:
        file.truncate(20 * 2**20 + 1)
    with uploader(browser, embedded_stack, client) as page:
        page.locator("#picker").set_input_files(huge)
        expect(page.locator(FAILED)).to_contain_text("The file is 20.1 MB; at most 20 MB are allowed.")
    assert stored(client) == []


def test_pictures_are_pasted_and_dropped_anywhere(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with uploader(browser, embedded_stack, client) as page:
        page.evaluate(PASTE, ["image.png", list(png())])
        drop(page, "dropped.png", png(30, 20))
        expect(page.locator(DONE)).to_have_count(2)
        expect(page.locator("#drop-hint")).to_be_hidden()
        assert [name.partition(" ")[0] for name in names_of(page)] == ["Pasted", "dropped.png"]


def test_options_apply_to_the_next_files_and_are_kept(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with uploader(browser, embedded_stack, client) as page:
        page.get_by_text("Options").click()
        page.get_by_label("Confidence").fill("0.45")
        reload(page)
        expect(page.get_by_text("confidence 0.45")).to_be_visible()
        choose(page, *photos(1))
        expect(page.locator(DONE)).to_contain_text("1 object")
        page.get_by_text("Options").click()
        page.get_by_role("button", name="Reset").click()
        choose(page, *photos(1, first=2))
        expect(card(page, "photo-2.jpg")).to_contain_text("2 objects")
    assert [row["parameters"]["confidence"] for row in stored(client)] == [0.25, 0.45]


def test_a_reload_midway_asks_first_and_shows_what_was_sent(browser, stack):
    client = stack.client().sign_up()
    asked = []
    with uploader(browser, stack, client, outages=True) as page:
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
        choose(page, *heavy(20))
        expect(page.locator(DONE).first).to_be_visible()
        page.reload()
        assert asked == ["beforeunload"]
        until(lambda: names_of(page))
        sent = stored(client)
        assert 0 < len(sent) < 20
        expect(page.locator(DONE)).to_have_count(len(sent))


@stacks.both_ways
def test_while_the_server_restarts_files_wait_and_then_arrive_once(browser, stack):
    client = stack.client().sign_up()
    name, start = ("serve", stack.serve) if "serve" in stack.processes else ("web", stack.web)
    files = heavy(12)
    with uploader(browser, stack, client, outages=True) as page:
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
        choose(page, *files)
        expect(page.locator(DONE).first).to_be_visible()
        stack.kill(name)
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
        choose(page, *photos(1))
        start()
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator(DONE)).to_have_count(13, timeout=30_000)
        expected = sorted([name for name, _ in files] + ["photo-1.jpg"])
        assert names_of(page) == expected
    assert len(stored(client)) == 13


def test_a_server_that_asks_to_wait_is_asked_again_by_itself(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    refused = {
        "status": 429,
        "headers": {"Retry-After": "1"},
        "json": {
            "type": "client_error",
            "errors": [{"code": "too_many", "detail": "Many wait.", "attr": None}],
        },
    }
    with uploader(browser, embedded_stack, client, refusals=True) as page:
        page.route("**/detect/image", lambda route: route.fulfill(**refused), times=1)
        choose(page, *photos(2))
        expect(page.get_by_text("Many wait. Goes on in 1 s.")).to_be_visible()
        expect(page.locator(DONE)).to_have_count(2)


@pytest.mark.services
def test_what_waits_shows_its_place_and_is_cancelled(browser, production_stack):
    client = production_stack.client().sign_up()
    production_stack.send("inference", signal.SIGSTOP)
    try:
        with uploader(browser, production_stack, client) as page:
            choose(page, *photos(1))
            expect(page.locator(".shot")).to_contain_text("Waiting: number 1 in the queue")
            expect(page.locator(".strip")).to_contain_text(
                "1 picture waits; the next is number 1 in the queue."
            )
            page.get_by_role("button", name="Cancel: photo-1.jpg").click()
            expect(page.locator(".shot")).to_contain_text("Cancelled")
    finally:
        production_stack.send("inference", signal.SIGCONT)
    assert [row["status"] for row in stored(client)] == ["cancelled"]


def test_names_of_files_are_text_whatever_they_hold(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with uploader(browser, embedded_stack, client, viewport={"width": 360, "height": 740}) as page:
        page.on("dialog", lambda _dialog: pytest.fail("A name ran as a script."))
        choose(page, *[(name, png(10 + number)) for number, name in enumerate(NAMES)])
        expect(page.locator(DONE)).to_have_count(4)
        assert page.locator(".shot img").count() == 0  # the previews are canvases
        reload(page)
        expect(page.locator(DONE)).to_have_count(4)
        for row, shown in zip(stored(client), page.locator(".shot-name").all(), strict=True):
            (image,) = client.get(f"detect/{row['id']}").json()["images"]
            assert shown.get_attribute("title") == image["original_name"]
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_everything_works_by_the_keyboard_alone(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with uploader(browser, embedded_stack, client, refusals=True) as page:
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#content")).to_be_focused()
        page.keyboard.press("Tab")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files([{"name": "bad.jpg", "mimeType": "", "buffer": b"bad"}])
        expect(page.locator(FAILED)).to_be_visible()
        page.get_by_role("link", name="History").last.focus()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Dismiss: bad.jpg")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".shot")).to_have_count(0)
        choose(page, *photos(1))
        expect(page.locator(DONE)).to_be_visible()
        page.get_by_role("link", name="History").last.focus()
        page.keyboard.press("Tab")
        link = page.get_by_role("link", name="photo-1.jpg")
        expect(link).to_be_focused()
        assert link.get_attribute("href") == f"/results/{stored(client)[0]['id']}"


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_the_page_is_accessible_empty_and_full_and_never_wider_than_the_screen(
    browser, embedded_stack, theme, width
):
    client = embedded_stack.client().sign_up()
    options = {"color_scheme": theme, "viewport": {"width": width, "height": 740}}
    with uploader(browser, embedded_stack, client, refusals=True, **options) as page:
        assert accessibility_faults(page) == []
        choose(page, *photos(2), ("bad.jpg", b"bad"))
        expect(page.locator(DONE)).to_have_count(2)
        expect(page.locator(FAILED)).to_have_count(1)
        page.get_by_text("Options").click()
        page.get_by_role("button", name="State of the service").click()
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
