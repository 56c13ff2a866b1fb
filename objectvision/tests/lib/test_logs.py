import io
import logging
import sys

import pytest

from objectvision.lib.logs import LineFormatter


def written(record):
    return LineFormatter("%(levelname)s %(message)s").format(record)


def record(message, *arguments, exc_info=None):
    return logging.LogRecord("a", logging.ERROR, "a.py", 1, message, arguments, exc_info)


@pytest.mark.parametrize(
    "control", ["\n", "\r", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029", "\t"]
)
def test_control_characters_in_a_message_are_escaped(control):
    line = written(record("GET %s", f"/{control}2026-01-01 ERROR forged"))
    assert control[0] not in line
    assert len(line.splitlines()) == 1


def test_lines_of_a_traceback_are_indented_and_escaped():
    def fail():
        raise ValueError("bad\n2026-01-01 ERROR forged\x1b[31m")

    try:
        fail()
    except ValueError:
        text = written(record("failed", exc_info=sys.exc_info()))
    first, *rest = text.splitlines()
    assert first == "ERROR failed"
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in text
    assert "ValueError: bad" in text


def test_the_configured_handler_escapes_control_characters():
    (handler,) = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    stream = io.StringIO()
    console = handler.setStream(stream)
    logging.getLogger("test").error("a\nb")
    handler.setStream(console)
    assert stream.getvalue().endswith("a\\nb\n")
