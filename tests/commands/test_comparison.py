"""`compare_detectors` as a process."""

import json

from testing import stacks
from testing.files.pictures import photo


def test_compare_detectors_compares_uploaded_images(tmp_path, standin_folder):
    with stacks.embedded(tmp_path, standin_folder) as stack:
        stack.manage("prepare_detector", standin_folder, "--backend", "openvino")
        stack.serve().client().sign_up().upload(photo(), wait=20).raise_for_status()
        name = standin_folder.name
        out = stack.manage("compare_detectors", name, f"{name}:openvino", "--format", "json")
        assert {row["class"]: row["both"] for row in json.loads(out)} == {"alpha": 1, "beta": 1, "all": 2}
