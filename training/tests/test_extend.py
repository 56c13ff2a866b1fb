"""Extending moves weights further in the direction of the last stage."""

import json
import sys

import numpy as np

from training import extend


def test_extending_moves_weights_and_keeps_counts_and_variances(tmp_path, monkeypatch):
    for name, weights, count in (("before", [1, 2], 4), ("after", [2, 0], 9)):
        folder = tmp_path / name
        folder.mkdir()
        np.savez(
            folder / "weights.npz",
            conv=np.array(weights, np.float16),
            running_var=np.array(weights, np.float16),
            count=np.array(count),
        )
        (folder / "record.json").write_text(json.dumps([{"hours": 1}, {"hours": count}]))
    folders = [str(tmp_path / name) for name in ("before", "after", "further")]
    monkeypatch.setattr(sys, "argv", ["extend", *folders[:2], "--output", folders[2], "--by", "0.5"])
    extend.main()
    with np.load(tmp_path / "further/weights.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {
            "conv": [2.5, -1], "running_var": [2, 0], "count": 9,
        }  # fmt: skip  # a set at a glance
        assert arrays["conv"].dtype == np.float16
    record = json.loads((tmp_path / "further/record.json").read_text())
    assert record == [{"hours": 1}, {"hours": 9, "extended_by": 0.5}]
