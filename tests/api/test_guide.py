"""The commands of docs/api.md and the README's upload, run against a server, and the answers shown."""

import json
import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from detections.operations import demo
from testing import services, stacks
from testing.detectors import COCO, build_standin
from testing.files.pictures import photo

GUIDE = (stacks.ROOT / "docs" / "api.md").read_text()
README = (stacks.ROOT / "README.md").read_text()
SERVER = "http://localhost:8000"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
MARK = "== the block ends with"
HTTP_ERROR = 22  # curl's exit status for an answer from 400 up
TIMED_OUT = 28  # and for one that --max-time ends
LEFT_OUT = "…"
# What differs from run to run.
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
# What differs from detector to detector, in JSON and in text.
BY_DETECTOR = {"results", "results_total", "detector", "classes"}
FOUND = re.compile(r"(bus|person)\b")
NUMBER = re.compile(r"\d+(?:\.\d+)?")

YOLO26N = next((folder for folder in COCO if folder.name.startswith("yolo26n")), None)


class Block(NamedTuple):
    language: str
    code: str
    form: str
    """The language of the answer shown: json, text, or "" without an answer."""
    answer: str

    @property
    def status(self):
        """The expected exit status."""
        if "--max-time" in self.code:
            return TIMED_OUT
        return HTTP_ERROR if self.answer.startswith("{") and '_error"' in self.answer else 0


def blocks(guide):
    """The guide's commands, with the answer that stands right below each."""
    found = list(FENCE.finditer(guide))
    for fence, below in zip(found, [*found[1:], None], strict=True):
        language, code = fence.groups()
        if language in {"sh", "python", "js"}:
            shown = below and below[1] in {"json", "text"} and guide[fence.end() : below.start()].isspace()
            yield Block(language, code, *(below.groups() if shown else ("", "")))


BLOCKS = list(blocks(GUIDE))
FOR_NODE, FOR_BROWSER = [block for block in BLOCKS if block.language == "js"]


@pytest.fixture(params=stacks.WAYS)
def guided(request, tmp_path):
    """A server with the detector of the guide, or a stand-in with the same classes."""
    model = YOLO26N or build_standin(
        tmp_path / "standin", classes=["person", "bicycle", "car", "motorcycle", "airplane", "bus"]
    )
    folder = tmp_path / "server"
    folder.mkdir()
    with stacks.running(request.param, folder, model) as stack:
        yield stack


@pytest.fixture
def checkout(tmp_path):
    """A checkout like the reader's, with a virtual environment and the docs."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "docs").symlink_to(stacks.ROOT / "docs")
    (folder / ".curlrc").write_text("fail-with-body\n")
    return folder


def run(command, script, folder, url):
    environment = {**os.environ, "CURL_HOME": str(folder), "API": f"{url}/api/v1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=script, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pieces = re.split(rf"{MARK} (\d+)\n", done.stdout)
    return list(zip(pieces[::2], map(int, pieces[1::2]), strict=False))


def shell_session(folder, url):
    """Output and exit status of each block; an unexpected exit status ends the session."""
    lines = ["set -o pipefail"]
    for block in BLOCKS:
        if block.language == "sh":
            switch = "set +e" if block.status else "set -e"
            lines += [switch, block.code.replace(SERVER, url), f'printf "{MARK} %s\\n" $?']
    return run(["bash"], "\n".join(lines), folder, url)


def python_session(folder, url):
    codes = [block.code for block in BLOCKS if block.language == "python"]
    script = "".join(f'{code}\nprint("{MARK} 0")\n' for code in codes)
    return run([sys.executable, "-"], script, folder / "var" / "guide", url)


def assert_answered(block, printed):
    assert bool(block.answer) == bool(printed.strip()), f"{block.code}{printed}"
    if block.form == "json":
        shown, came = documents(block.answer), documents(printed)
        assert len(shown) == len(came)
        for one, other in zip(shown, came, strict=True):
            assert_alike(one, other, block.code)
    else:
        assert_same_lines(block.answer.splitlines(), printed.splitlines(), block.code)


def documents(text):
    """The JSON documents that stand one after the other in a text."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def assert_same_lines(shown, came, where):
    if FOUND.match(shown[0] if shown else ""):
        if YOLO26N:
            assert_same_objects(shown, came)
        return
    if LEFT_OUT in shown:  # any number of lines
        place = shown.index(LEFT_OUT)
        shown = [*shown[:place], *shown[place + 1 :]]
        came = [*came[:place], *came[len(came) - len(shown) + place :]]
    assert len(shown) == len(came), where
    for one, other in zip(shown, came, strict=True):
        assert_alike(one, other, where)


def assert_same_objects(shown, came):
    """The lines are equal; numbers, and so the order, differ by less than processors do."""
    if len(shown) == 1:
        assert FOUND.fullmatch(came[0])
        return
    one, other = "\n".join(sorted(shown)), "\n".join(sorted(came))
    assert NUMBER.split(one) == NUMBER.split(other)
    numbers = [list(map(float, NUMBER.findall(text))) for text in (one, other)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.03, abs=0.03)


def assert_alike(shown, came, where):
    """Keys and values are equal, except for parts left out, ids and times."""
    assert type(shown) is type(came), f"{where}: {shown} {came}"
    match shown:
        case dict():
            assert_alike_keys(shown, came, where)
        case list():
            listed = [item for item in shown if item != LEFT_OUT]
            assert len(listed) == len(came) if LEFT_OUT not in shown else len(listed) < len(came), where
            if where.endswith(" results"):
                came = [nearest(result, came) for result in listed]
            for one, other in zip(listed, came, strict=False):
                assert_alike(one, other, where)
        case str():
            pattern = ".*".join(map(re.escape, fixed(shown).split(LEFT_OUT)))
            assert re.fullmatch(pattern, fixed(came)), f"{where}: {shown} {came}"
        case float():
            assert shown == pytest.approx(came, rel=0.02, abs=0.02) or where.endswith(" inference_ms"), where
        case _:
            assert shown == came, where


def nearest(shown, results):
    """The result that is meant: other processors may find others more certain."""
    return min(
        results,
        key=lambda result: (
            result["object_class"] != shown["object_class"],
            abs(result["confidence"] - shown["confidence"]),
        ),
    )


def assert_alike_keys(shown, came, where):
    named = set(shown) - {LEFT_OUT}
    assert named < set(came) if LEFT_OUT in shown else named == set(came), where
    for name in named:
        if YOLO26N or name not in BY_DETECTOR:
            assert_alike(shown[name], came[name], f"{where} {name}")
        else:
            assert shape(shown[name]) == shape(came[name]), where


def shape(value):
    """The keys of a document, for a list those of its first item; without other values."""
    match value:
        case dict():
            return {name: shape(item) for name, item in value.items()}
        case list():
            return [shape(item) for item in value[:1]]
    return None


def fixed(text):
    """The text with fixed ids, times and server."""
    return re.sub(r"http://[\w.]+:\d+", SERVER, TIME.sub("(time)", ID.sub("(id)", text)))


def test_the_guide_names_its_server_once_and_shows_answers_only_below_commands():
    assert sum(block.code.count(SERVER) for block in BLOCKS) == 1
    answers = sum(language in {"json", "text"} for language, _ in FENCE.findall(GUIDE))
    assert answers == sum(bool(block.answer) for block in BLOCKS) > 20


def test_every_command_of_the_guide_runs_with_the_answer_shown(guided, checkout):
    printed = {
        "sh": shell_session(checkout, guided.url),
        "python": python_session(checkout, guided.url),
    }
    for block in (block for block in BLOCKS if block.language in printed):
        output, status = printed[block.language].pop(0)
        assert status == block.status, block.code
        assert_answered(block, output)
    assert_pictures(checkout / "var" / "guide")


@pytest.mark.node
def test_the_javascript_client_of_the_guide_prints_what_is_shown(stack, tmp_path):
    shutil.copy(demo.sample_photo(), tmp_path / "bus.jpg")
    (tmp_path / "follow.mjs").write_text(FOR_NODE.code)
    environment = {**os.environ, "API": f"{stack.url}/api/v1", "TOKEN": token_of(stack.client().sign_up())}
    done = subprocess.run(
        [services.node(), "follow.mjs"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_answered(FOR_NODE, done.stdout)


@pytest.mark.browser
def test_the_javascript_of_the_guide_follows_events_in_a_browser(stack):
    user, printed = stack.client().sign_up(), []
    known = [f"{stack.url}/api/v1", {"Authorization": f"Bearer {token_of(user)}"}]
    opened = "await new Promise((resolve) => { socket.onopen = resolve; })"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=services.chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{stack.url}/docs")
        page.on("console", lambda message: printed.append(message.text))
        page.evaluate(f"async ([API, headers]) => {{ {FOR_BROWSER.code} {opened} }}", known)
        with page.expect_console_message(lambda message: message.text == "detection.completed"):
            user.upload(photo(), wait=30).raise_for_status()
        browser.close()
    assert printed == ["detection.started", "detection.completed"]


def token_of(user):
    return user.http.headers["Authorization"].removeprefix("Bearer ")


def test_the_upload_of_the_readme_gets_the_answer_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "YOLO26N", "bundled")  # the detector is known: compare results
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
