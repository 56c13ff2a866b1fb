"""Code that serves requests or works on uploads starts no processes and loads no code from data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "detections", "notifications", "objectvision")
# By hand or once, by the operator, on what they name.
BY_HAND = {"detections/operations/demo_run.py"}
APART = {"detections/detectors/preparation.py"}  # weights are exported in processes of their own
CODE = sorted(
    path.relative_to(ROOT)
    for app in APPS
    for path in (ROOT / app).rglob("*.py")
    if "tests" not in path.parts and "migrations" not in path.parts
)

PROCESSES = {
    "subprocess",
    "pty",
    "multiprocessing.Process",
    "multiprocessing.Pool",
    "pexpect",
    "os.system",
    "os.popen",
    "os.fork",
    "os.execv",
    "os.execve",
    "os.spawnv",
    "os.posix_spawn",
    "concurrent.futures.ProcessPoolExecutor",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
}
CODE_FROM_DATA = {
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal",
    "shelve",
    "dill",
    "joblib",
    "cloudpickle",
    "eval",
    "exec",
    "compile",
    "yaml.load",
    "yaml.unsafe_load",
    "numpy.load",
    "np.load",
    "torch.load",
    "xml.sax",
    "xml.dom.minidom",
    "ET.fromstring",
    "ET.parse",
    "ET.XML",
    "lxml",
}
DECODERS = {
    "Image.open",
    "cv2.imread",
    "cv2.imdecode",
    "cv2.imreadmulti",
    "cv2.imdecodemulti",
    "cv2.VideoCapture",
}


def dotted(node):
    """The name that an expression of names and dots is, or empty."""
    if isinstance(node, ast.Attribute) and (front := dotted(node.value)):
        return f"{front}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def used(path):
    """Every module that is imported and every function that is called, by its dotted name."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, node
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)
        elif isinstance(node, ast.Call) and (name := dotted(node.func)):
            yield name, node


def found(path, names):
    return sorted(
        {name for name, _ in used(path) if any(name == one or name.startswith(f"{one}.") for one in names)}
    )


def test_the_source_files_are_found():
    assert len(CODE) > 80


@pytest.mark.parametrize("path", [path for path in CODE if str(path) not in BY_HAND | APART], ids=str)
def test_no_module_starts_a_process(path):
    assert found(path, PROCESSES) == []


@pytest.mark.parametrize("path", CODE, ids=str)
def test_no_module_loads_code_from_data(path):
    assert found(path, CODE_FROM_DATA) == []


def test_pictures_are_decoded_in_two_modules_only_and_in_eight_formats():
    calls = [(str(path), name, node) for path in CODE for name, node in used(path) if name in DECODERS]
    assert sorted({(path, name) for path, name, _ in calls}) == [
        ("detections/images/opencv.py", "cv2.imdecode"),  # JPEGs, and what Pillow cannot read
        ("detections/images/pixels.py", "Image.open"),
    ]
    opened = [word for _, name, node in calls if name == "Image.open" for word in node.keywords]
    assert {word.arg for word in opened} == {"formats"}
    assert sorted(ast.unparse(word.value) for word in opened) == ["FORMATS", "['AVIF']", "['HEIF']"]
