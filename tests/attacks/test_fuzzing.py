"""schemathesis, with all of its checks on, against the running system and by its own document."""

import os
import re
import subprocess

import pytest

from objectvision.tests import stack as stacks

FOLDER = stacks.ROOT / "objectvision" / "tests"
EXAMPLE = (stacks.ROOT / ".env.example").read_text()
OFF = dict.fromkeys(re.findall(r"^(THROTTLE_\w+)=", EXAMPLE, re.MULTILINE), "off")


def fuzz(stack, folder, cases, by="somebody", *options):
    """Up to `cases` made-up requests for each operation, besides those that its examples and limits give."""
    folder.mkdir()  # it leaves its notes where it runs
    command = [
        stacks.BIN / "schemathesis", "--config-file", FOLDER / "schemathesis.toml", "run",
        f"{stack.url}/openapi.json", "--checks", "all", "-n", str(cases), "--workers", "2", "--no-color",
        *options,
    ]  # fmt: skip  # a command line
    hooks = {
        "SCHEMATHESIS_HOOKS": "objectvision.tests.fuzz_hooks",
        "FUZZED_URL": stack.url,
        "FUZZED_BY": by,
    }
    environment = {**os.environ, **hooks, "PYTHONPATH": str(stacks.ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    return done.stdout


def test_made_up_requests_find_no_fault_and_nothing_that_the_document_does_not_say(tmp_path, standin_folder):
    with stacks.running("embedded", tmp_path, standin_folder, **OFF) as stack:
        report = fuzz(stack, tmp_path / "fuzz", 5)
        anonymous = fuzz(stack, tmp_path / "anonymous", 1, "nobody", "--phases", "examples,fuzzing")
        assert "Traceback" not in stack.log("serve")
    assert " passed" in report
    assert " passed" in anonymous


@pytest.mark.soak
@pytest.mark.parametrize("way", stacks.WAYS)
def test_thousands_of_made_up_requests_find_none_either(way, tmp_path, standin_folder):
    with stacks.running(way, tmp_path, standin_folder, **OFF) as stack:
        fuzz(stack, tmp_path / "fuzz", 400)
        fuzz(stack, tmp_path / "anonymous", 100, "nobody")
        assert "Traceback" not in stack.log("serve" if way == "embedded" else "web")
