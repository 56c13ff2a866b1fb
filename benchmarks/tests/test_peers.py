"""Peers that do not run."""

import pytest

from benchmarks.peers.running import INSTALL_ERROR, LIBRARIES, SERVER, Peers, reason_in

LOG = """starting
Traceback (most recent call last):
  File "server.py", line 1, in setup
ValueError: no such model
Traceback (most recent call last):
RuntimeError: a worker failed to start
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LOG, "ValueError: no such model"),
        ("a.b.WrapperError: YOLO11\n", "a.b.WrapperError: YOLO11"),
        ("Collecting\nERROR: No matching distribution\n\n", "ERROR: No matching distribution"),
        ("", ""),
    ],
)
def test_the_reason_in_a_log_is_its_first_exception_or_its_last_line(tmp_path, text, reason):
    log = tmp_path / "log"
    log.write_text(text)
    assert reason_in(log) == reason


def test_a_peer_that_is_not_installed_is_a_figure_that_says_so(tmp_path):
    peers = Peers(tmp_path, tmp_path, tmp_path, warm_up=lambda _: None)
    assert peers.figure("LitServe", lambda _: 1.0) == "is not installed"


def test_a_peer_whose_installation_failed_is_a_figure_with_the_error(tmp_path):
    environment = tmp_path / LIBRARIES["LitServe"]
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (environment / INSTALL_ERROR).write_text("ERROR: No matching distribution\n")
    peers = Peers(tmp_path, tmp_path, tmp_path, warm_up=lambda _: None)
    assert peers.figure("LitServe", lambda _: 1.0) == "ERROR: No matching distribution"


def test_each_peer_has_a_module_that_loads_the_model_and_a_list_of_what_it_needs():
    files = {file.name for file in SERVER.parent.glob("by_*")}
    assert files == {f"{library}.{kind}" for library in LIBRARIES.values() for kind in ("py", "txt")}
