"""Behaviour that all commands share at a terminal."""

import io
import json
import os
import signal
import subprocess

import pytest
from django.core.management import CommandError

from objectvision.lib import terminal
from testing import stacks
from testing.files.pictures import photo


@pytest.fixture(autouse=True)
def ctrl_c_enabled():
    """Ctrl-C raises KeyboardInterrupt even if a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def command():
    return terminal.TerminalCommand(stdout=io.StringIO(), stderr=io.StringIO())


def test_ctrl_c_ends_a_loop_after_the_current_item_and_restores_the_handler(command):
    before = signal.getsignal(signal.SIGINT)
    done = []
    for item in command.progress(range(5), "Working", 5):
        if item == 2:
            signal.raise_signal(signal.SIGINT)
        done.append(item)
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(CommandError, match=r"^Interrupted\. Items: 3\.$") as ended:
        command.close("Items: 3.")
    assert ended.value.returncode == 130


def test_a_second_ctrl_c_ends_the_command_at_once(command):
    def work():
        for item in command.progress(range(5), "Working", 5):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError(item)

    command.handle = lambda **_: work()
    with pytest.raises(CommandError, match=r"^Interrupted\.$") as ended:
        command.execute(
            force_color=False, no_color=True, skip_checks=True, stdout=None, stderr=None, verbosity=1
        )
    assert ended.value.returncode == 130


def test_the_summary_goes_to_stderr_and_failures_exit_with_1(command):
    command.close("Items: 3, 0 failed.")
    assert (command.stdout.getvalue(), command.stderr.getvalue()) == ("", "Items: 3, 0 failed.\n")
    with pytest.raises(CommandError, match="1 failed") as ended:
        command.close("Items: 3, 1 failed.", failed=1)
    assert ended.value.returncode == 1


ROWS = [["bus", 2, 0.5], ["person", 10, None]]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("table", "name    count  mean\nbus         2  0.50\nperson     10     -\n"),
        ("csv", "name,count,mean\nbus,2,0.5\nperson,10,\n"),
    ],
)
def test_rows_are_written_as_a_table_and_as_csv(form, expected):
    file = io.StringIO()
    terminal.write_rows(file, form, ["name", "count", "mean"], ROWS)
    assert file.getvalue() == expected


def test_rows_are_written_as_json_objects():
    file = io.StringIO()
    terminal.write_rows(file, "json", ["name", "count", "mean"], ROWS)
    assert json.loads(file.getvalue()) == [
        {"name": "bus", "count": 2, "mean": 0.5},
        {"name": "person", "count": 10, "mean": None},
    ]


def test_a_table_without_rows_is_its_header():
    file = io.StringIO()
    terminal.write_rows(file, "table", ["name", "count"], [])
    assert file.getvalue() == "name  count\n"


def test_the_progress_bar_is_shown_on_terminals_and_never_on_stdout(tmp_path, standin_folder):
    (tmp_path / "one.jpg").write_bytes(photo())
    with stacks.embedded(tmp_path, standin_folder) as stack:
        ours, theirs = os.openpty()
        environment = {**stack.environment, "TERM": "xterm"}
        command = stacks.command("detect", tmp_path / "one.jpg", "--format", "csv")
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        shown = os.read(ours, 100_000).decode()
        os.close(ours)
    assert (done.returncode, "Detecting" in shown, "Pictures: 1 with 2 objects" in shown) == (0, True, True)
    assert done.stdout.startswith("file,width,height,")
    assert "Detecting" not in done.stdout
