import io
import json
import logging
import os
import subprocess
import sys

import pytest

from objectvision.lib import logs
from testing.stacks import ROOT

FORGED = "2026-01-01 ERROR forged"
FORMS = pytest.mark.parametrize("form", [logs.JSON, logs.LINE])


def record(message, *arguments, exc_info=None, **extra):
    made = logging.LogRecord("a.b", logging.ERROR, "a.py", 1, message, arguments, exc_info)
    vars(made).update(extra)
    return made


def written(form, *arguments, **options):
    return logs.formatter(form).format(record(*arguments, **options))


@FORMS
@pytest.mark.parametrize(
    "control", ["\n", "\r", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029", "\t"]
)
def test_control_characters_in_a_message_are_escaped(form, control):
    line = written(form, "GET %s", f"/{control}{FORGED}", method=f"a{control}b")
    assert control[0] not in line
    assert len(line.splitlines()) == 1


@FORMS
def test_a_line_keeps_the_beginning_of_a_long_text_that_a_client_sent(form):
    line = written(form, "%s /%s 431", "GET", "x" * 60_000, method="M" * 8000)
    assert len(line) < 3000
    assert "GET /xxx" in line


def failed(form):
    error = ValueError(f"bad\n{FORGED}\x1b[31m")
    return written(form, "failed", exc_info=(ValueError, error, None))


def test_lines_of_a_traceback_are_indented_and_escaped():
    text = failed(logs.LINE)
    first, *rest = text.splitlines()
    assert first.endswith(" ERROR a.b [-] failed")
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in text
    assert "ValueError: bad" in text


def test_a_traceback_is_in_the_line_of_json():
    text = failed(logs.JSON)
    assert "\n" not in text
    assert json.loads(text)["exception"] == f"ValueError: bad\n{FORGED}\x1b[31m"


def test_a_line_of_json_has_time_level_logger_request_and_the_facts_that_are_known():
    with logs.on_behalf_of("this-one"):
        line = json.loads(
            written(logs.JSON, "Sent %d", 1, user_id=7, detection_id=None, request="GET /?secret", status=201)
        )
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "error", "logger": "a.b", "event": "Sent 1", "request_id": "this-one", "user_id": 7,
        "status": 201,
    }  # fmt: skip  # a line to read at a glance
    assert "request_id" not in json.loads(written(logs.JSON, "Started"))


def test_a_readable_line_ends_with_the_facts():
    with logs.on_behalf_of("this-one"):
        line = written(logs.LINE, "Sent", user_id=7, duration_ms=1.5)
    assert line.endswith(" ERROR a.b [this-one] Sent user_id=7 duration_ms=1.5")


def test_the_configured_handler_escapes_control_characters():
    (handler,) = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    stream = io.StringIO()
    console = handler.setStream(stream)
    logging.getLogger("test").error("a\nb")
    handler.setStream(console)
    assert stream.getvalue().endswith("a\\nb\n")


STRAY = """
import gc, sys, threading, warnings
import django
django.setup()
from objectvision.lib import logs
logs.take_over_output()

def fail():
    raise KeyError("in a thread")

class Failing:
    def __del__(self):
        raise KeyError("in a destructor")

thread = threading.Thread(target=fail)
thread.start()
thread.join()
Failing()
gc.collect()
warnings.warn("a warning")
raise KeyError("at the end")
"""


def test_what_python_prints_of_processes_that_serve_are_lines_too(tmp_path):
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "objectvision.settings", "DATA_DIR": str(tmp_path),
        "LOG_FORMAT": "json",
    }  # fmt: skip  # a list to read at a glance
    ended = subprocess.run(
        [sys.executable, "-c", STRAY], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    *uncaught, last = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (1, "")
    places = ("in a thread", "in a destructor", "a warning")
    assert [place in str(line) for place, line in zip(places, uncaught, strict=True)] == [True] * 3
    assert last["level"] == "critical"
    assert "KeyError: 'at the end'" in last["exception"]
