"""The layout of the tests."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_MODULES = 14
TESTED = (
    "accounts", "benchmarks", "console", "detections", "notifications", "objectvision", "tests", "testing",
    "training",
)  # fmt: skip  # a list to read at a glance
TESTS = [path for app in TESTED for path in (ROOT / app).rglob("*.py") if path.match("test_*.py")]


def imported(path):
    """The modules that this one imports; for `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (name.name for name in node.names)
            case ast.ImportFrom():
                yield node.module
                yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_module_imports_a_test_module():
    """Shared helpers lie in `testing` or are fixtures."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in TESTS}
    sources = [ROOT / "conftest.py", *(path for app in TESTED for path in (ROOT / app).rglob("*.py"))]
    importing = {str(path.relative_to(ROOT)) for path in sources if modules & set(imported(path))}
    assert importing == set()


def test_no_folder_of_tests_has_over_14_modules():
    folders = {path.parent for path in TESTS} | {ROOT / "testing"}
    modules = {
        folder: [path for path in folder.glob("*.py") if path.stem != "__init__"] for folder in folders
    }
    crowded = {
        str(folder.relative_to(ROOT)) for folder, files in modules.items() if len(files) > MOST_MODULES
    }
    assert crowded == set()
