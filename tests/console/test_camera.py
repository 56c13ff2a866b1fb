"""The camera of a computer, played by Chromium: its picture is sent, and its faults say what to do."""

import pytest
from playwright.sync_api import expect

from testing.browsers import faultless_page, launched, log_in

FAKE, ALLOWED = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
# Keeps the camera's streams in sight.
STREAMS = """
    self.streams = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      streams.push(stream);
      return stream;
    };
    """
STATES = "streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)"

pytestmark = pytest.mark.browser


def test_a_picture_of_the_camera_is_sent_and_the_camera_ends(embedded_stack):
    client = embedded_stack.client().sign_up()
    with launched(FAKE, ALLOWED) as browser, faultless_page(browser, embedded_stack.url) as page:
        page.add_init_script(STREAMS)
        log_in(page, client.email)
        camera = page.get_by_role("button", name="Camera")
        camera.dblclick()  # one dialog and one stream, all the same
        dialog = page.get_by_role("dialog", name="Camera")
        dialog.get_by_role("button", name="Take the picture").click()
        expect(page.locator(".shot[data-state=completed]")).to_have_count(1)
        expect(dialog).to_be_hidden()
        expect(camera).to_be_focused()
        assert page.evaluate(STATES) == ["ended"]
        camera.click()
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert page.evaluate(STATES) == ["ended", "ended"]
    (stored,) = client.get("detect/history").json()["items"]
    (image,) = client.get(f"detect/{stored['id']}").json()["images"]
    assert image["original_name"].startswith("Camera ")
    assert image["width"] > 100


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([FAKE, f"{ALLOWED}=deny"], "Allow it beside the address of the page, then try again."),
        ([f"{FAKE}=device-count=0", ALLOWED], "Connect one, or choose a file."),
    ],
    ids=["refused", "missing"],
)
def test_without_a_camera_the_page_says_what_to_do(embedded_stack, arguments, told):
    with launched(*arguments) as browser, faultless_page(browser, embedded_stack.url) as page:
        log_in(page, embedded_stack.shared_client.email)
        page.get_by_role("button", name="Camera").click()
        expect(page.locator(".toast")).to_contain_text(told)
        expect(page.get_by_role("dialog", name="Camera")).to_be_hidden()
