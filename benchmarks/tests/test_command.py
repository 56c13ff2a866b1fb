"""The command line and the file of figures."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.measures import MEASURES
from benchmarks.record import Record
from detections.detectors.preparation import BUNDLED_FOLDER


@pytest.fixture
def parsed(monkeypatch):
    def parse(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
        return command.parsed()

    return parse


def test_all_measures_are_taken_unless_some_are_named(parsed):
    assert parsed().measures == list(MEASURES)
    assert parsed("single", "batch", "--rounds", "2").measures == ["single", "batch"]


def test_an_unknown_measure_is_refused_with_the_names_of_all(parsed, capsys):
    with pytest.raises(SystemExit):
        parsed("bach")
    assert "There is no measure bach: choose from batch, single" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "model"), [("", BUNDLED_FOLDER), ("a/first:a/second", Path("a/first").absolute())]
)
def test_the_model_is_the_first_coco_detector_or_the_bundled_one(parsed, monkeypatch, named, model):
    monkeypatch.setenv("COCO_DETECTORS", named)
    assert parsed().model == model
    assert parsed("--model", "another").model == Path("another").absolute()


def test_folders_are_meant_from_here_though_peers_run_elsewhere(parsed):
    assert parsed("--peers", ".venv-bench").peers == Path(".venv-bench").absolute()


def test_the_file_has_every_figure_and_what_it_was_taken_with(tmp_path):
    record = Record("yolo26n", ["batch"], quick=False)
    record.rounds.append({"batch": {"production": 40.0, "LitServe": "is not installed"}})
    record.save(tmp_path / "new" / "figures.json", "| a |\n| b |")
    saved = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert saved["rounds"] == record.rounds
    assert saved["table"] == ["| a |", "| b |"]
    assert saved["machine"]["cores"] >= 1
    assert saved["versions"]["django"]
    assert {"date", "commit", "model", "quick", "measures", "load_before_round"} <= set(saved)
