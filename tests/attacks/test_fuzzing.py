"""schemathesis with all its checks, against the running system and its OpenAPI document."""

import os
import subprocess

import pytest

from testing import stacks

FOLDER = stacks.ROOT / "testing"
# Webhooks go to a port of this machine where nothing listens.
OPEN = {**stacks.UNTHROTTLED, "WEBHOOK_ALLOW_PRIVATE": "true"}
SEED = ["--seed", "1"]  # requests differ from run to run in the soak tests alone


def fuzz(stack, folder, cases, by="user", *options):
    """Run up to `cases` made-up requests for each operation, besides its examples and boundary values."""
    folder.mkdir()  # it leaves its notes where it runs
    command = [
        stacks.BIN / "schemathesis", "--config-file", FOLDER / "schemathesis.toml", "run",
        f"{stack.url}/openapi.json", "--checks", "all", "-n", str(cases), "--workers", "2", "--no-color",
        *options,
    ]  # fmt: skip  # a command line
    hooks = {
        "SCHEMATHESIS_HOOKS": "testing.plugins.fuzz_hooks",
        "FUZZED_URL": stack.url,
        "FUZZED_BY": by,
    }
    environment = {**os.environ, **hooks, "PYTHONPATH": str(stacks.ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.longest
def test_made_up_requests_get_only_documented_answers(tmp_path, standin_folder):
    with stacks.running("embedded", tmp_path, standin_folder, **OPEN) as stack:
        report = fuzz(stack, tmp_path / "fuzz", 2, "user", *SEED)
        phases = ["--phases", "examples,fuzzing"]
        anonymous = fuzz(stack, tmp_path / "anonymous", 1, "anonymous", *phases, *SEED)
        assert "Traceback" not in stack.log("serve")
    assert " passed" in report
    assert " passed" in anonymous


@pytest.mark.soak
@pytest.mark.parametrize("way", stacks.WAYS)
def test_thousands_of_made_up_requests_get_only_documented_answers(way, tmp_path, standin_folder):
    with stacks.running(way, tmp_path, standin_folder, **OPEN) as stack:
        fuzz(stack, tmp_path / "fuzz", 400)
        fuzz(stack, tmp_path / "anonymous", 100, "anonymous")
        assert "Traceback" not in stack.log("serve" if way == "embedded" else "web")
