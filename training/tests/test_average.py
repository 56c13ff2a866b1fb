"""Trainings that went on from the same weights become one."""

import numpy as np

from training.average import average, joined


def test_weights_are_the_mean_by_name(tmp_path):
    files = [tmp_path / "one.npz", tmp_path / "other.npz"]
    np.savez(files[0], conv=np.array([1, 2], np.float16), count=np.array(4))
    np.savez(files[1], conv=np.array([3, 6], np.float16), count=np.array(4))
    average(files, tmp_path / "mean.npz")
    with np.load(tmp_path / "mean.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {"conv": [2, 4], "count": 4}
        assert arrays["conv"].dtype == np.float16


def test_the_record_says_what_all_went_through_and_then_what_each_did():
    before = {"hours": 1, "ended": "2026-01-01"}
    one, other = {"seed": 1, "ended": "2026-01-03"}, {"seed": 2, "ended": "2026-01-02"}
    assert joined([[before, one], [before, other]]) == [
        before,
        {"mean_of": [one, other], "ended": "2026-01-03"},
    ]
