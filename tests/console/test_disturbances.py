"""What disturbs a page: a browser that keeps nothing, impatient users, answers that come late or not."""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from testing.browsers import drop, faultless_page, log_in
from testing.clients import PASSWORD
from testing.files.pictures import photo, png

pytestmark = pytest.mark.browser

NO_STORAGE = {
    "refused": """
        for (const name of ["localStorage", "sessionStorage"]) {
          const get = () => { throw new DOMException("denied", "SecurityError"); };
          Object.defineProperty(window, name, { get });
        }""",
    "full": 'Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };',
    "damaged": 'Storage.prototype.getItem = () => "{damaged";',
}
# The first page that is asked for comes long after the second.
FIRST_LATE = """() => {
    const { fetch } = window;
    let late = true;
    window.fetch = async (url, options) => {
      const isLate = late && String(url).includes("/results/");
      if (isLate) late = false;
      const answer = await fetch(url, options);
      if (isLate) await new Promise((resolve) => setTimeout(resolve, 1500));
      return answer;
    };
    }"""

KEEP_SOCKET = """
    const { WebSocket } = window;
    window.WebSocket = class extends WebSocket {
      constructor(...all) {
        super(...all);
        window.socket = this;
      }
    };"""


def uploaded(client, *names):
    files = [("images", (name, photo(640, 480))) for name in names]
    return client.post("detect/batch", files=files, headers={"Prefer": "wait=30"}).json()["id"]


@pytest.mark.parametrize("script", NO_STORAGE.values(), ids=NO_STORAGE)
def test_pages_work_in_a_browser_that_keeps_nothing(browser, embedded_stack, script):
    client = embedded_stack.client().sign_up()
    with faultless_page(browser, embedded_stack.url) as page:
        page.add_init_script(script)
        log_in(page, client.email)
        for name in ("a.jpg", "b.jpg"):
            file = {"name": name, "mimeType": "image/jpeg", "buffer": photo(640, 480)}
            page.locator("#picker").set_input_files(file)
        expect(page.locator(".shot[data-state=completed]")).to_have_count(2)
        page.get_by_role("link", name="b.jpg", exact=True).click()
        chip = page.locator(".chip[data-class]").first
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "false")
        page.wait_for_load_state("networkidle")


def test_a_page_that_comes_late_does_not_take_the_place_of_the_next(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    path = f"/results/{uploaded(client, 'a.jpg', 'b.jpg', 'c.jpg')}"
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        for number in ("", "?image=2", "?image=3"):
            page.goto(path + number) if not number else page.keyboard.press("ArrowRight")
            expect(page.locator(".pager")).to_contain_text(f"{number[-1:] or 1} of 3")
        page.evaluate(FIRST_LATE)
        with page.expect_response(re.compile("image=2$")):
            page.evaluate("history.back()")
        page.evaluate("history.back()")
        expect(page.locator(".pager")).to_contain_text("1 of 3")
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 2000))")
        expect(page.locator(".pager")).to_contain_text("1 of 3")


def test_fast_arrows_leave_one_step_for_each_picture(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    path = f"/results/{uploaded(client, 'a.jpg', 'b.jpg')}"
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        page.goto(path)
        page.locator("canvas[data-shown]").wait_for()
        page.evaluate(FIRST_LATE)
        before = page.evaluate("history.length")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(page.locator(".pager")).to_contain_text("2 of 2")
        assert page.evaluate("history.length") == before + 1


def test_a_detection_that_was_deleted_elsewhere_is_missed_at_the_next_action(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    with faultless_page(browser, embedded_stack.url, refusals=True) as page:
        log_in(page, client.email)
        page.goto(f"/results/{detection}")
        page.locator("canvas[data-shown]").wait_for()
        client.http.delete(f"{client.api}/detect/{detection}", timeout=60).raise_for_status()
        page.locator("[data-action=publish]").first.dispatch_event("click")
        expect(page.locator("canvas")).to_have_count(0)


def test_back_does_not_lead_to_a_detection_that_was_deleted_meanwhile(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    with faultless_page(browser, embedded_stack.url, refusals=True) as page:
        log_in(page, client.email)
        page.goto(f"/results/{detection}")
        page.locator("canvas[data-shown]").wait_for()
        page.goto("/account")
        client.http.delete(f"{client.api}/detect/{detection}", timeout=60).raise_for_status()
        page.go_back()
        expect(page.locator("canvas")).to_have_count(0)
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_an_error_takes_the_place_of_no_part_of_a_page(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    refusal = {"status": 429, "content_type": "text/html", "body": "<h1>Unavailable</h1>"}
    with faultless_page(browser, embedded_stack.url, refusals=True) as page:
        log_in(page, client.email)
        page.goto("/account")
        page.route("**/account/keys", lambda route: route.fulfill(**refusal))
        for _ in range(2):
            with page.expect_response("**/account/keys"):
                page.locator("#keys").dispatch_event("refresh")
        expect(page.locator(".toast")).to_have_text("The server cannot answer now. Try again in a minute.")
        expect(page.get_by_text("Unavailable")).to_have_count(0)
        expect(page.locator("#keys")).not_to_be_empty()


def test_only_the_latest_files_are_kept_in_memory_as_pictures(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    files = [
        {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": photo(64, 48)} for number in range(80)
    ]
    with faultless_page(browser, embedded_stack.url, refusals=True) as page:
        log_in(page, client.email)
        page.route("**/console/cards?*", lambda route: route.fulfill(status=429))  # no thumbnail is first
        for some in (files[:70], files[70:]):
            page.locator("#picker").set_input_files(some)
            expect(page.locator(".shot").first.locator("canvas")).to_be_visible()
            expect(page.locator(".shot canvas")).to_have_count(60)
        page.unroute("**/console/cards?*")
        expect(page.locator(".shot[data-state=completed]")).to_have_count(80)
        assert page.locator(".shot canvas").count() == 60
        page.wait_for_load_state("networkidle")


def hold(page, key, times=5):
    for _ in range(times):
        page.keyboard.down(key)
    page.keyboard.up(key)


def test_a_held_key_and_a_second_click_do_nothing_more(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    with faultless_page(browser, embedded_stack.url) as page:
        page.goto("/login")
        page.wait_for_load_state("networkidle")
        page.get_by_label("E-mail").fill(client.email)
        page.get_by_label("Password").fill(PASSWORD)
        hold(page, "Enter")
        page.wait_for_url("**/")
        page.wait_for_load_state("networkidle")
        assert client.get("auth/sessions").json()["total"] == 2  # the client's own is the other
        page.goto(f"/results/{detection}")
        page.locator("canvas[data-shown]").wait_for()
        page.get_by_role("button", name="Share").click()
        page.get_by_role("button", name="Make link").dblclick()
        expect(page.locator("#links li")).to_have_count(1)
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="More").click()
        page.get_by_role("button", name="Run again").click()
        page.get_by_role("button", name="Run", exact=True).dblclick()
        page.wait_for_url(lambda url: "/results/" in url and detection not in url)
        page.wait_for_load_state("networkidle")
    assert client.get("detect/history").json()["total"] == 2
    assert client.get(f"detect/{detection}/shares").json()["total"] == 1


def test_of_a_dropped_folder_all_pictures_are_sent_and_nothing_else(browser, embedded_stack, tmp_path):
    client = embedded_stack.client().sign_up()
    album = tmp_path / "album"
    for folder in (album / "inner" / "deep", album / "empty"):
        folder.mkdir(parents=True)
    for number in range(101):  # one more than a folder's reader gives at a time
        (album / "inner" / f"{number}.jpg").write_bytes(photo(16, 16, colour=(number, 0, 0)))
    (album / "inner" / "deep" / "last.PNG").write_bytes(png())
    for name in ("notes.txt", ".hidden.jpg", "Thumbs.db"):
        (album / name).write_bytes(b"none")
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        page.wait_for_load_state("networkidle")
        devtools = page.context.new_cdp_session(page)
        drop_paths(devtools, album / "empty")
        expect(page.get_by_text("There are no pictures in the folder.")).to_be_visible()
        drop_paths(devtools, album)
        expect(page.locator(".shot[data-state=completed]")).to_have_count(102, timeout=60_000)
        page.wait_for_load_state("networkidle")
    assert client.get("detect/history").json()["total"] == 102


def drop_paths(devtools, *paths):
    """As from a file manager, which gives folders too."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": data})


def test_files_that_options_hold_up_show_what_is_wrong_with_these(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        options = page.locator(".options summary")
        options.click()
        page.get_by_label("Confidence").fill("2")
        options.click()
        expect(page.get_by_label("Confidence")).to_be_hidden()
        drop(page, "a.jpg", photo())
        expect(page.get_by_label("Confidence")).to_be_focused()
        page.wait_for_load_state("networkidle")


def test_many_messages_a_second_ask_for_a_result_once_at_a_time(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    detection = uploaded(client, "a.jpg")
    asked = []
    with faultless_page(browser, embedded_stack.url) as page:
        page.add_init_script(KEEP_SOCKET)
        log_in(page, client.email)
        page.goto(f"/results/{detection}")
        page.locator("canvas[data-shown]").wait_for()
        page.on("request", lambda request: "/results/" in request.url and asked.append(request))
        page.evaluate(
            """async (id) => {
                for (let number = 0; number < 40; number++) {
                    socket.onmessage({ data: JSON.stringify({ at: "", detection_id: id }) });
                    await new Promise((resolve) => setTimeout(resolve, 50));
                }
            }""",
            detection,
        )
        page.wait_for_load_state("networkidle")
    assert 2 <= len(asked) <= 6


@contextmanager
def history_with_one(browser, stack):
    """A user's history of one detection, which has settled; requests may fail meanwhile."""
    client = stack.client().sign_up()
    uploaded(client, "a.jpg")
    with faultless_page(browser, stack.url, outages=True) as page:
        log_in(page, client.email)
        page.goto("/history")
        page.wait_for_load_state("networkidle")
        yield page


def test_a_change_whose_answer_is_lost_is_shown_all_the_same(browser, embedded_stack):
    with history_with_one(browser, embedded_stack) as page:
        page.route("**/detect/bulk", lambda route: (route.fetch(), route.abort()))
        page.locator(".item").get_by_role("checkbox").check()
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_text("Publish: The server cannot be reached.")).to_be_visible()
        expect(page.locator(".item")).to_have_attribute("data-public", "")
        page.wait_for_load_state("networkidle")


def test_an_export_is_offered_once_the_server_answers_again(browser, embedded_stack):
    with history_with_one(browser, embedded_stack) as page:
        page.route("**/detect/exports/*", lambda route: route.abort(), times=2)
        page.locator(".item").get_by_role("checkbox").check()
        page.get_by_role("button", name="Export").click()
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
        expect(page.get_by_text("The export is ready.")).to_be_visible()
        page.wait_for_load_state("networkidle")


@contextmanager
def late(page, pattern):
    """Holds such requests back until the end of the block; then the last one is sent first."""
    held, passing = [], []

    def hold_back(route):
        route.continue_() if passing else held.append(route)

    page.route(pattern, hold_back)
    yield
    passing.append(True)
    for route in reversed(held):
        route.continue_()
        page.wait_for_timeout(300)  # until it is answered
    page.unroute(pattern)


def test_what_is_done_before_the_scripts_are_here_is_not_lost(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    uploaded(client, "a.jpg")
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        page.wait_for_load_state("networkidle")
        with late(page, "**/js/account.js"):
            page.goto("/account", wait_until="commit")
            page.locator("#name").fill("Early")
            page.get_by_role("button", name="Save name").click()
        expect(page.locator("#name-form .saved")).to_have_text("Saved")
        assert page.locator(".who-name").text_content() == "Early"
        page.wait_for_load_state("networkidle")
        with late(page, "**/js/history.js"):
            page.goto("/history", wait_until="commit")
            page.locator(".item").get_by_role("checkbox").check()
        expect(page.get_by_text("1 selected")).to_be_visible()
        page.wait_for_load_state("networkidle")


def test_of_two_themes_the_last_one_stays(browser, embedded_stack):
    client = embedded_stack.client().sign_up()
    with faultless_page(browser, embedded_stack.url) as page:
        log_in(page, client.email)
        page.goto("/account")
        page.wait_for_load_state("networkidle")
        with late(page, "**/users/settings"):
            page.get_by_label("Dark").check(force=True)
            page.get_by_label("Light").check(force=True)
            page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
        page.wait_for_load_state("networkidle")
    assert client.get("users/settings").json()["theme"] == "light"
