"""The commands of docs/api.md and the README's upload, run against a server, and the answers shown."""

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from detections.operations import demo
from testing import services, stacks
from testing.detectors import build_standin
from testing.files.pictures import photo
from testing.guides import answers
from testing.guides.answers import SERVER, assert_answered
from testing.guides.blocks import ANSWERS, FENCE, blocks
from testing.guides.sessions import make_checkout, python_script, run_session, shell_script

GUIDE = (stacks.ROOT / "docs" / "api.md").read_text()
README = (stacks.ROOT / "README.md").read_text()
BLOCKS = list(blocks(GUIDE))
FOR_NODE, FOR_BROWSER = [block for block in BLOCKS if block.language == "js"]


@pytest.fixture
def guided(tmp_path):
    """A server with the detector of the guide, or a stand-in with the same classes."""
    model = answers.YOLO26N or build_standin(
        tmp_path / "standin", classes=["person", "bicycle", "car", "motorcycle", "airplane", "bus"]
    )
    folder = tmp_path / "server"
    folder.mkdir()
    with stacks.running("embedded", folder, model) as stack:
        yield stack


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path / "checkout", stacks.ROOT)


def run(command, script, folder, checkout, url):
    return run_session(command, script.replace(SERVER, url), folder, checkout, API=f"{url}/api/v1")


def of_language(language):
    return [block for block in BLOCKS if block.language == language]


def test_the_guide_names_its_server_once_and_shows_answers_only_below_commands():
    assert sum(block.code.count(SERVER) for block in BLOCKS) == 1
    shown = sum(language in ANSWERS for language, _ in FENCE.findall(GUIDE))
    assert shown == sum(bool(block.answer) for block in BLOCKS) > 20


def test_every_command_of_the_guide_runs_with_the_answer_shown(guided, checkout):
    printed = {
        "sh": run(["bash"], shell_script(of_language("sh")), checkout, checkout, guided.url),
        "python": run(
            [sys.executable, "-"],
            python_script(of_language("python")),
            checkout / "var" / "guide",
            checkout,
            guided.url,
        ),
    }
    for block in (block for block in BLOCKS if block.language in printed):
        output, status = printed[block.language].pop(0)
        assert status == block.status, block.code
        assert_answered(block, output)
    assert_pictures(checkout / "var" / "guide")


@pytest.mark.node
def test_the_javascript_client_of_the_guide_prints_what_is_shown(embedded_stack, tmp_path):
    shutil.copy(demo.sample_photo(), tmp_path / "bus.jpg")
    (tmp_path / "follow.mjs").write_text(FOR_NODE.code)
    token = token_of(embedded_stack.client().sign_up())
    environment = {**os.environ, "API": f"{embedded_stack.url}/api/v1", "TOKEN": token}
    done = subprocess.run(
        [services.node(), "follow.mjs"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_answered(FOR_NODE, done.stdout)


@pytest.mark.browser
def test_the_javascript_of_the_guide_follows_events_in_a_browser(embedded_stack, browser):
    user, printed = embedded_stack.client().sign_up(), []
    known = [f"{embedded_stack.url}/api/v1", {"Authorization": f"Bearer {token_of(user)}"}]
    opened = "await new Promise((resolve) => { socket.onopen = resolve; })"
    page = browser.new_page()
    page.goto(f"{embedded_stack.url}/docs")
    page.on("console", lambda message: printed.append(message.text))
    page.evaluate(f"async ([API, headers]) => {{ {FOR_BROWSER.code} {opened} }}", known)
    with page.expect_console_message(lambda message: message.text == "detection.completed"):
        user.upload(photo(), wait=30).raise_for_status()
    page.close()
    assert printed == ["detection.started", "detection.completed"]


def token_of(user):
    return user.http.headers["Authorization"].removeprefix("Bearer ")


def test_the_upload_of_the_readme_gets_the_answer_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "YOLO26N", "bundled")  # the detector is known: compare results
    (block,) = [block for block in blocks(README) if block.answer]
    with stacks.running("embedded", tmp_path, "bundled") as stack:
        script = block.code.replace("http://127.0.0.1:8000", stack.url)
        done = subprocess.run(["bash"], cwd=stacks.ROOT, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_answered(block, done.stdout)


def assert_pictures(folder):
    """The guide's commands saved three different pictures of the right size."""
    contents = set()
    for name in ("annotated.jpg", "people.jpg", "people-again.jpg", "original.jpg"):
        with Image.open(folder / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (810, 1080))
            contents.add(picture.tobytes())
    assert len(contents) == 3  # the people are the same twice
