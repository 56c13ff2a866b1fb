"""The code of the panel, as it is copied from the page, does what the page did."""

import json
import os
import subprocess
import sys

import pytest

from testing.browsers import accessibility_faults, faultless_page, log_in
from testing.files.pictures import photo

LANGUAGES = {
    "curl": ["bash"],
    "Python": [sys.executable, "-"],
    "JavaScript": ["node", "--input-type=module"],
}
ODD_NAME = 'it\'s $(touch owned) "ü"; `id` \\ \u202egpj,@.jpg'
OF_A_RUN = {"id", "created_at", "started_at", "finished_at", "inference_ms", "name"}

pytestmark = [pytest.mark.browser, pytest.mark.node]


@pytest.fixture
def client(stack):
    return stack.client().sign_up()


@pytest.fixture
def page(stack, client, browser):
    with faultless_page(browser, stack.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        log_in(page, client.email)
        yield page


@pytest.fixture
def panel(page):
    return page.get_by_role("dialog", name="Code")


@pytest.fixture
def run(tmp_path):
    """Runs copied code in a folder of its own; what it prints."""

    def run(language, code, key=""):
        environment = {**os.environ, "OBJECTVISION_KEY": key}
        done = subprocess.run(
            LANGUAGES[language], input=code, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{code}{done.stdout}{done.stderr}"
        return done.stdout

    return run


def copied(page, panel, language):
    panel.get_by_role("tab", name=language).click()
    panel.get_by_role("button", name="Copy").first.click()
    panel.get_by_role("button", name="Copied").wait_for()
    code = page.evaluate("navigator.clipboard.readText()")
    panel.get_by_role("button", name="Copied").wait_for(state="hidden")
    return code


def shown_answer(panel):
    shown = panel.locator("#code-json")
    shown.filter(has_text="}").wait_for()
    return json.loads(shown.text_content())


def lasting(answer):
    """Without what differs from one upload to the next."""
    match answer:
        case dict():
            return {name: lasting(value) for name, value in answer.items() if name not in OF_A_RUN}
        case list():
            return [lasting(item) for item in answer]
    return answer


def test_an_upload_is_repeated_by_its_code_whatever_its_name(page, panel, run, tmp_path):
    picture = tmp_path / ODD_NAME
    picture.write_bytes(photo())
    page.get_by_text("Options").click()
    page.get_by_label("Confidence").fill("0.3")
    page.locator("#picker").set_input_files(picture)
    page.get_by_text("alpha").first.wait_for()
    page.get_by_role("button", name="Code").click()
    panel.get_by_role("button", name="Make a key for this code").click()
    panel.get_by_text("revoke it in Account").wait_for()
    assert accessibility_faults(page) == []
    shown = shown_answer(panel)
    assert shown["parameters"]["confidence"] == 0.3
    for language in LANGUAGES:
        answer = json.loads(run(language, copied(page, panel, language)))
        assert lasting(answer) == lasting(shown)
    assert [file.name for file in tmp_path.iterdir()] == [ODD_NAME]


def test_the_code_of_a_result_gives_what_the_page_shows(page, panel, run, client, tmp_path):
    detection = client.upload(photo(), wait=30).json()
    key = client.post("users/api-keys", json={"name": "Own", "scopes": ["read"]}).json()["key"]
    page.goto(f"/results/{detection['id']}")
    page.get_by_role("button", name="Code").click()
    assert shown_answer(panel) == detection
    for language in LANGUAGES:
        assert json.loads(run(language, copied(page, panel, language), key)) == detection


def test_files_are_saved_by_the_code_as_the_page_downloads_them(page, panel, run, client, tmp_path):
    detection = client.upload(photo(), wait=30).json()["id"]
    key = client.post("users/api-keys", json={"name": "Own", "scopes": ["read"]}).json()["key"]
    page.goto(f"/results/{detection}")
    files = {
        "The annotated picture": ("annotated.jpg", "image"),
        "An export": ("coco.json", "export?format=coco"),
    }
    page.get_by_role("button", name="Code").click()
    for title, (name, path) in files.items():
        panel.get_by_label("Request").select_option(title)
        for language in LANGUAGES:
            run(language, copied(page, panel, language), key)
            assert (tmp_path / name).read_bytes() == client.get(f"detect/{detection}/{path}").content
            (tmp_path / name).unlink()


def test_a_search_of_the_history_is_found_by_its_code(page, panel, run, client):
    for name in ("bus & 'tram'.jpg", "dog.jpg"):
        client.upload(photo(), name, wait=30).raise_for_status()
    key = client.post("users/api-keys", json={"name": "Own", "scopes": ["read"]}).json()["key"]
    page.goto("/history?search=bus+%26+'&object_class=alpha")
    page.get_by_role("button", name="Code").click()
    shown = shown_answer(panel)
    assert shown["total"] == 1
    for language in LANGUAGES:
        assert json.loads(run(language, copied(page, panel, language), key)) == shown
