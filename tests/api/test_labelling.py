"""The page about labelling: from photos to a reviewed data set, and to a new detector that is used."""

import subprocess
import sys

import pytest
import yaml

from testing import stacks
from testing.guides.answers import SERVER, assert_answered
from testing.guides.blocks import blocks
from testing.guides.sessions import make_checkout, run_session, shell_script

GUIDE = (stacks.ROOT / "docs" / "labelling.md").read_text()
# Not the longest way: one epoch of a network that knows nothing, on small pictures.
SHORTER = {
    "model=yolo26n.pt": "model=yolo26n.yaml",
    "epochs=100": "epochs=1 imgsz=64 device=cpu workers=0 plots=False > var/labelling/training.log",
}
OWN_NMS = """
from types import SimpleNamespace
from ultralytics.utils.nms import TorchNMS
__version__ = "0"
ops = SimpleNamespace(nms=TorchNMS.nms)
"""


@pytest.fixture
def stack(tmp_path, standin_folder):
    """Of this test alone: it gets another detector."""
    folder = tmp_path / "server"
    folder.mkdir()
    with stacks.running("embedded", folder, standin_folder) as stack:
        yield stack


@pytest.fixture
def quiet(tmp_path):
    """ultralytics without network, and with ultralytics' own NMS where torchvision is of another build."""
    environment = {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True).returncode:
        package = tmp_path / "packages" / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(OWN_NMS)
        environment["PYTHONPATH"] = str(package.parent)
    return environment


@pytest.mark.slow
@pytest.mark.torch
def test_the_way_from_photos_to_a_trained_detector_is_as_the_page_shows(stack, quiet, tmp_path):
    checkout = make_checkout(tmp_path / "checkout", stacks.ROOT)
    (checkout / "manage.py").symlink_to(stacks.ROOT / "manage.py")
    shown = list(blocks(GUIDE))
    script = shell_script(shown).replace(SERVER, stack.url)
    for long, short in SHORTER.items():
        assert long in script
        script = script.replace(long, short)
    printed = run_session(["bash"], script, checkout, checkout, **{**stack.environment, **quiet})
    for block, (output, status) in zip(shown, printed, strict=True):
        assert status == block.status
        assert_answered(block, output)
    data_set = checkout / "var" / "labelling" / "street"
    names = yaml.safe_load((data_set / "data.yaml").read_text())["names"]
    assert {"tram", "scooter"} <= set(names.values())
    labels = [file.read_text().splitlines() for file in (data_set / "labels").iterdir()]
    found = [names[int(line.split()[0])] for lines in labels for line in lines]
    assert (found.count("tram"), found.count("scooter")) == (1, 1)
    assert len(found) > 2
    assert {file.stem for file in (data_set / "images").iterdir()} == {"bus", "zidane"}
